package report

import (
	"fmt"
	"io"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
	corev1 "k8s.io/api/core/v1"
)

// A Live prints a run as it happens, one aligned line for each record that tells something: when, since the run's
// first record, who, and what. It is a timeline.Sink. Errors of the writer are not looked at: a console that is
// gone must not end a run.
type Live struct {
	// Steps are the scenario's, those of finally last: one that has a name of its own is shown by it. May be nil.
	Steps []scenarios.Step

	out   io.Writer
	style Style
	width int
	begin time.Time
	last  string
	more  int
}

// NewLive returns a Live that writes to out. The pods' container names set the width of a column.
func NewLive(out io.Writer, style Style, pods []*corev1.Pod) *Live {
	l := &Live{out: out, style: style, width: len("pod")}
	for _, p := range pods {
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for _, c := range list {
				l.width = max(l.width, len(c.Name))
			}
		}
	}
	return l
}

// Record prints the record's line, if it has one. What repeats (a probe that goes on failing, a request tried
// again) is printed once, and counted when it ends.
func (l *Live) Record(r timeline.Record) {
	if l.begin.IsZero() {
		l.begin = r.Time
	}
	who, what, ok := Words(r)
	if !ok {
		return
	}
	mark, _ := scenarios.MarkOf(r)
	if mark.Begins != "" && mark.Step <= len(l.Steps) {
		what = fmt.Sprintf("step %d: %s", mark.Step, l.Steps[mark.Step-1])
	}
	line := fmt.Sprintf("%-*s  %s", l.width, Printable(who), Printable(what))
	if line == l.last && repeats(r.Action.Op) {
		l.more++
		return
	}
	l.again()
	l.last = line
	color := ""
	switch {
	case mark.Begins != "":
		color = bold
	case r.Failure != nil, r.Note == pod.NoteWarning, r.Action.Op == pod.OpMark, r.Probe != nil && r.Probe.Result == pod.Failed, r.Exit != nil && r.Exit.Code != 0:
		color = yellow
	}
	text := line
	if color != "" {
		text = l.style.paint(color, line)
	}
	_, _ = fmt.Fprintf(l.out, "%s  %s\n", l.style.paint(grey, since(l.begin, r.Time)), text)
}

// again says how often the last line has come again since.
func (l *Live) again() {
	if l.more > 0 {
		words := fmt.Sprintf("(%d times more)", l.more)
		if l.more == 1 {
			words = "(once more)"
		}
		_, _ = fmt.Fprintf(l.out, "%*s  %-*s  %s\n", sinceWidth, "", l.width, "", l.style.paint(grey, words))
	}
	l.more = 0
}

// repeats reports whether an operation is tried again and again while it fails.
func repeats(op pod.Op) bool {
	switch op {
	case pod.OpProbe, pod.OpRequest, pod.OpExec, pod.OpRun, pod.OpSetUp, pod.OpPull, pod.OpCreate:
		return true
	}
	return false
}

const sinceWidth = 9

func since(begin, t time.Time) string {
	return fmt.Sprintf("%*.3fs", sinceWidth-1, t.Sub(begin).Seconds())
}
