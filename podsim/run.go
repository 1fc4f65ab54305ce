package podsim

import (
	"context"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A Host performs actions. host.Host does so for real; podtest.Host from a script, in virtual time.
//
// Do performs one action and returns what it came to. The driver calls it on a goroutine of its own for each
// action, and cancels ctx when the answer is no longer wanted; Do then returns soon, with an error or without.
// Doing an action a second time is safe. What happens inside the pod (an image that is not there, a probe that
// fails) is an Event; an error is a failure of podsim or of the machine, and ends the run.
//
// Reap takes away everything that the run made, in whatever state it is; it is idempotent, runs every step
// even where one fails, and joins the errors.
type Host interface {
	Do(ctx context.Context, a pod.Action) (pod.Event, error)
	Reap(ctx context.Context) error
}

// A Director asks for more actions as a run unfolds. A scenario's script is one.
//
// Next is called on the driver's goroutine after every change, with the whole timeline and the status of each
// pod by name. It must be quick, and equal arguments must give equal plans. A director that has asked for an
// action sees its Began event in the next view.
type Director interface {
	Next(v timeline.View, pods map[string]pod.Status, now time.Time) pod.Plan
}
