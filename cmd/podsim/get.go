package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/podsim/podsim/podsim/printer"
	"github.com/podsim/podsim/podsim/supervisor"
)

// A view is what the commands that show pods and events have in common.
type view struct {
	*globals
	pods     podFlags
	all      bool
	selector string
	output   string
	bare     bool // no headers
	watch    bool
	changes  bool // show the type of each change

	matches labels.Selector
	format  *printer.Format // nil: a table
	columns printer.Columns

	out, err io.Writer
}

// space is the namespace to look in, empty for all.
func (v *view) space() string {
	if v.all {
		return ""
	}
	return v.pods.namespace
}

// read checks the flags.
func (v *view) read(cmd *cobra.Command) (err error) {
	v.out, v.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if v.changes && !v.watch {
		return &exit{exitUsage, errors.New("--output-watch-events option can only be used with --watch")}
	}
	if v.matches, err = labels.Parse(v.selector); err != nil {
		return &exit{exitUsage, fmt.Errorf("read the selector: %w", err)}
	}
	format, wide, err := printer.ParseFormat(v.output)
	if err != nil {
		return &exit{exitUsage, err}
	}
	v.format = format
	v.columns = printer.Columns{Event: v.changes, Namespace: v.all, Wide: wide}
	return nil
}

// headers are those of a table; none if they are not asked for.
func (v *view) headers(headers []string) []string {
	if v.bare {
		return nil
	}
	return headers
}

// nothing says that there is nothing to show.
func (v *view) nothing() error {
	words := "No resources found"
	if !v.all {
		words = fmt.Sprintf("No resources found in %s namespace.", v.pods.namespace)
	}
	_, err := fmt.Fprintln(v.err, words)
	return err
}

// A getCommand is what `podsim get` was asked to do.
type getCommand struct {
	view
	missing bool // a pod that is not there is no error
}

func newGet(g *globals) *cobra.Command {
	c := &getCommand{view: view{globals: g}}
	cmd := &cobra.Command{
		Use:   "get pods [NAME...]",
		Short: "Show pods that were applied, or their events, as kubectl get does",
		Long: `Show pods that were applied as kubectl get shows them: as a table, or as the objects that a cluster's API would give.

  podsim get pods -A -o wide
  podsim get pod web -o jsonpath='{.status.phase}'
  podsim get pods -w -o json --output-watch-events
  podsim get events

A pod is shown until it is deleted, also when it has ended. One whose supervisor has died is Lost: podsim delete takes away
what is left of it. With -w, changes are shown until Ctrl-C.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.read(cmd); err != nil {
				return err
			}
			return c.run(cmd.Context(), args)
		},
	}
	c.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&c.selector, "selector", "l", "", "only those with these labels: a=b,c!=d,e in (f,g)")
	f.BoolVarP(&c.watch, "watch", "w", false, "go on and show every change")
	f.BoolVar(&c.changes, "output-watch-events", false, "show of what type each change is: ADDED, MODIFIED or DELETED")
	f.BoolVar(&c.missing, "ignore-not-found", false, "a pod that is not there is no error")
	return cmd
}

// add declares the flags that all commands have that show tables.
func (v *view) add(cmd *cobra.Command) {
	v.pods.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&v.all, "all-namespaces", "A", false, "of all namespaces")
	f.StringVarP(&v.output, "output", "o", "", "how to show them: "+printer.Formats)
	f.BoolVar(&v.bare, "no-headers", false, "leave out the table's headers")
}

func (c *getCommand) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return &exit{exitUsage, errors.New("say what to get: podsim get pods, podsim get pod NAME, podsim get events")}
	}
	if slices.Contains([]string{"events", "event", "ev"}, args[0]) {
		return c.getEvents(ctx, args[1:])
	}
	names, err := podNames(args)
	if err != nil {
		return err
	}
	switch {
	case len(names) > 0 && c.all:
		return &exit{exitUsage, errors.New("a resource cannot be retrieved by name across all namespaces: name its namespace with -n")}
	case len(names) > 0 && c.selector != "":
		return &exit{exitUsage, errors.New("selectors and names cannot be used together")}
	case c.watch && len(names) > 1:
		return &exit{exitUsage, errors.New("one pod can be watched, or all: leave out the names")}
	case c.watch:
		return c.watchPods(ctx, names)
	case len(names) > 0:
		return c.some(ctx, names)
	}
	return c.list(ctx)
}

// podNames reads `pods [NAME...]` or `pod/NAME...`.
func podNames(args []string) (names []string, err error) {
	if !strings.Contains(args[0], "/") {
		if !slices.Contains([]string{"pod", "pods", "po"}, args[0]) {
			return nil, &exit{exitUsage, fmt.Errorf("podsim has pods and events only, no %q: podsim get pods %[1]s", args[0])}
		}
		args = args[1:]
	}
	for _, a := range args {
		name, err := podName(a)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// found are the pods of the namespaces and labels asked for.
func (v *view) found(ctx context.Context) (out []supervisor.Found, err error) {
	all, err := supervisor.List(ctx, v.site)
	if err != nil {
		return nil, podError(err)
	}
	for _, f := range all {
		if v.shows(f.Pod) {
			out = append(out, f)
		}
	}
	return out, nil
}

func (v *view) shows(p *corev1.Pod) bool {
	return (v.all || p.Namespace == v.pods.namespace) && v.matches.Matches(labels.Set(p.Labels))
}

// list shows all pods.
func (c *getCommand) list(ctx context.Context) error {
	found, err := c.found(ctx)
	if err != nil {
		return err
	}
	if c.format != nil {
		return c.format.Pods(c.out, podsOf(found))
	}
	if len(found) == 0 {
		return c.nothing()
	}
	return c.table(found)
}

// some shows the pods of these names, and says of each that is not there that it is not.
func (c *getCommand) some(ctx context.Context, names []string) error {
	var found []supervisor.Found
	var errs []error
	for _, name := range names {
		f, err := supervisor.Get(ctx, c.site, c.pods.namespace, name)
		_, missing := errors.AsType[*supervisor.NotFoundError](err)
		switch {
		case err == nil:
			found = append(found, f)
		case !missing || !c.missing:
			errs = append(errs, podError(err))
		}
	}
	switch {
	case len(found) == 0:
	case c.format == nil:
		errs = append(errs, c.table(found))
	case len(names) == 1:
		errs = append(errs, c.format.Pod(c.out, found[0].Pod))
	default:
		errs = append(errs, c.format.Pods(c.out, podsOf(found)))
	}
	return firstOf(errs)
}

func podsOf(found []supervisor.Found) []*corev1.Pod {
	out := make([]*corev1.Pod, len(found))
	for i, f := range found {
		out[i] = f.Pod
	}
	return out
}

func (c *getCommand) table(found []supervisor.Found) error {
	t := printer.NewTable(c.out, c.headers(printer.PodHeaders(c.columns))...)
	now := time.Now()
	for _, f := range found {
		t.Row(printer.PodRow(f.Pod, c.columns, "", f.Pod.Status.Reason == supervisor.ReasonLost, now)...)
	}
	return t.Flush()
}

// watchPods shows one pod or all, and every change, until ctx ends.
func (c *getCommand) watchPods(ctx context.Context, names []string) error {
	name := ""
	if len(names) > 0 {
		name = names[0]
		if _, err := supervisor.Get(ctx, c.site, c.pods.namespace, name); err != nil {
			if _, missing := errors.AsType[*supervisor.NotFoundError](err); missing && c.missing {
				return nil
			}
			return podError(err)
		}
	}
	w := &podWatch{view: &c.view, shown: map[string]bool{}, listed: map[string]*corev1.Pod{}, table: printer.NewTable(c.out, c.headers(printer.PodHeaders(c.columns))...)}
	if c.format == nil && name == "" {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	return podError(supervisor.Watch(ctx, c.site, c.space(), name, w.each))
}

// A podWatch shows what a watch tells.
type podWatch struct {
	*view
	shown  map[string]bool        // by namespace and name
	listed map[string]*corev1.Pod // by namespace and name, those of which the watch has still to tell
	table  *printer.Table
}

// list shows the pods that are there, in order. A table may leave out what happens between that and the watch; for a
// program, the watch tells of them itself.
func (w *podWatch) list(ctx context.Context) error {
	found, err := w.found(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		w.shown[keyOf(f.Pod)], w.listed[keyOf(f.Pod)] = true, f.Pod
		w.table.Row(printer.PodRow(f.Pod, w.columns, supervisor.Added, f.Pod.Status.Reason == supervisor.ReasonLost, time.Now())...)
	}
	return w.table.Flush()
}

func keyOf(p *corev1.Pod) string { return p.Namespace + "/" + p.Name }

// each shows one change. A pod whose labels do not match any more is deleted, as far as this watch goes.
func (w *podWatch) each(e supervisor.Event) error {
	key, kind := keyOf(e.Pod), e.Type
	if p := w.listed[key]; p != nil {
		delete(w.listed, key)
		switch {
		case p.UID == e.Pod.UID && p.ResourceVersion == e.Pod.ResourceVersion && p.Status.Reason == e.Pod.Status.Reason && kind == supervisor.Added:
			return nil // it may have been lost since, without a new version
		case p.UID == e.Pod.UID && kind == supervisor.Added:
			kind = supervisor.Modified
		}
	}
	switch matches := w.shows(e.Pod); {
	case !matches && !w.shown[key]:
		return nil
	case !matches:
		kind = supervisor.Deleted
	case !w.shown[key] && kind == supervisor.Modified:
		kind = supervisor.Added
	}
	w.shown[key] = kind != supervisor.Deleted
	switch {
	case w.format == nil:
		w.table.Row(printer.PodRow(e.Pod, w.columns, kind, e.Pod.Status.Reason == supervisor.ReasonLost, time.Now())...)
		return w.table.Flush()
	case w.changes:
		return w.format.Watched(w.out, kind, e.Pod)
	}
	return w.format.Pod(w.out, e.Pod)
}
