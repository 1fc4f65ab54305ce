package pod

import "time"

// A Plan is what to do now.
type Plan struct {
	// Actions may all begin at once. Each must begin (be folded as a Began event) before the next plan is asked for.
	Actions []Action
	// Wake is when to ask again if no event comes first. Zero: only an event can change the plan.
	Wake time.Time
	// Waiting names each container that is held back, and what holds it.
	Waiting []Wait
	// Done is true when nothing more will ever be asked for: the pod is gone, or the script is at its end.
	Done bool
}

// A Wait is a container that is held back and, in words, by what: "waits for sidecar proxy: its startup probe has not
// succeeded". Container is empty where the pod as a whole is held back.
type Wait struct {
	Pod       string
	Container string
	For       string
}
