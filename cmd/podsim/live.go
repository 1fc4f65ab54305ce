package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios/report"
)

// A screen shows on a terminal, below what scrolls by, one line a container with its state. It is a timeline.Sink that
// is flushed; the console draws what it shows.
type screen struct {
	console *console
	fold
	width int // of the column of names
}

// A fold keeps the pods' statuses as the records tell them.
type fold struct {
	pods   []*corev1.Pod
	status map[string]pod.Status
	now    time.Time
}

func newFold(pods []*corev1.Pod) fold { return fold{pods: pods, status: make(map[string]pod.Status)} }

func (f *fold) record(r timeline.Record) {
	if next, err := f.status[r.Action.Pod].Apply(r.Event); err == nil && r.Action.Pod != "" {
		f.status[r.Action.Pod] = next
	}
	f.now = r.Time
}

// backOffs says on plain output what a container waits for after a failure; on a screen that is seen. It is a
// timeline.Sink that is flushed.
type backOffs struct {
	out io.Writer
	fold
	width int
	said  map[string]string
}

func newBackOffs(out io.Writer, pods []*corev1.Pod) *backOffs {
	return &backOffs{out: out, fold: newFold(pods), width: nameWidth(pods...), said: make(map[string]string)}
}

// Record folds a record in.
func (b *backOffs) Record(r timeline.Record) { b.record(r) }

// Flush says what is new.
func (b *backOffs) Flush() error {
	for _, p := range b.pods {
		ps := b.status[p.Name].PodStatus(p, b.now)
		for _, c := range append(ps.InitContainerStatuses, ps.ContainerStatuses...) {
			var words string
			if w := c.State.Waiting; w != nil && strings.HasSuffix(w.Reason, "BackOff") {
				message, _, _ := strings.Cut(w.Message, ": ErrImagePull") // that was said when it failed
				words = w.Reason + ": " + message
			}
			if words != "" && words != b.said[c.Name] {
				fmt.Fprintf(b.out, "%9s  %-*s  waits: %s\n", "", b.width, c.Name, report.Printable(words))
				b.said[c.Name] = words
			}
		}
	}
	return nil
}

func newScreen(c *console, pods []*corev1.Pod) *screen {
	return &screen{console: c, fold: newFold(pods), width: nameWidth(pods...)}
}

// Record folds a record into what is shown.
func (s *screen) Record(r timeline.Record) { s.record(r) }

// Flush has the block drawn anew. The driver calls it when it is about to wait, so a burst of records is one.
func (s *screen) Flush() error {
	s.console.show(s.block())
	return nil
}

// block is the lines of state: a head for each pod, a line for each of its containers.
func (s *screen) block() []string {
	var lines []string
	for _, p := range s.pods {
		st := s.status[p.Name]
		ps := st.PodStatus(p, s.now)
		waits := make(map[string]string)
		for _, w := range pod.Next(p, st, s.now).Waiting {
			waits[w.Container] = w.For
		}
		lines = append(lines, fmt.Sprintf("── %s  %s  %s", p.Name, ps.Phase, ps.PodIP))
		for _, c := range append(ps.InitContainerStatuses, ps.ContainerStatuses...) {
			lines = append(lines, fmt.Sprintf("   %-*s %-5s %s", s.width, c.Name, readyMark(c), stateWords(c, waits[c.Name])))
		}
	}
	return lines
}

func readyMark(c corev1.ContainerStatus) string {
	if c.Ready {
		return "ready"
	}
	return ""
}

// stateWords says a container's state in a few words, with what holds it back where something does.
func stateWords(c corev1.ContainerStatus, wait string) string {
	var words string
	switch st := c.State; {
	case st.Running != nil:
		words = "running since " + st.Running.StartedAt.Format(time.TimeOnly)
	case st.Terminated != nil:
		words = fmt.Sprintf("ended: %s, exit code %d", st.Terminated.Reason, st.Terminated.ExitCode)
	case st.Waiting != nil:
		words = "waiting: " + st.Waiting.Reason
	}
	if c.RestartCount > 0 {
		words += fmt.Sprintf(", restarts: %d", c.RestartCount)
	}
	if wait != "" {
		words += " (" + wait + ")"
	}
	return words
}
