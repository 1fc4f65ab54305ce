package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/printer"
	"github.com/podsim/podsim/podsim/supervisor"
)

// A describeCommand is what `podsim describe` was asked to do.
type describeCommand struct {
	view
	events bool
}

func newDescribe(g *globals) *cobra.Command {
	c := &describeCommand{view: view{globals: g}}
	cmd := &cobra.Command{
		Use:   "describe pod [NAME...]",
		Short: "Show all there is to know of a pod that was applied, with its events",
		Long: `Show all there is to know of a pod that was applied, as kubectl describe does: its containers with their states, its conditions,
volumes and events. A name's beginning is enough; without a name all pods are shown.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.read(cmd); err != nil {
				return err
			}
			return c.run(cmd.Context(), args)
		},
	}
	c.pods.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&c.all, "all-namespaces", "A", false, "of all namespaces")
	f.StringVarP(&c.selector, "selector", "l", "", "only those with these labels: a=b,c!=d,e in (f,g)")
	f.BoolVar(&c.events, "show-events", true, "show the pod's events")
	return cmd
}

func (c *describeCommand) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return &exit{exitUsage, errors.New("say what to describe: podsim describe pod NAME")}
	}
	names, err := podNames(args)
	if err != nil {
		return err
	}
	all, err := c.found(ctx)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if len(all) == 0 {
			return c.nothing()
		}
		return c.describe(all)
	}
	var found []supervisor.Found
	var errs []error
	for _, name := range names {
		those := named(all, name)
		if len(those) == 0 {
			errs = append(errs, podError(&supervisor.NotFoundError{Namespace: c.pods.namespace, Name: name}))
		}
		found = append(found, those...)
	}
	return firstOf(append([]error{c.describe(found)}, errs...))
}

// named are the pods of a name or, if there is none, those whose names begin with it.
func named(all []supervisor.Found, name string) (out []supervisor.Found) {
	for _, f := range all {
		if f.Pod.Name == name {
			return []supervisor.Found{f}
		}
		if strings.HasPrefix(f.Pod.Name, name) {
			out = append(out, f)
		}
	}
	return out
}

func (c *describeCommand) describe(found []supervisor.Found) error {
	for i, f := range found {
		if i > 0 {
			if _, err := fmt.Fprint(c.out, "\n\n"); err != nil {
				return err
			}
		}
		said, err := eventsOf(f)
		if err != nil {
			return err
		}
		if err := printer.Describe(c.out, f.Pod, said, printer.Description{Lost: f.Pod.Status.Reason == supervisor.ReasonLost, NoEvents: !c.events}, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// eventsOf are a pod's events so far.
func eventsOf(f supervisor.Found) ([]corev1.Event, error) {
	h, v, err := f.Timeline()
	if err != nil {
		return nil, podError(fmt.Errorf("read what happened to pod %s: %w", f.Pod.Name, err))
	}
	return events.Of(h, v), nil
}
