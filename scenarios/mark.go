package scenarios

import (
	"fmt"
	"strings"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A Mark is what a script leaves on the timeline: where a step begins and ends, so that a stored run can be judged.
type Mark struct {
	// Step is the step's number, from 1; those of finally come after the others.
	Step int
	// Begins is the step's title where it begins; empty where it ends.
	Begins string
	// Outcome is what the step came to where it ends, and Seen the number of records that this rests on.
	Outcome Outcome
	Seen    int
	// GaveUp says why the script waits no longer for its pods to go away. The driver goes on as long as a pod is not
	// done: who sees this mark ends the run, and the reap takes away what is left.
	GaveUp string
}

const gaveUp = "clean-up: "

// MarkOf reads a mark from its record. ok is false for every other record.
func MarkOf(r timeline.Record) (m Mark, ok bool) {
	if r.Kind != pod.Began || r.Action.Op != pod.OpMark || r.Action.Step == 0 {
		return m, false
	}
	m.Step = r.Action.Step
	if m.Begins, ok = strings.CutPrefix(r.Action.Why, "begin: "); ok {
		return m, true
	}
	m.Begins = ""
	if m.GaveUp, ok = strings.CutPrefix(r.Action.Why, gaveUp); ok {
		return m, true
	}
	m.GaveUp = ""
	var outcome string
	if n, _ := fmt.Sscanf(r.Action.Why, "end after %d records: %s", &m.Seen, &outcome); n != 2 || m.Outcome.UnmarshalText([]byte(outcome)) != nil {
		return Mark{}, false
	}
	return m, true
}

// action is the mark as a script asks for it.
func (m Mark) action() pod.Action {
	a := pod.Action{Op: pod.OpMark, Step: m.Step}
	switch {
	case m.Begins != "":
		a.Why = "begin: " + m.Begins
	case m.GaveUp != "":
		a.Why = gaveUp + m.GaveUp
	default:
		a.Why = fmt.Sprintf("end after %d records: %s", m.Seen, m.Outcome)
	}
	return a
}
