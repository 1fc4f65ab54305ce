package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/supervisor"
)

// A deleteCommand is what `podsim delete` was asked to do.
type deleteCommand struct {
	*globals
	pods    podFlags
	files   []string
	grace   int64
	now     bool
	force   bool
	all     bool
	wait    bool
	missing bool
	timeout time.Duration

	in       io.Reader
	out, err io.Writer
}

func newDelete(g *globals) *cobra.Command {
	d := &deleteCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "delete (pod NAME... | -f FILE)",
		Short: "Delete pods that were applied",
		Long: `Delete pods, with their own grace period or the one given, and wait until nothing is left of them. A second delete can only
shorten the time that the first one gave. Of a pod whose supervisor has died, what is left is taken away.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.in, d.out, d.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return d.run(cmd.Context(), args)
		},
	}
	d.pods.add(cmd)
	f := cmd.Flags()
	f.Int64Var(&d.grace, "grace-period", -1, "seconds that the pod has to end; negative is the pod's own")
	f.StringSliceVarP(&d.files, "filename", "f", nil, "delete the pods of these files; - is the standard input")
	f.BoolVar(&d.force, "force", false, "with --grace-period=0: give it no time")
	f.BoolVar(&d.now, "now", false, "end it soon: the same as --grace-period=1")
	f.BoolVar(&d.wait, "wait", true, "wait until the pod is gone")
	f.BoolVar(&d.all, "all", false, "all pods of the namespace")
	f.BoolVar(&d.missing, "ignore-not-found", false, "a pod that is not there is no error")
	f.DurationVar(&d.timeout, "timeout", 0, "how long to wait; 0 is as long as it takes")
	return cmd
}

func (d *deleteCommand) run(ctx context.Context, args []string) error {
	pods, err := d.named(ctx, args)
	if err != nil {
		return err
	}
	grace := &d.grace
	switch {
	case d.grace == 0 && !d.force: // as kubectl does it
		d.grace = 1
	case d.now && d.grace >= 0:
		return &exit{exitUsage, errors.New("--now and --grace-period cannot be specified together")}
	case d.now:
		d.grace = 1
	case d.grace < 0:
		grace = nil
	}
	var deleted []supervisor.Found
	var errs []error
	for _, p := range pods {
		f, err := supervisor.Get(ctx, d.site, p.Namespace, p.Name)
		if err == nil {
			err = f.Delete(ctx, d.supervised(networkFlags{}, os.Args), grace)
		}
		if _, gone := errors.AsType[*supervisor.NotFoundError](err); gone && d.missing {
			continue
		}
		if err == nil {
			deleted = append(deleted, f)
			_, err = fmt.Fprintf(d.out, "pod %q deleted from %s namespace\n", p.Name, p.Namespace)
		}
		errs = append(errs, podError(err))
	}
	if d.wait {
		errs = append(errs, d.await(ctx, deleted))
	}
	return firstOf(errs)
}

// named reads `pod NAME...`, `pod/NAME...`, `pods --all` or `-f FILE...`.
func (d *deleteCommand) named(ctx context.Context, args []string) ([]types.NamespacedName, error) {
	if len(args) > 0 && (args[0] == "pod" || args[0] == "pods" || args[0] == "po") {
		args = args[1:]
	}
	var out []types.NamespacedName
	for _, a := range args {
		name, err := podName(a)
		if err != nil {
			return nil, err
		}
		out = append(out, types.NamespacedName{Namespace: d.pods.namespace, Name: name})
	}
	ways := 0
	for _, way := range []bool{len(out) > 0, d.all, len(d.files) > 0} {
		if way {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, &exit{exitUsage, errors.New("name the pods, their files, or all of them: podsim delete pod NAME, podsim delete -f FILE, podsim delete pods --all")}
	case d.all:
		return d.allPods(ctx)
	}
	for _, file := range d.files {
		_, pods, err := (&applyCommand{globals: d.globals, in: d.in, err: d.err}).read(file, pod.Kubelet{})
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			out = append(out, types.NamespacedName{Namespace: p.Namespace, Name: p.Name})
		}
	}
	return out, nil
}

// allPods are those of the namespace.
func (d *deleteCommand) allPods(ctx context.Context) (out []types.NamespacedName, err error) {
	found, err := supervisor.List(ctx, d.site)
	if err != nil {
		return nil, podError(err)
	}
	for _, f := range found {
		if f.Pod.Namespace == d.pods.namespace {
			out = append(out, types.NamespacedName{Namespace: f.Pod.Namespace, Name: f.Pod.Name})
		}
	}
	if len(out) == 0 {
		_, err = fmt.Fprintln(d.out, "No resources found")
	}
	return out, err
}

func (d *deleteCommand) await(ctx context.Context, deleted []supervisor.Found) error {
	if d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.timeout, fmt.Errorf("timed out after %s waiting for the pod to go", d.timeout))
		defer cancel()
	}
	for _, f := range deleted {
		if err := f.AwaitGone(ctx); err != nil {
			return &exit{exitFailed, err}
		}
	}
	return nil
}
