package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/podsim/podsim/podsim/supervisor"
)

// A debugCommand is what `podsim debug` was asked to do.
type debugCommand struct {
	*globals
	pods       podFlags
	container  corev1.EphemeralContainer
	policy     string
	env        []string
	argsOnly   bool
	attach     bool
	in         io.Reader
	out, error io.Writer
}

func newDebug(g *globals) *cobra.Command {
	d := &debugCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "debug POD --image=IMAGE [-- COMMAND [ARG...]]",
		Short: "Add an ephemeral container to a pod that runs",
		Long: `Add an ephemeral container to a pod that runs: it shares the pod's network and, with --target, the processes of one of its
containers. It is started once, counts for nothing in the pod's status, and goes with the pod. With -i podsim attaches to
it, as podsim attach does.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.in, d.out, d.error = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if !cmd.Flags().Changed("attach") {
				d.attach = d.container.Stdin
			}
			return d.run(cmd.Context(), args, cmd.ArgsLenAtDash())
		},
	}
	d.pods.add(cmd)
	f := cmd.Flags()
	f.StringVar(&d.container.Image, "image", "", "the container's image")
	f.StringVarP(&d.container.Name, "container", "c", "", "the container's name (default debugger- and five letters)")
	f.StringVar(&d.container.TargetContainerName, "target", "", "share the processes of this container")
	f.StringVar(&d.policy, "image-pull-policy", "", "the image's pull policy")
	f.StringArrayVar(&d.env, "env", nil, "environment variables: NAME=VALUE")
	f.BoolVarP(&d.container.Stdin, "stdin", "i", false, "keep the container's standard input open")
	f.BoolVarP(&d.container.TTY, "tty", "t", false, "give the container a terminal")
	f.BoolVar(&d.attach, "attach", false, "wait until the container runs, and attach to it (default true with -i)")
	f.BoolVar(&d.argsOnly, "arguments-only", false, "what follows -- are arguments to the image's own command")
	return cmd
}

func (d *debugCommand) run(ctx context.Context, args []string, dash int) error {
	if dash < 0 {
		dash = len(args)
	}
	if dash != 1 || d.container.Image == "" {
		return &exit{exitUsage, errors.New("name one pod and an image: podsim debug POD --image=IMAGE [-- COMMAND]")}
	}
	name, err := podName(args[0])
	if err != nil {
		return err
	}
	if err := d.complete(args[dash:]); err != nil {
		return err
	}
	f, err := supervisor.Get(ctx, d.site, d.pods.namespace, name)
	if err == nil {
		err = f.AddEphemeral(ctx, d.container)
	}
	if err != nil || !d.attach {
		return podError(err)
	}
	over, err := d.await(ctx, name)
	if err != nil || over {
		return err
	}
	a := attachCommand{stdin: d.container.Stdin, tty: d.container.TTY}
	a.visit = visit{globals: d.globals, pods: d.pods, container: d.container.Name, in: d.in, out: d.out, err: d.error}
	return a.run(ctx, name)
}

// errStarted ends a watch: the container runs, or has run.
var errStarted = errors.New("started")

// await waits until the container runs. It may be over by then.
func (d *debugCommand) await(ctx context.Context, name string) (over bool, err error) {
	said := ""
	err = supervisor.Watch(ctx, d.site, d.pods.namespace, name, func(e supervisor.Event) error {
		switch {
		case e.Type == supervisor.Deleted:
			return &supervisor.NotFoundError{Namespace: d.pods.namespace, Name: name}
		case e.Pod.Status.Reason == supervisor.ReasonLost:
			return &supervisor.LostError{Namespace: d.pods.namespace, Name: name}
		}
		for _, s := range e.Pod.Status.EphemeralContainerStatuses {
			if s.Name != d.container.Name || s.State.Running == nil && s.State.Terminated == nil {
				if w := s.State.Waiting; s.Name == d.container.Name && w != nil && w.Message != "" && w.Message != said {
					said = w.Message
					fmt.Fprintf(d.error, "Warning: container %s: %s\n", s.Name, said)
				}
				continue
			}
			if end := s.State.Terminated; end != nil {
				over = true
				fmt.Fprintf(d.error, "container %s has ended already, with exit code %d; podsim logs %s -c %s shows its output\n", s.Name, end.ExitCode, name, s.Name)
			}
			return errStarted
		}
		return nil
	})
	if errors.Is(err, errStarted) {
		return over, nil
	}
	return over, podError(err)
}

// complete fills in what the flags say in other forms.
func (d *debugCommand) complete(command []string) error {
	c := &d.container
	c.ImagePullPolicy = corev1.PullPolicy(d.policy)
	if c.Name == "" {
		c.Name = "debugger-" + utilrand.String(5)
		if _, err := fmt.Fprintf(d.error, "Defaulting debug container name to %s.\n", c.Name); err != nil {
			return err
		}
	}
	if d.argsOnly {
		c.Args = command
	} else {
		c.Command = command
	}
	for _, e := range d.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			return &exit{exitUsage, fmt.Errorf("--env %s: want NAME=VALUE", e)}
		}
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
	return nil
}
