package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/supervisor"
)

// An applyCommand is what `podsim apply` was asked to do.
type applyCommand struct {
	*globals
	network networkFlags
	kubelet kubeletFlags
	files   []string
	space   string
	strict  bool

	in       io.Reader
	out, err io.Writer
}

func newApply(g *globals) *cobra.Command {
	a := &applyCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Run pods detached, or change ones that run",
		Long: `Run the pods of a file detached, each under a supervisor of its own, and return when they are accepted. podsim get, describe,
events, logs, exec and delete then work on them as kubectl does.

Applied again, a changed image restarts its container in place, by Kubernetes' rules; changed labels and annotations, and the
ConfigMaps and Secrets of the file, reach the pod. Any other change of a running pod is refused, and the field named.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.in, a.out, a.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return a.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&a.files, "filename", "f", nil, "the files to apply; - is the standard input")
	f.StringVarP(&a.space, "namespace", "n", "", "the namespace of pods that name none")
	f.BoolVar(&a.strict, "strict", false, "make a pod field that podsim does not act on an error")
	a.network.add(cmd)
	a.kubelet.add(cmd, "steps")
	return cmd
}

func (a *applyCommand) run(ctx context.Context) error {
	if len(a.files) == 0 {
		return &exit{exitUsage, errors.New("must specify one of -f and -: podsim apply -f FILE")}
	}
	kubelet, err := a.kubelet.read()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range a.files {
		m, pods, err := a.read(file, kubelet)
		if err != nil {
			return err
		}
		for _, p := range pods {
			request := supervisor.Request{Host: a.supervised(a.network, os.Args), Pod: p, Resources: m.Resources, Kubelet: kubelet}
			outcome, _, err := supervisor.Apply(ctx, program, request)
			if err == nil {
				_, err = fmt.Fprintf(a.out, "pod/%s %s\n", p.Name, outcome)
			}
			errs = append(errs, podError(err))
		}
	}
	return firstOf(errs)
}

// read reads all pods of a file.
func (a *applyCommand) read(file string, kubelet pod.Kubelet) (*manifest.Manifest, []*corev1.Pod, error) {
	var m *manifest.Manifest
	var found diag.List
	if file == "-" {
		text, err := io.ReadAll(io.LimitReader(a.in, diag.MaxBytes+1))
		if err != nil {
			return nil, nil, &exit{exitUsage, fmt.Errorf("read the standard input: %w", err)}
		}
		m, found = manifest.Parse(diag.NewSource("stdin", text))
	} else {
		m, found = manifest.Load(file)
	}
	pods, more := m.Pods(manifest.Options{Strict: a.strict, Kubelet: kubelet})
	if len(found.Errors()) == 0 || len(pods) > 0 {
		found = append(found, more...)
	}
	if err := amiss(a.err, found); err != nil {
		return nil, nil, err
	}
	for _, p := range pods {
		if p.Namespace == "" || p.Namespace == corev1.NamespaceDefault && a.space != "" {
			p.Namespace = a.space
		}
		if a.space != "" && p.Namespace != a.space {
			return nil, nil, &exit{exitUsage, fmt.Errorf("the namespace of pod %s is %q, not %q as --namespace says", p.Name, p.Namespace, a.space)}
		}
		if p.UID == "" {
			p.UID = uuid.NewUUID()
		}
	}
	return m, pods, nil
}

// firstOf is what several commands in one have come to: all that is to be said, and the first one's exit code.
func firstOf(errs []error) error {
	err := errors.Join(errs...)
	if first, ok := errors.AsType[*exit](err); ok {
		return &exit{first.code, err}
	}
	return err
}
