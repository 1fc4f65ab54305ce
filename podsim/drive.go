package podsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
)

// burstLimit bounds how often the planners are asked without anything to wait for in between. A plan that never
// comes to rest is a bug in a planner or a director; the bound turns a spin into an error.
const burstLimit = 10_000

// An answer is what one action in flight came to.
type answer struct {
	action pod.Action
	event  pod.Event
	err    error
}

// A drive is the state of one Drive. Only its loop touches it; answers is the one way in for the goroutines.
type drive struct {
	run     *Run
	pods    []*corev1.Pod // the run's, as they are asked for now
	asks    <-chan pod.Action
	notes   <-chan pod.Event
	log     timeline.Log
	seq     int // of the newest record of a run that forgets
	status  map[string]pod.Status
	answers chan answer
	flying  sync.WaitGroup
	cancel  context.CancelFunc
	lastID  int
	open    map[int]pod.Action // begun and not answered
}

func newDrive(r *Run) *drive {
	d := &drive{run: r, pods: slices.Clone(r.Pods), asks: r.Asks, notes: r.Notes, status: make(map[string]pod.Status, len(r.Pods)), answers: make(chan answer), open: make(map[int]pod.Action)}
	for _, p := range r.Pods {
		d.status[p.Name] = pod.Status{}
	}
	return d
}

// loop asks and performs until everything is done, the host fails, or ctx ends.
func (d *drive) loop(ctx context.Context) error {
	flight, cancel := context.WithCancel(ctx)
	d.cancel = cancel
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake, done, err := d.settle(flight)
		if err != nil || done {
			return err
		}
		d.flush()
		var due <-chan time.Time
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
			due = timer.C
		}
		select {
		case a := <-d.answers:
			if err := d.answered(a); err != nil {
				return err
			}
		case a, ok := <-d.asks:
			if !ok {
				d.asks = nil
				continue
			}
			if err := d.ask(flight, a); err != nil {
				return err
			}
		case e, ok := <-d.notes:
			if !ok {
				d.notes = nil
				continue
			}
			d.record(e)
		case <-due:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// settle asks every planner and begins what they ask for, until they ask for nothing more. It returns when to
// ask again, and whether all of them are done.
func (d *drive) settle(ctx context.Context) (wake time.Time, done bool, err error) {
	for range burstLimit {
		now := time.Now()
		begun := 0
		wake, done = time.Time{}, true
		take := func(p pod.Plan) error {
			for _, a := range p.Actions {
				if err := d.begin(ctx, a, now); err != nil {
					return err
				}
			}
			begun += len(p.Actions)
			done = done && p.Done
			if wake.IsZero() || !p.Wake.IsZero() && p.Wake.Before(wake) {
				wake = p.Wake
			}
			return nil
		}
		for _, p := range d.pods {
			plan := pod.Next(p, d.status[p.Name], now)
			// A pod that nobody has asked for keeps nobody waiting: it is the director that may still ask.
			plan.Done = plan.Done || !d.status[p.Name].Up()
			if err := take(plan); err != nil {
				return wake, false, err
			}
		}
		if err := take(d.director().Next(d.log.View(), d.status, now)); err != nil {
			return wake, false, err
		}
		if begun == 0 && !done && !wake.IsZero() && !wake.After(now) {
			return wake, false, fmt.Errorf("plan the run: asked at %v to be woken at %v, which is not later", now, wake)
		}
		if begun == 0 {
			return wake, done, nil
		}
	}
	return wake, false, fmt.Errorf("plan the run: no rest after %d rounds: a planner or a director repeats itself", burstLimit)
}

func (d *drive) director() Director {
	if d.run.Director != nil {
		return d.run.Director
	}
	return upAll{&d.run.Kubelet}
}

// ask begins what somebody outside asks for. They cannot know what has just happened: an action that cannot follow is
// said, and passed over.
func (d *drive) ask(ctx context.Context, a pod.Action) error {
	now := time.Now()
	var refusal error
	if s, ok := d.status[a.Pod]; ok {
		_, refusal = s.Apply(pod.Event{Kind: pod.Began, Time: now, Action: a})
	}
	if refusal == nil {
		return d.begin(ctx, a, now)
	}
	d.record(pod.Event{Kind: pod.Noted, Time: now, Action: pod.Action{Pod: a.Pod, Container: a.Container}, Note: pod.NoteRefused,
		Detail: a.String() + ": " + refusal.Error()})
	return nil
}

// begin puts an action on the timeline and has it performed.
func (d *drive) begin(ctx context.Context, a pod.Action, now time.Time) error {
	d.lastID++
	a.ID = d.lastID
	if err := d.fold(pod.Event{Kind: pod.Began, Time: now, Action: a}); err != nil {
		return err
	}
	if a.Op.ByDriver() {
		d.update(a)
		return d.fold(pod.Event{Kind: pod.Ended, Time: now, Action: a})
	}
	d.open[a.ID] = a
	d.flying.Go(func() {
		e, err := d.run.Host.Do(ctx, a)
		d.answers <- answer{a, e, err}
	})
	return nil
}

// update has a pod planned, and its containers made, as an OpUpdate asks for.
func (d *drive) update(a pod.Action) {
	if a.Op != pod.OpUpdate {
		return
	}
	for i, p := range d.pods {
		if p.Name == a.Pod {
			d.pods[i] = a.Spec
		}
	}
	if h, ok := d.run.Host.(Updater); ok {
		h.Update(a.Spec)
	}
}

// answered folds what an action came to.
func (d *drive) answered(a answer) error {
	delete(d.open, a.action.ID)
	if a.err != nil {
		return fmt.Errorf("%s of pod %s: %w", a.action, a.action.Pod, a.err)
	}
	e := a.event
	e.Kind, e.Action = pod.Ended, a.action.Ref()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	return d.fold(e)
}

// fold records an event and applies it to its pod's status. An event that a status cannot follow is a bug of
// podsim, found here and not three actions later.
func (d *drive) fold(e pod.Event) error {
	d.record(e)
	s, ok := d.status[e.Action.Pod]
	if !ok {
		if e.Action.Pod != "" {
			return fmt.Errorf("%s: there is no pod %q in this run", e.Action, e.Action.Pod)
		}
		return nil
	}
	next, err := s.Apply(e)
	if err != nil {
		return fmt.Errorf("fold %s: %w", e.Action, err)
	}
	d.status[e.Action.Pod] = next
	return nil
}

func (d *drive) record(e pod.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	var r timeline.Record
	if d.run.Forget {
		d.seq++
		r = timeline.Record{Seq: d.seq, Event: e}
	} else {
		r = d.log.Append(e)
	}
	for _, s := range d.run.Sinks {
		s.Record(r)
	}
}

func (d *drive) flush() {
	for _, s := range d.run.Sinks {
		if f, ok := s.(interface{ Flush() error }); ok {
			f.Flush() // its error is the sink's owner's to ask for: no reporter can influence a run
		}
	}
}

// joinTimeout bounds the wait for actions that were cancelled. They end at once, unless the kernel holds them.
const joinTimeout = 30 * time.Second

// join cancels what is in flight and waits for it. Answers that come now are not folded: the run is over. Notes
// are still recorded, so that no sender of one is left waiting. What does not end in time is an error that names it.
func (d *drive) join() error {
	d.cancel()
	joined := make(chan struct{})
	go func() { d.flying.Wait(); close(joined) }()
	patience := time.NewTimer(joinTimeout)
	defer patience.Stop()
	for {
		select {
		case a := <-d.answers:
			delete(d.open, a.action.ID)
		case e, ok := <-d.notes:
			if !ok {
				d.notes = nil
				continue
			}
			d.record(e)
		case <-joined:
			return nil
		case <-patience.C:
			return fmt.Errorf("end the run: %s did not end within %s of being cancelled", d.flyingWords(), joinTimeout)
		}
	}
}

// flyingWords names the actions in flight, the oldest first.
func (d *drive) flyingWords() string {
	var words []string
	for _, id := range slices.Sorted(maps.Keys(d.open)) {
		words = append(words, d.open[id].String())
	}
	return strings.Join(words, ", ")
}

// conclude puts the run's end on the timeline, as its last record.
func (d *drive) conclude(err error) {
	e := pod.Event{Kind: pod.Noted, Note: pod.NoteEnded}
	if err != nil {
		e.Detail = err.Error()
	}
	d.record(e)
	d.flush()
}

// joinReap reaps the host, whatever became of ctx, and joins the errors.
func joinReap(ctx context.Context, r *Run, runErr error) error {
	if r.Retain {
		return runErr
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reapTimeout)
	defer cancel()
	if err := r.Host.Reap(ctx); err != nil {
		return errors.Join(runErr, &ReapError{err})
	}
	return runErr
}

// A ReapError says that something of a run could not be removed. `podsim clean` tries again.
type ReapError struct{ Err error }

func (e *ReapError) Error() string { return "clean up: " + e.Err.Error() }

// Unwrap returns what the steps that failed said.
func (e *ReapError) Unwrap() error { return e.Err }

// upAll is the director of a run that has none: it accepts every pod at once.
type upAll struct{ kubelet *pod.Kubelet }

func (u upAll) Next(_ timeline.View, pods map[string]pod.Status, _ time.Time) pod.Plan {
	p := pod.Plan{Done: true}
	for name, s := range pods {
		if s.Up() || s.Deleting() {
			continue
		}
		p.Actions = append(p.Actions, pod.Action{Op: pod.OpUp, Pod: name, Kubelet: u.kubelet, Why: "the run begins"})
	}
	slices.SortFunc(p.Actions, func(a, b pod.Action) int { return cmp.Compare(a.Pod, b.Pod) })
	return p
}
