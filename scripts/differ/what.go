package main

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What is a kind of event: the vocabulary that every recording is reduced to.
type What uint8

// The kinds. Those that Kubernetes' events tell come first, then those that a pod's status tells.
const (
	_           What = iota
	Pulled           // the image is there
	Created          // the container was created
	Started          // its process was started
	Failed           // an attempt to start it failed
	Unhealthy        // a probe failed for the first time in an instance's life; Detail is startup, liveness or readiness
	Killing          // the kubelet set about to stop it
	BackOff          // it began to wait; Detail is crash or image
	HookFailed       // Detail is postStart or preStop
	StartedFlag      // the status' started became true
	Ready            // the status' ready became true
	NotReady         // ... false
	Exited           // Detail is the exit code
	Phase            // Detail is the pod's new phase
	Condition        // Detail is TYPE=STATUS of a condition of the pod that changed; the first False is no change
)

var whatNames = [...]string{Pulled: "pulled", Created: "created", Started: "started", Failed: "failed", Unhealthy: "unhealthy",
	Killing: "killing", BackOff: "backoff", HookFailed: "hookFailed", StartedFlag: "startedFlag", Ready: "ready", NotReady: "notReady",
	Exited: "exited", Phase: "phase", Condition: "condition"}

// Whats lists the kinds in order.
func Whats() []What {
	var all []What
	for w := Pulled; w <= Condition; w++ {
		all = append(all, w)
	}
	return all
}

func (w What) String() string {
	if w > 0 && int(w) < len(whatNames) {
		return whatNames[w]
	}
	return fmt.Sprintf("What(%d)", uint8(w))
}

// MarshalText gives the kind's name.
func (w What) MarshalText() ([]byte, error) {
	if w == 0 || int(w) >= len(whatNames) {
		return nil, fmt.Errorf("no such kind of event: %d", uint8(w))
	}
	return []byte(whatNames[w]), nil
}

// UnmarshalText takes what MarshalText gives.
func (w *What) UnmarshalText(text []byte) error {
	i := slices.Index(whatNames[1:], string(text))
	if i < 0 {
		return fmt.Errorf("no such kind of event: %q; there are %v", text, Whats())
	}
	*w = What(i + 1)
	return nil
}

// OfPod reports whether an event of this kind is the pod's, and no container's.
func (w What) OfPod() bool { return w == Phase || w == Condition }

// backbone reports whether it is a step of a container's life that no other step of the same life is concurrent to.
func (w What) backbone() bool {
	return w == Pulled || w == Created || w == Started || w == Failed || w == Killing || w == Exited || w == BackOff
}

// starts reports whether it is a step of a container's start that the kubelet takes one after the other.
func (w What) starts() bool { return w == Pulled || w == Created || w == Started }

// flag reports whether it is a change of a container's flags.
func (w What) flag() bool { return w == StartedFlag || w == Ready || w == NotReady }

// once reports whether only the first of an instance counts: how often the others come is a question of time.
func (w What) once() bool {
	return w == Unhealthy || w == BackOff || w == Killing || w == Failed || w == HookFailed
}

// An Event is one thing that happened.
type Event struct {
	What      What
	Container string // empty: the pod
	Instance  int    // of the container, from 0: its restartCount
	Detail    string
	Message   string // for people; never compared

	// From and To are between when it happened. A zero To: nobody knows how long after From.
	From, To time.Time
	// Lane is who told it, Seq its place among what that one told in order; 0: its place is not known.
	Lane Lane
	Seq  int
}

// A Lane is one who tells events, in an order of its own.
type Lane uint8

// The lanes.
const (
	LaneLines  Lane = iota // a timeline or plain lines: their order is the order of things
	LaneEvents             // Kubernetes' events
	LaneStatus             // versions of a pod
)

// Name is the event in short: app.exited(3), app[2].started, pod.phase(Running).
func (e Event) Name() string {
	name := e.Container
	if name == "" {
		name = "pod"
	}
	if e.Instance > 0 {
		name = fmt.Sprintf("%s[%d]", name, e.Instance)
	}
	name += "." + e.What.String()
	if e.Detail != "" {
		name += "(" + e.Detail + ")"
	}
	return name
}

// before says whether e surely came before f.
func (e Event) before(f Event) bool {
	inLane := e.Lane == f.Lane && e.Seq > 0 && f.Seq > 0 && e.Seq != f.Seq
	switch {
	case inLane && e.Lane == LaneLines:
		return e.Seq < f.Seq
	case !e.To.IsZero() && e.To.Before(f.From):
		return true
	case !f.To.IsZero() && f.To.Before(e.From):
		return false
	}
	return inLane && e.Seq < f.Seq
}

// A Recording is one run of a pod.
type Recording struct {
	Name   string
	Pod    *corev1.Pod // its spec; nil if nothing told
	Events []Event     // as they came, as far as that is known
	// Told are the kinds of which the recording would tell.
	Told map[What]bool
	// Merged says that versions of the status were taken as they came from an API server: a state that soon went over
	// into another may never have been reported.
	Merged bool
}

// tells adds kinds to those that the recording would tell of.
func (r *Recording) tells(kinds ...What) {
	if r.Told == nil {
		r.Told = map[What]bool{}
	}
	for _, w := range kinds {
		r.Told[w] = true
	}
}

// sort puts the events in order of time, those of one instant as they were told.
func (r *Recording) sort() {
	slices.SortStableFunc(r.Events, func(a, b Event) int { return a.From.Compare(b.From) })
}
