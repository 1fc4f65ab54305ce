package pod

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// An Ask is something that a user or a scenario does in a rehearsal.
type Ask struct {
	// Action is what is asked for: an OpUpdate, an OpDelete, or a director's OpSignal.
	Action Action
	// After is when: after the rehearsal's beginning or, with Ready, after the pod first is ready or has ended.
	After time.Duration
	Ready bool
	// Latest, if not 0, is when it is asked in any case, after the beginning.
	Latest time.Duration
}

// rehearsalLimit bounds a rehearsal's events: far more than a pod makes in a day.
const rehearsalLimit = 200_000

// Rehearse plays a pod's life against a script, in virtual time, with the same planner as a real run. It begins at
// begin with OpUp and ends when the pod is gone, when nothing more can happen, or at the latest at begin + horizon.
// It returns every event, with its time and in the order of folding, and the status that they fold to.
func Rehearse(p *corev1.Pod, sc Script, begin time.Time, horizon time.Duration, asks ...Ask) ([]Event, Status, error) {
	r := rehearsal{p: p, script: sc, begin: begin, now: begin, asks: slices.Clone(asks), attempts: map[string]int{}}
	err := r.begun(Action{Op: OpUp, Pod: p.Name, Kubelet: &sc.Kubelet, Why: "the rehearsal begins"})
	for err == nil && len(r.events) < rehearsalLimit {
		if err = r.settle(); err != nil || r.s.Gone() {
			break
		}
		next := r.next()
		if next.IsZero() || next.After(begin.Add(horizon)) {
			break
		}
		r.now = next
		err = r.deliver()
	}
	if err != nil {
		return r.events, r.s, fmt.Errorf("rehearse pod %s: %w", p.Name, err)
	}
	return r.events, r.s, nil
}

// A rehearsal is one in progress.
type rehearsal struct {
	p        *corev1.Pod
	script   Script
	begin    time.Time
	now      time.Time
	wake     time.Time
	readyAt  time.Time
	s        Status
	events   []Event
	asks     []Ask
	pending  []Event // answers to come, each with its time
	attempts map[string]int
	process  []process
	lastID   int
}

// A process is one instance that runs, in a rehearsal.
type process struct {
	container string
	instance  int
	started   time.Time
	end       time.Time // zero: nothing will end it so far
	exit      Exit
	life      Life
}

// settle asks the planner until it asks for nothing more.
func (r *rehearsal) settle() error {
	for {
		plan := Next(r.p, r.s, r.now)
		r.wake = plan.Wake
		if r.readyAt.IsZero() && (r.s.Ready(r.p) || r.s.Ending()) {
			r.readyAt = r.now
		}
		if len(plan.Actions) == 0 {
			return nil
		}
		for _, a := range plan.Actions {
			if err := r.begun(a); err != nil {
				return err
			}
		}
	}
}

// begun folds the beginning of an action and sees to its answer.
func (r *rehearsal) begun(a Action) error {
	r.lastID++
	a.ID = r.lastID
	if err := r.fold(Event{Kind: Began, Time: r.now, Action: a}); err != nil {
		return err
	}
	if a.Op == OpUpdate {
		r.p = a.Spec
	}
	if a.Op.ByDriver() {
		return r.fold(Event{Kind: Ended, Time: r.now, Action: a.Ref()})
	}
	key := a.Op.String() + "/" + a.Container
	age := time.Duration(0)
	if c := r.s.seen(a.Container); !c.StartedAt.IsZero() {
		age = r.now.Sub(c.StartedAt)
	}
	e, takes, ends := r.script.Answer(r.p, a, r.attempts[key], age)
	r.attempts[key]++
	if ends {
		e.Time = r.now.Add(takes)
		r.pending = append(r.pending, e)
	}
	return nil
}

func (r *rehearsal) fold(e Event) error {
	s, err := r.s.Apply(e)
	if err != nil {
		return err
	}
	r.s, r.events = s, append(r.events, e)
	return nil
}

// next is when something happens next, zero if nothing does.
func (r *rehearsal) next() (at time.Time) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	earlier(r.wake)
	for _, e := range r.pending {
		earlier(e.Time)
	}
	for _, p := range r.process {
		earlier(p.end)
	}
	for _, a := range r.asks {
		earlier(r.due(a))
	}
	return at
}

// due is when something is asked for, zero while that is not known.
func (r *rehearsal) due(a Ask) (at time.Time) {
	switch {
	case !a.Ready:
		at = r.begin.Add(a.After)
	case !r.readyAt.IsZero():
		at = r.readyAt.Add(a.After)
	}
	if latest := r.begin.Add(a.Latest); a.Latest > 0 && (at.IsZero() || latest.Before(at)) {
		at = latest
	}
	if !at.IsZero() && at.Before(r.now) {
		return r.now
	}
	return at
}

// deliver folds one thing that happens now: an answer, the end of a process, or an ask, in this order. One at a
// time, because the planner is asked in between, as the driver does.
func (r *rehearsal) deliver() error {
	if i := slices.IndexFunc(r.pending, func(e Event) bool { return !e.Time.After(r.now) }); i >= 0 {
		e := r.pending[i]
		r.pending = slices.Delete(r.pending, i, i+1)
		return r.answer(e)
	}
	if i := slices.IndexFunc(r.process, func(p process) bool { return !p.end.IsZero() && !p.end.After(r.now) }); i >= 0 {
		p := r.process[i]
		r.process = slices.Delete(r.process, i, i+1)
		return r.ended(p)
	}
	if i := slices.IndexFunc(r.asks, func(a Ask) bool { t := r.due(a); return !t.IsZero() && !t.After(r.now) }); i >= 0 {
		a := r.asks[i].Action
		r.asks = slices.Delete(r.asks, i, i+1)
		a.Pod = r.p.Name
		return r.begun(a)
	}
	return nil // the planner's own wake
}

// answer folds an answer, and has the process that it starts or signals follow.
func (r *rehearsal) answer(e Event) error {
	a := e.Action
	if err := r.fold(e); err != nil {
		return err
	}
	switch {
	case a.Op == OpStart && e.Failure == nil:
		life := r.script.Life(r.p, a.Container, a.Instance)
		p := process{container: a.Container, instance: a.Instance, started: r.now, life: life, exit: Exit{Code: life.Code}}
		if life.Ends {
			p.end = r.now.Add(life.After)
		}
		r.process = append(r.process, p)
	case a.Op == OpSignal:
		r.signal(a)
	}
	return nil
}

func (r *rehearsal) signal(a Action) {
	for i := range r.process {
		p := &r.process[i]
		if p.container != a.Container {
			continue
		}
		after, exit, ends := p.life.Signalled(a.Signal)
		if at := r.now.Add(after); ends && (p.end.IsZero() || at.Before(p.end)) {
			p.end, p.exit = at, exit
		}
	}
}

// ended folds the end of a process: of what waits for it, and of the hooks that were run inside of it.
func (r *rehearsal) ended(p process) error {
	for _, a := range r.s.InFlight() {
		if a.Container != p.container || a.Instance != p.instance {
			continue
		}
		e := Event{Kind: Ended, Time: r.now, Action: a.Ref()}
		switch {
		case a.Op == OpAwait:
			exit := p.exit
			e.Exit = &exit
		case a.Op == OpHook && HookInside(r.p, a):
			r.pending = slices.DeleteFunc(r.pending, func(b Event) bool { return b.Action.ID == a.ID })
			e.Failure = &Failure{Reason: "HookFailed", Message: "the container has ended"}
		default:
			continue
		}
		if err := r.fold(e); err != nil {
			return err
		}
	}
	return nil
}
