package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/supervisor"
)

// A deleteCommand is what `podsim delete` was asked to do.
type deleteCommand struct {
	*globals
	pods    podFlags
	grace   int64
	now     bool
	all     bool
	wait    bool
	missing bool
	timeout time.Duration

	out io.Writer
}

func newDelete(g *globals) *cobra.Command {
	d := &deleteCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "delete pod NAME...",
		Short: "Delete pods that were applied",
		Long: `Delete pods, with their own grace period or the one given, and wait until nothing is left of them. A second delete can only
shorten the time that the first one gave. Of a pod whose supervisor has died, what is left is taken away.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context(), args)
		},
	}
	d.pods.add(cmd)
	f := cmd.Flags()
	f.Int64Var(&d.grace, "grace-period", -1, "seconds that the pod has to end; negative is the pod's own")
	f.BoolVar(&d.now, "now", false, "end it soon: the same as --grace-period=1")
	f.BoolVar(&d.wait, "wait", true, "wait until the pod is gone")
	f.BoolVar(&d.all, "all", false, "all pods of the namespace")
	f.BoolVar(&d.missing, "ignore-not-found", false, "a pod that is not there is no error")
	f.DurationVar(&d.timeout, "timeout", 0, "how long to wait; 0 is as long as it takes")
	return cmd
}

func (d *deleteCommand) run(ctx context.Context, args []string) error {
	names, err := d.names(ctx, args)
	if err != nil {
		return err
	}
	grace := &d.grace
	switch {
	case d.now && d.grace >= 0:
		return &exit{exitUsage, errors.New("--now and --grace-period cannot be specified together")}
	case d.now:
		d.grace = 1
	case d.grace < 0:
		grace = nil
	}
	var deleted []supervisor.Found
	var errs []error
	for _, name := range names {
		f, err := supervisor.Get(ctx, d.site, d.pods.namespace, name)
		if err == nil {
			err = f.Delete(ctx, d.supervised(networkFlags{}, os.Args), grace)
		}
		if _, gone := errors.AsType[*supervisor.NotFoundError](err); gone && d.missing {
			continue
		}
		if err == nil {
			deleted = append(deleted, f)
			_, err = fmt.Fprintf(d.out, "pod %q deleted from %s namespace\n", name, d.pods.namespace)
		}
		errs = append(errs, podError(err))
	}
	if d.wait {
		errs = append(errs, d.await(ctx, deleted))
	}
	return firstOf(errs)
}

// names reads `pod NAME...`, `pod/NAME...` or `pods --all`.
func (d *deleteCommand) names(ctx context.Context, args []string) ([]string, error) {
	if len(args) > 0 && (args[0] == "pod" || args[0] == "pods" || args[0] == "po") {
		args = args[1:]
	}
	var names []string
	for _, a := range args {
		name, err := podName(a)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) > 0 == d.all {
		return nil, &exit{exitUsage, errors.New("name the pods, or all of them: podsim delete pod NAME, podsim delete pods --all")}
	}
	if d.all {
		found, err := supervisor.List(ctx, d.site)
		if err != nil {
			return nil, podError(err)
		}
		for _, f := range found {
			if f.Pod.Namespace == d.pods.namespace {
				names = append(names, f.Pod.Name)
			}
		}
	}
	return names, nil
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
