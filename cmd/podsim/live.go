package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios/report"
)

// A screen shows a run on a terminal: what happens scrolls by, and below it stands one line a container with its
// state, painted anew after every record. It is a timeline.Sink, and an io.Writer of whole lines.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	width func() int
	fold
	rows int // lines of the block that is on the screen now
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

func newScreen(out io.Writer, fd int, pods []*corev1.Pod) *screen {
	s := &screen{out: out, fold: newFold(pods)}
	s.width = func() int {
		if w, _, err := term.GetSize(fd); err == nil && w > 20 {
			return w
		}
		return 80
	}
	return s
}

// Record folds a record into what is shown.
func (s *screen) Record(r timeline.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(r)
}

// Flush paints the block. The driver calls it when it is about to wait, so a burst of records is one repaint.
func (s *screen) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paint("")
}

// Write puts whole lines above the block.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(p), s.paint(string(p))
}

// Close takes the block off the screen; what scrolled by stays.
func (s *screen) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = nil
	return s.paint("")
}

// paint replaces the block by text and a fresh block, in one write.
func (s *screen) paint(text string) error {
	var b strings.Builder
	if s.rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.rows)
	}
	b.WriteString(text)
	lines := s.block()
	width := s.width()
	for _, l := range lines {
		if r := []rune(l); len(r) >= width {
			l = string(r[:width-1])
		}
		b.WriteString(l + "\n")
	}
	s.rows = len(lines)
	_, err := io.WriteString(s.out, b.String())
	return err
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
			lines = append(lines, fmt.Sprintf("   %-20s %-8s %s", c.Name, readyMark(c), stateWords(c, waits[c.Name])))
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
