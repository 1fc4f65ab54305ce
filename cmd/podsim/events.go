package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/printer"
	"github.com/podsim/podsim/podsim/supervisor"
	"github.com/podsim/podsim/podsim/timeline"
)

// An eventsCommand is what `podsim events` was asked to do.
type eventsCommand struct {
	view
	about string
	types []string
}

func newEvents(g *globals) *cobra.Command {
	c := &eventsCommand{view: view{globals: g}}
	cmd := &cobra.Command{
		Use:   "events [POD]",
		Short: "Show the events of pods that were applied, as kubectl events does",
		Long: `Show what happened to pods that were applied in Kubernetes' events, with the reasons and messages that a cluster would show, and
counted as a kubelet counts them: Scheduled, Pulled, Created, Started, BackOff, Unhealthy, Killing and so on.

A pod's events are there until it is deleted. With -w, they are shown as they come, until Ctrl-C.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.read(cmd); err != nil {
				return err
			}
			return c.run(cmd.Context(), args)
		},
	}
	c.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&c.watch, "watch", "w", false, "go on and show those that come")
	f.StringVar(&c.about, "for", "", "only those of this pod: pod/NAME")
	f.StringSliceVar(&c.types, "types", nil, "only those of these types: Normal, Warning")
	return cmd
}

func (c *eventsCommand) run(ctx context.Context, args []string) error {
	if c.about != "" {
		args = append(args, c.about)
	}
	name := ""
	switch {
	case len(args) > 1:
		return &exit{exitUsage, errors.New("name the pod once: podsim events NAME")}
	case len(args) == 1:
		var err error
		if name, err = podName(args[0]); err != nil {
			return err
		}
		if _, err := supervisor.Get(ctx, c.site, c.pods.namespace, name); err != nil {
			return podError(err)
		}
	}
	for _, t := range c.types {
		if !strings.EqualFold(t, corev1.EventTypeNormal) && !strings.EqualFold(t, corev1.EventTypeWarning) {
			return &exit{exitUsage, errors.New("valid --types are Normal or Warning")}
		}
	}
	table := printer.NewTable(c.out, c.headers(printer.EventHeaders(c.columns))...)
	show := func(list []corev1.Event, _ func(corev1.Event) string) error {
		list = slices.DeleteFunc(list, func(e corev1.Event) bool { return !c.typed(e.Type) })
		for _, e := range list {
			if c.format != nil {
				if err := c.format.Event(c.out, e); err != nil {
					return err
				}
				continue
			}
			table.Row(printer.EventRow(e, c.columns, time.Now())...)
		}
		return table.Flush()
	}
	if c.watch {
		return c.followEvents(ctx, name, show)
	}
	list, err := c.events(ctx, name)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e corev1.Event) bool { return !c.typed(e.Type) })
	printer.SortEvents(list)
	switch {
	case len(list) == 0 && c.all:
		_, err = fmt.Fprintln(c.err, "No events found.")
		return err
	case len(list) == 0:
		_, err = fmt.Fprintf(c.err, "No events found in %s namespace.\n", c.pods.namespace)
		return err
	case c.format != nil:
		return c.format.Events(c.out, "EventList", list)
	}
	return show(list, nil)
}

func (c *eventsCommand) typed(t string) bool {
	return len(c.types) == 0 || slices.ContainsFunc(c.types, func(want string) bool { return strings.EqualFold(want, t) })
}

// getEvents is `get events`: the same events in the table of `get`, all or those of some names.
func (c *getCommand) getEvents(ctx context.Context, names []string) error {
	if c.selector != "" {
		return &exit{exitUsage, errors.New("events have no labels: leave out the selector")}
	}
	table := printer.NewTable(c.out, c.headers(printer.GetEventHeaders(c.columns))...)
	show := func(list []corev1.Event, kind func(corev1.Event) string) error {
		for _, e := range list {
			var err error
			switch {
			case c.format == nil:
				table.Row(printer.GetEventRow(e, c.columns, kind(e), time.Now())...)
			case c.changes:
				err = c.format.WatchedEvent(c.out, kind(e), e)
			default:
				err = c.format.Event(c.out, e)
			}
			if err != nil {
				return err
			}
		}
		return table.Flush()
	}
	if c.watch {
		return c.followEvents(ctx, "", show)
	}
	list, err := c.events(ctx, "")
	if err != nil {
		return err
	}
	var errs []error
	if len(names) > 0 {
		list = slices.DeleteFunc(list, func(e corev1.Event) bool { return !slices.Contains(names, e.Name) })
		for _, name := range names {
			if !slices.ContainsFunc(list, func(e corev1.Event) bool { return e.Name == name }) && !c.missing {
				errs = append(errs, &exit{exitFailed, fmt.Errorf("Error from server (NotFound): events %q not found", name)})
			}
		}
	}
	switch {
	case len(names) > 0 && len(list) == 0:
	case c.format != nil && len(names) == 1:
		errs = append(errs, c.format.Event(c.out, list[0]))
	case c.format != nil:
		errs = append(errs, c.format.Events(c.out, "List", list))
	case len(list) == 0:
		errs = append(errs, c.nothing())
	default:
		errs = append(errs, show(list, func(corev1.Event) string { return "" }))
	}
	return firstOf(errs)
}

// events are those so far, of one pod or of all, by pod and by when they first came.
func (v *view) events(ctx context.Context, name string) (out []corev1.Event, err error) {
	found, err := v.found(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if name != "" && f.Pod.Name != name {
			continue
		}
		said, err := eventsOf(f)
		if errors.Is(err, fs.ErrNotExist) { // it has just gone
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, said...)
	}
	return out, nil
}

// followEvents has show show the events of one pod, or of all, and those that come, until ctx ends. What show is told
// with an event is the type of its change.
func (v *view) followEvents(ctx context.Context, name string, show func([]corev1.Event, func(corev1.Event) string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var showing sync.Mutex
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel(nil)
	follow := func(f supervisor.Found) error {
		var recorder *events.Recorder
		known := map[string]bool{}
		return f.Follow(ctx, func(h timeline.Header, records []timeline.Record) error {
			if recorder == nil {
				recorder = events.NewRecorder(h)
			}
			changed := changedBy(recorder, records)
			showing.Lock()
			defer showing.Unlock()
			return show(changed, func(e corev1.Event) string {
				if known[e.Name] {
					return supervisor.Modified
				}
				known[e.Name] = true
				return supervisor.Added
			})
		})
	}
	runs := map[string]bool{}
	err := supervisor.Watch(ctx, v.site, v.space(), name, func(e supervisor.Event) error {
		if e.Type != supervisor.Added || !v.matches.Matches(labels.Set(e.Pod.Labels)) {
			return nil
		}
		f, err := supervisor.Get(ctx, v.site, e.Pod.Namespace, e.Pod.Name)
		if _, gone := errors.AsType[*supervisor.NotFoundError](err); gone || err == nil && runs[f.Run] {
			return nil
		}
		if err != nil {
			return err
		}
		runs[f.Run] = true
		following.Go(func() {
			if err := follow(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				cancel(err)
			}
		})
		return nil
	})
	return podError(err)
}

// changedBy are the events that records bring or change, each once and as it is after them, by when they last came.
func changedBy(r *events.Recorder, records []timeline.Record) (out []corev1.Event) {
	at := map[string]int{}
	for _, rec := range records {
		for _, e := range r.Add(rec) {
			if i, ok := at[e.Name]; ok {
				out[i] = e
				continue
			}
			at[e.Name] = len(out)
			out = append(out, e)
		}
	}
	printer.SortEvents(out)
	return out
}
