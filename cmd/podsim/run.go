package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios/report"
)

// A runCommand is what `podsim run` was asked to do.
type runCommand struct {
	*globals
	network  networkFlags
	sel      manifest.Select
	strict   bool
	timeline string

	out, err io.Writer
}

// networkFlags are those of commands that run pods.
type networkFlags struct {
	cniConf, hostsDir string
	none              bool
}

func (n *networkFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.cniConf, "cni-conf", "", "attach pods by this CNI configuration instead of podsim's own bridge")
	f.BoolVar(&n.none, "no-network", false, "give pods loopback and nothing else")
	f.StringVar(&n.hostsDir, "hosts-dir", "", "containerd's hosts folder for registries (default /etc/containerd/certs.d)")
}

func (n networkFlags) apply(c *host.Config) {
	c.CNIConf, c.NoNetwork, c.HostsDir = n.cniConf, n.none, n.hostsDir
}

func newRun(g *globals) *cobra.Command {
	r := &runCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "run POD.yaml",
		Short: "Run a pod in the foreground",
		Long: `Run a pod in the foreground, with the ConfigMaps and Secrets of the same file. Ctrl-C deletes it, with its grace
period; Ctrl-C again ends it at once. The exit code tells the pod's end: 0 Succeeded, 1 Failed, 130 interrupted.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.out, r.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return r.run(cmd.Context(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.sel.Name, "name", "", "of several pods in the file, the one of this name")
	f.StringVar(&r.sel.Kind, "kind", "", "of several pods in the file, the one of this kind")
	f.BoolVar(&r.strict, "strict", false, "make a pod field that podsim does not act on an error")
	f.StringVar(&r.timeline, "timeline", "", "write the run's timeline to this file too")
	r.network.add(cmd)
	return cmd
}

func (r *runCommand) run(ctx context.Context, file string) error {
	m, p, err := readPod(r.err, file, r.sel, manifest.Options{Strict: r.strict})
	if err != nil {
		return err
	}

	config := r.config()
	config.Pods, config.Resources = []*corev1.Pod{p}, m.Resources
	r.network.apply(&config)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	asks := make(chan pod.Action, 1)
	stop := interrupts(func(n int) {
		if n == 1 {
			fmt.Fprintln(r.err, "podsim: deleting the pod; interrupt again to end it at once")
			asks <- pod.Action{Op: pod.OpDelete, Pod: p.Name, Why: "interrupted"}
			return
		}
		cancel(errInterrupted)
	})
	defer stop()

	console, lines, closeConsole := r.console(config.Pods)
	config.Log = lines
	_, v, err := job{pods: config.Pods, config: config, sinks: []timeline.Sink{console}, keep: r.timeline, asks: asks}.drive(ctx)
	closeConsole()
	if err := driveError(err); err != nil {
		return err
	}
	return ending(p, v)
}

// console shows the run: a screen on a terminal, plain lines elsewhere. Both get the containers' lines as well.
func (r *runCommand) console(pods []*corev1.Pod) (s timeline.Sink, lines func(host.LogLine), done func()) {
	out := r.out
	style := report.Style{}
	done = func() {}
	var also flushSink
	if fd, ok := terminal(r.out); ok {
		screen := newScreen(r.out, fd, pods)
		out, style.Color, also = screen, true, screen
		done = func() { _ = screen.Close() }
	}
	// The driver's records and the containers' lines come from different goroutines.
	shared := &syncWriter{out: out}
	if also == nil {
		also = newBackOffs(shared, pods)
	}
	live := report.NewLive(shared, style, pods)
	width := nameWidth(pods...)
	lines = func(l host.LogLine) {
		fmt.Fprintf(shared, "%9s  %-*s | %s\n", "", width, l.Container, report.Printable(l.Text))
	}
	return both{live, also}, lines, done
}

// nameWidth is the width of the column of names, as report.Live has it.
func nameWidth(pods ...*corev1.Pod) int {
	width := len("pod")
	for _, p := range pods {
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for _, c := range list {
				width = max(width, len(c.Name))
			}
		}
	}
	return width
}

// A syncWriter lets several goroutines write whole lines.
type syncWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

// A flushSink is a sink that is told when the driver is about to wait.
type flushSink interface {
	timeline.Sink
	Flush() error
}

// both are the lines, and the screen below them or, on plain output, what containers wait for.
type both struct {
	live timeline.Sink
	also flushSink
}

func (b both) Record(r timeline.Record) {
	b.also.Record(r)
	b.live.Record(r)
}

// Flush repaints the screen, or says what has to be waited for now.
func (b both) Flush() error { return b.also.Flush() }
