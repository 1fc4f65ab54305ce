package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/logs"
	"github.com/podsim/podsim/podsim/supervisor"
)

// A logsCommand is what `podsim logs` was asked to do.
type logsCommand struct {
	visit
	follow, previous, timestamps bool
	allContainers, prefix        bool
	ignoreErrors                 bool
	tail                         int
	since                        time.Duration
	sinceTime                    string
	limitBytes                   int64
	maxRequests                  int
	patience                     time.Duration
}

func newLogs(g *globals) *cobra.Command {
	l := &logsCommand{visit: visit{globals: g}}
	cmd := &cobra.Command{
		Use:   "logs POD [-c CONTAINER] [-f] [-p]",
		Short: "Print what a container of an applied pod has printed",
		Long: `Print what a container of an applied pod has printed, on both its streams, with the options of kubectl logs. The output of the
current and of the previous instance of each container is kept until the pod is deleted, of each the last 50 MiB or so, in
files that are rotated as a kubelet does it.

With -f it ends when the instance does, which a restart does not change; -f waits for one that has not started yet.`,
		Args: usage(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.from(cmd)
			return l.run(cmd.Context(), args)
		},
	}
	l.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on with what the container prints, until it ends")
	f.BoolVarP(&l.previous, "previous", "p", false, "the instance before the current one")
	f.IntVar(&l.tail, "tail", -1, "print so many lines at most, from the end; -1 is all")
	f.DurationVar(&l.since, "since", 0, "leave out lines that are older, such as 5s or 2m")
	f.StringVar(&l.sinceTime, "since-time", "", "leave out lines that are older, such as 2026-01-02T15:04:05Z")
	f.BoolVar(&l.timestamps, "timestamps", false, "put its time before each line")
	f.BoolVar(&l.allContainers, "all-containers", false, "all containers of the pod: one after the other, with -f at once")
	f.BoolVar(&l.prefix, "prefix", false, "put the pod and the container before each line")
	f.Int64Var(&l.limitBytes, "limit-bytes", 0, "print so many bytes of a container at most; 0 is all")
	f.BoolVar(&l.ignoreErrors, "ignore-errors", false, "go on with the other containers where one has no log")
	f.IntVar(&l.maxRequests, "max-log-requests", 5, "with -f: follow so many containers at most")
	f.DurationVar(&l.patience, "pod-running-timeout", 20*time.Second, "with -f: wait so long for a container that has not started")
	return cmd
}

func (l *logsCommand) run(ctx context.Context, args []string) error {
	if len(args) == 2 {
		if l.container != "" {
			return &exit{exitUsage, errors.New("only one of -c or an inline [CONTAINER] arg is allowed")}
		}
		l.container = args[1]
	}
	options, err := l.options(time.Now())
	if err != nil {
		return &exit{exitUsage, err}
	}
	name, err := podName(args[0])
	if err != nil {
		return err
	}
	f, err := supervisor.Get(ctx, l.site, l.pods.namespace, name)
	if err != nil {
		return podError(err)
	}
	containers, err := l.containers(f.Pod)
	if err != nil {
		return err
	}
	if !l.follow {
		for _, c := range containers {
			if err := l.print(ctx, f, f.Pod, c, options, l.out); err != nil {
				return err
			}
		}
		return nil
	}
	if n := len(containers); n > 1 && n > l.maxRequests {
		return &exit{exitFailed, fmt.Errorf("you are attempting to follow %d log streams, but maximum allowed concurrency is %d, "+
			"use --max-log-requests to increase the limit", n, l.maxRequests)}
	}
	return l.followAll(ctx, f, containers, options)
}

// options reads the flags. Their errors are kubectl's.
func (l *logsCommand) options(now time.Time) (logs.Options, error) {
	o := logs.Options{Timestamps: l.timestamps, LimitBytes: l.limitBytes}
	switch {
	case l.sinceTime != "" && l.since != 0:
		return o, errors.New("at most one of --since-time or --since may be specified")
	case l.since < 0:
		return o, errors.New("--since must be greater than 0")
	case l.limitBytes < 0:
		return o, errors.New("--limit-bytes must be greater than 0")
	case l.tail < -1:
		return o, errors.New("--tail must be greater than or equal to -1")
	case l.allContainers && l.container != "":
		return o, fmt.Errorf("--all-containers=true should not be specified with container name %s", l.container)
	}
	if l.tail >= 0 {
		o.Tail = &l.tail
	}
	if l.since > 0 {
		o.Since = now.Add(-l.since)
	}
	if l.sinceTime != "" {
		var err error
		if o.Since, err = time.Parse(time.RFC3339, l.sinceTime); err != nil {
			return o, fmt.Errorf("--since-time %q is no time like 2026-01-02T15:04:05Z", l.sinceTime)
		}
	}
	return o, nil
}

// containers are those whose logs are to be printed.
func (l *logsCommand) containers(p *corev1.Pod) ([]string, error) {
	if !l.allContainers {
		c, err := l.choose(p)
		if err != nil {
			return nil, err
		}
		return []string{c.Name}, nil
	}
	var names []string
	for _, c := range p.Spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range p.Spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range p.Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names, nil
}

// print prints one container's log as the pod is now.
func (l *logsCommand) print(ctx context.Context, f supervisor.Found, p *corev1.Pod, container string, o logs.Options, out io.Writer) error {
	instance, err := logs.InstanceOf(p, container, l.previous)
	if err == nil {
		err = l.printOne(ctx, f, container, instance, o, out)
	}
	return l.refusal(err)
}

func (l *logsCommand) printOne(ctx context.Context, f supervisor.Found, container string, instance int, o logs.Options, out io.Writer) error {
	if l.prefix {
		o.Prefix = fmt.Sprintf("[pod/%s/%s] ", f.Pod.Name, container)
	}
	return logs.Print(ctx, logs.Log{Dir: f.Dir, Pod: f.Pod.Name, Container: container, Instance: instance}, o, out)
}

// refusal is what an error comes to: a container without a log is no error with --ignore-errors.
func (l *logsCommand) refusal(err error) error {
	if _, none := errors.AsType[*logs.UnavailableError](err); !none {
		return err
	}
	err = fmt.Errorf("Error from server (BadRequest): %w", err)
	if l.ignoreErrors {
		_, err = fmt.Fprintf(l.err, "error: %v\n", err)
		return err
	}
	return &exit{exitFailed, err}
}

// followAll follows containers until each has ended.
func (l *logsCommand) followAll(ctx context.Context, f supervisor.Found, containers []string, o logs.Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var joined, followers sync.WaitGroup
	defer joined.Wait()
	w := newSighting(f)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	joined.Go(func() { w.watch(watching, l.site) })
	out := &wholeWriter{out: l.out}
	for _, c := range containers {
		followers.Go(func() {
			if err := l.followOne(ctx, f, w, c, o, out); err != nil {
				cancel(err) // the first ends them all, as kubectl has it
			}
		})
	}
	followers.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return w.err()
}

func (l *logsCommand) followOne(ctx context.Context, f supervisor.Found, w *sighting, container string, o logs.Options, out io.Writer) error {
	instance, err := l.awaitInstance(ctx, w, container)
	if err != nil {
		return l.refusal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	until := make(chan struct{})
	o.Until = until
	go func() {
		defer close(until)
		w.await(ctx, func(p *corev1.Pod) bool { return !logs.Runs(p, container, instance) })
	}()
	err = l.printOne(ctx, f, container, instance, o, out)
	cancel()
	<-until
	return l.refusal(err)
}

// awaitInstance waits for a container that has no log yet. Why it waits is said once.
func (l *logsCommand) awaitInstance(ctx context.Context, w *sighting, container string) (instance int, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	said := ""
	for {
		p := w.pod()
		instance, err = logs.InstanceOf(p, container, l.previous)
		if _, none := errors.AsType[*logs.UnavailableError](err); !none || ended(p) {
			return instance, err
		}
		if now := err.Error(); now != said {
			said = now
			fmt.Fprintln(l.err, now)
		}
		if !w.await(ctx, func(p *corev1.Pod) bool {
			_, now := logs.InstanceOf(p, container, l.previous)
			return now == nil || now.Error() != said || ended(p)
		}) {
			return 0, err
		}
	}
}

// ended reports whether nothing starts in a pod any more.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// A wholeWriter is written to by several, one at a time.
type wholeWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *wholeWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}
