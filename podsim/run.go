package podsim

import (
	"context"
	"errors"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
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

// An Updater is a Host that is told when a pod is asked for in another form (OpUpdate), before the next action. It must
// be quick. A Host that is none performs actions on what it has.
type Updater interface{ Update(p *corev1.Pod) }

// A Director asks for more actions as a run unfolds. A scenario's script is one.
//
// Next is called on the driver's goroutine after every change, with the whole timeline and the status of each
// pod by name. It must be quick, and equal arguments must give equal plans. A director that has asked for an
// action sees its Began event in the next view. A run ends when its director and all its pods are done.
type Director interface {
	Next(v timeline.View, pods map[string]pod.Status, now time.Time) pod.Plan
}

// A Run is one pod, or the several pods of one scenario, from nothing to nothing.
type Run struct {
	// Pods are the run's pods, defaulted and valid. Their names are unique in the run and are their keys.
	Pods []*corev1.Pod
	Host Host
	// Director asks for more than the pods' own rules do. Nil: every pod is accepted at once, and the run ends
	// when each is gone.
	Director Director
	// Kubelet is how the kubelet behaves that accepts the pods of a run without a Director.
	Kubelet pod.Kubelet
	// Asks are actions from outside, such as the delete that an interrupt asks for. May be nil.
	Asks <-chan pod.Action
	// Notes are events that no action asked for, such as a stub's connection. A send returns once the event is on
	// the timeline. May be nil.
	Notes <-chan pod.Event
	// Sinks are told of every record. One that has a method Flush() error is flushed whenever the driver is about
	// to wait. No sink can influence the run: its errors are its own.
	Sinks []timeline.Sink
	// Forget keeps no timeline in memory: what happens goes to the sinks alone, and the director's view stays empty. For
	// runs that have no end.
	Forget bool
	// Retain leaves what the run made in place, for a look at it; the caller reaps later.
	Retain bool
}

// reapTimeout bounds the reap after a run. A reap kills and unmounts; it does not wait for anybody's grace.
const reapTimeout = 60 * time.Second

// Drive performs the run and returns its timeline, whatever happened. It returns after the last goroutine has
// been joined and the host reaped; only an action that the kernel holds is left behind, after half a minute, and named. The
// timeline's last record says how the run ended. When ctx ends the run is broken off at once: no grace, only the reap; the
// error then is ctx's cause. An error of the host ends the run in the same way.
func (r *Run) Drive(ctx context.Context) (timeline.View, error) {
	d := newDrive(r)
	err := d.loop(ctx)
	err = errors.Join(err, d.join())
	d.flush() // the reap may take away the file by which others follow the run
	err = joinReap(ctx, r, err)
	d.conclude(err)
	return d.log.View(), err
}
