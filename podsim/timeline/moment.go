package timeline

import (
	"fmt"
	"time"
)

// A Moment is one thing that happened, and as exactly as it is known, when.
//
// An action is an interval: what it brings about happened after it began and before its end was seen. So a
// moment is an instant that lies somewhere in [From, To]. The two are equal where the instant itself is known: a
// container's exit (the kernel's time), a stub's connection, and what podsim decides by itself (a status that
// changes, a hook that podsim sets about).
type Moment struct {
	Happening Happening
	// Pod is the pod's name; empty for a stub's moment.
	Pod string
	// Subject is the container or the stub; empty for moments of the pod and of the rules.
	Subject string
	// Arg is the exit code of Exited and the probe's kind of ProbeFail.
	Arg string
	// Instance is the container's instance, counted from 0.
	Instance int

	From, To time.Time

	// First and Last are the records that bound the moment: the action's beginning and its end, or one record.
	First, Last int
	// follows: the moment cannot have come before record First was folded, because podsim brought it about.
	follows bool
	// derived: the moment is a change of status, which follows from record First.
	derived bool
}

// Name is the moment as scenarios write it: "app.started", "app.exited(3)", "pod.ready", "api.connected".
func (m Moment) Name() string {
	name := m.Happening.String()
	if m.Subject != "" {
		name = m.Subject + "." + name
	}
	if m.Arg != "" {
		name = fmt.Sprintf("%s(%s)", name, m.Arg)
	}
	return name
}

// An Answer is what the record has to say to a question about time.
type Answer uint8

// The answers. TooClose is the honest one where the intervals of two actions overlap.
const (
	TooClose Answer = iota
	Proven
	Refuted
)

var answerNames = [...]string{TooClose: "too close to call", Proven: "proven", Refuted: "refuted"}

func (a Answer) String() string {
	if int(a) < len(answerNames) {
		return answerNames[a]
	}
	return fmt.Sprintf("Answer(%d)", uint8(a))
}

// Before says whether m came before n.
//
// It is proven where n could not come before m was known to have happened: m's last record was folded when podsim
// set about n (a cause precedes its effect, whatever the clocks say); or where m's whole interval lies before n's.
// It is refuted where n came before m in the same sense, and TooClose otherwise. So "startup probe ok < app started"
// is proven by a driver that starts the app upon the probe's answer, even if the clock did not move in between.
func (m Moment) Before(n Moment) Answer {
	switch {
	case m.causes(n):
		return Proven
	case n.causes(m):
		return Refuted
	case m.To.Before(n.From):
		return Proven
	case n.To.Before(m.From):
		return Refuted
	}
	return TooClose
}

// causes reports whether m was over, and known to be, when n came about.
func (m Moment) causes(n Moment) bool {
	if m.Last == n.First && n.derived && !m.derived {
		return true
	}
	return n.follows && m.Last < n.First
}

// Within says whether m and n lie at most d apart.
func (m Moment) Within(n Moment, d time.Duration) Answer {
	first, last := m, n
	if n.From.Before(m.From) {
		first, last = n, m
	}
	from, to := first.From, last.To
	if first.To.After(to) {
		to = first.To
	}
	switch {
	case to.Sub(from) <= d:
		return Proven
	case last.From.Sub(first.To) > d:
		return Refuted
	}
	return TooClose
}

// A Span is something that lasts.
type Span struct {
	From, To time.Time
	// Open: it had not ended when the timeline did; To then is the last record's time.
	Open        bool
	First, Last int
}

// Overlaps says whether two spans have an instant in common. Spans that merely touch do not.
func (s Span) Overlaps(t Span) Answer {
	from, to := s.From, s.To
	if t.From.After(from) {
		from = t.From
	}
	if t.To.Before(to) {
		to = t.To
	}
	if from.Before(to) {
		return Proven
	}
	return Refuted
}
