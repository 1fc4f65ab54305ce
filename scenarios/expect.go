package scenarios

import (
	"reflect"
	"time"

	"github.com/podsim/podsim/podsim/pod"
)

const (
	readTimeout   = 5 * time.Second
	ledgerTimeout = 10 * time.Second
)

// A check is one thing that an `expect` judges.
type check interface {
	// needs says what must be read first; its answers are then in the scene's round.
	needs(s scene) needs
	look(s scene) Finding
}

// needs are what a check wants read: a container's log or file, the flow ledger.
type needs struct {
	container string
	read      *pod.Read
	ledger    bool
}

// expectVerb judges. Every check must pass.
type expectVerb struct{ checks []check }

func (v *expectVerb) repeats(*Step) bool {
	for _, c := range v.checks {
		switch c.(type) {
		case *logCheck, *fileCheck, *flowsCheck, *noBypassCheck, *noLoopCheck:
			return true
		}
	}
	return false
}

// onlyHistory reports whether a timeline that has nothing of the step suffices to judge it.
func (v *expectVerb) onlyHistory() bool {
	for _, c := range v.checks {
		switch c.(type) {
		case *orderCheck, *neverCheck, *countCheck, *eventsCheck:
		default:
			return false
		}
	}
	return true
}

func (v *expectVerb) ask(s scene) []pod.Action {
	if len(s.round) > 0 {
		return nil
	}
	var out []pod.Action
	flows := false
	for _, c := range v.checks {
		n := c.needs(s)
		if n.read != nil && !asksFor(out, n) {
			out = append(out, pod.Action{Op: pod.OpRead, Pod: s.pod().Name, Container: n.container, Read: n.read, Timeout: readTimeout})
		}
		if n.ledger && !flows {
			flows = true
			out = append(out, pod.Action{Op: pod.OpFlows, Pod: s.pod().Name, Timeout: ledgerTimeout})
		}
	}
	return out
}

func asksFor(actions []pod.Action, n needs) bool {
	for _, a := range actions {
		if a.Container == n.container && a.Read != nil && reflect.DeepEqual(a.Read, n.read) {
			return true
		}
	}
	return false
}

func (v *expectVerb) look(s scene) []Finding {
	out := make([]Finding, len(v.checks))
	for i, c := range v.checks {
		out[i] = c.look(s)
	}
	return out
}
