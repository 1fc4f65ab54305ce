package main

import (
	"context"
	"fmt"
	"io"

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
	kubelet  kubeletFlags
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
	r.kubelet.add(cmd, "events")
	return cmd
}

func (r *runCommand) run(ctx context.Context, file string) error {
	kubelet, err := r.kubelet.read()
	if err != nil {
		return err
	}
	m, p, err := readPod(r.err, file, r.sel, manifest.Options{Strict: r.strict, Kubelet: kubelet})
	if err != nil {
		return err
	}

	config := r.config()
	config.Pods, config.Resources = []*corev1.Pod{p}, m.Resources
	r.network.apply(&config)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	shown := r.show(config.Pods)
	config.Log = shown.line
	asks := make(chan pod.Action, 1)
	stop := interrupts(func(n int) {
		if n > 1 {
			cancel(errInterrupted)
		} else {
			asks <- pod.Action{Op: pod.OpDelete, Pod: p.Name, Why: "interrupted"}
			shown.note("podsim: deleting the pod; interrupt again to end it at once")
		}
		shown.hurry()
	})
	defer stop()
	_, v, err := job{pods: config.Pods, config: config, kubelet: kubelet, sinks: []timeline.Sink{shown}, keep: r.timeline, asks: asks}.drive(ctx)
	shown.close()
	if err := driveError(err); err != nil {
		return err
	}
	return ending(p, v)
}

// A show is how a run is shown: its lines and, on a terminal, a screen below them, or else what containers wait for. It
// is a timeline.Sink that is flushed.
type show struct {
	out, notes *console
	live       *report.Live
	also       flushSink
	width      int // of the column of names
}

// A flushSink is a sink that is told when the driver is about to wait.
type flushSink interface {
	timeline.Sink
	Flush() error
}

// show begins to show a run; it is to be closed.
func (r *runCommand) show(pods []*corev1.Pod) *show {
	kept := r.kept()
	s := &show{width: nameWidth(pods...)}
	style := report.Style{}
	if fd, ok := terminal(r.out); ok {
		s.out, style.Color = newConsole(r.out, kept, painterOf(fd).draw), true
		s.also = newScreen(s.out, pods)
	} else {
		s.out = newConsole(r.out, kept, nil)
		s.also = newBackOffs(s.out, pods)
	}
	s.notes = newConsole(r.err, kept, nil)
	if _, ok := terminal(r.err); ok && s.out.draw != nil {
		s.notes = s.out // a line of another writer would move the screen's block
	}
	s.live = report.NewLive(s.out, style, pods)
	return s
}

// Record shows a record.
func (s *show) Record(r timeline.Record) {
	s.also.Record(r)
	s.live.Record(r)
}

// Flush repaints the screen, or says what has to be waited for now.
func (s *show) Flush() error { return s.also.Flush() }

// line shows a line that a container has printed.
func (s *show) line(l host.LogLine) {
	s.out.line(fmt.Sprintf("%9s  %-*s | %s\n", "", s.width, l.Container, report.Printable(l.Text)))
}

// note says something to the user beside the run's output.
func (s *show) note(text string) { fmt.Fprintln(s.notes, text) }

// hurry ends the wait of a close that is under way.
func (s *show) hurry() {
	s.out.hurry()
	s.notes.hurry()
}

// close waits until all is shown, as far as it is read. What becomes of the output is not the pod's affair: it is said
// and does not count.
func (s *show) close() {
	err := s.out.Close()
	if s.notes == s.out {
		return
	}
	if err != nil {
		s.note("podsim: " + err.Error())
	}
	_ = s.notes.Close() // there is nobody left to tell
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
