package podtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

// Host performs actions from scripts. It is safe for concurrent use, and starts no goroutine. Set its fields before
// the first call.
type Host struct {
	// Pods are the pods whose actions it performs; Scripts holds, by a pod's name, how its containers behave, and may
	// lack any of them.
	Pods    []*corev1.Pod
	Scripts map[string]pod.Script
	// Faults are what goes wrong with the host itself.
	Faults []Fault
	// ReapErr, if not nil, is what Reap fails with.
	ReapErr error
	// Other performs what no script covers: OpRequest, OpExec, OpRun, OpRead and OpFlows. Without it they are errors.
	Other func(ctx context.Context, a pod.Action) (pod.Event, error)

	mu        sync.Mutex
	calls     []pod.Action
	attempts  map[string]int
	left      map[string]string // what was made and has not been removed, in words: of which pod
	processes map[instance]*process
	reaps     int
}

// A Fault makes the host fail at an action: podsim's own failure, which ends a run, not the container's.
type Fault struct {
	Op        pod.Op
	Container string // empty: of any container
	// Skip is how many such actions go well first. From then on all fail.
	Skip int
	// Err is what Do returns. If it is nil Do hangs until its context ends.
	Err error
}

// An instance names a process.
type instance struct {
	pod, container string
	number         int
}

// A process is one instance that was started.
type process struct {
	started time.Time
	life    pod.Life
	end     time.Time // zero: nothing will end it so far
	exit    pod.Exit
	changed chan struct{} // closed, and replaced, whenever end changes
}

// Do performs one action. It returns early, with the context's error, if ctx ends.
func (h *Host) Do(ctx context.Context, a pod.Action) (pod.Event, error) {
	n := h.called(a)
	if f := h.fault(a, n); f != nil {
		if f.Err != nil {
			return pod.Event{}, f.Err
		}
		<-ctx.Done()
		return pod.Event{}, context.Cause(ctx)
	}
	switch a.Op {
	case pod.OpRequest, pod.OpExec, pod.OpRun, pod.OpRead, pod.OpFlows:
		if h.Other == nil {
			return pod.Event{}, fmt.Errorf("perform %s: the scripted host has no answer; set its Other", a)
		}
		return h.Other(ctx, a)
	}
	p, err := h.pod(a.Pod)
	if err != nil {
		return pod.Event{}, err
	}
	switch a.Op {
	case pod.OpAwait:
		return h.await(ctx, a)
	case pod.OpHook:
		return h.hook(ctx, p, a)
	}
	e, takes, ends := h.Scripts[a.Pod].Answer(p, a, n, h.age(a))
	if err := h.pause(ctx, takes, ends, nil); err != nil {
		return pod.Event{}, err
	}
	h.effect(p, a, e)
	return stamped(e), nil
}

// Reap takes away everything that was made, or fails with ReapErr. It is idempotent.
func (h *Host) Reap(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reaps++
	if h.ReapErr != nil {
		return h.ReapErr
	}
	for _, p := range h.processes {
		p.endAt(time.Now(), pod.Exit{Code: 137, Signal: 9})
	}
	h.left = nil
	return nil
}

// Calls returns every action that Do was asked for, in order.
func (h *Host) Calls() []pod.Action {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Reaps is how often Reap was called.
func (h *Host) Reaps() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reaps
}

// Left names what was made and has not been removed, sorted.
func (h *Host) Left() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.left))
}

// called notes a call, and returns how often the same was asked for before.
func (h *Host) called(a pod.Action) (before int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, a)
	if h.attempts == nil {
		h.attempts = map[string]int{}
	}
	key := a.Pod + "/" + a.Op.String() + "/" + a.Container
	h.attempts[key]++
	return h.attempts[key] - 1
}

func (h *Host) fault(a pod.Action, before int) *Fault {
	for i, f := range h.Faults {
		if f.Op == a.Op && (f.Container == "" || f.Container == a.Container) && before >= f.Skip {
			return &h.Faults[i]
		}
	}
	return nil
}

func (h *Host) pod(name string) (*corev1.Pod, error) {
	for _, p := range h.Pods {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("the scripted host has no pod %q", name)
}

// pause waits until an effect has taken its time, or until stop is closed.
func (h *Host) pause(ctx context.Context, d time.Duration, ends bool, stop <-chan struct{}) error {
	var over <-chan time.Time
	if ends {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
		return nil
	case <-stop:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func stamped(e pod.Event) pod.Event {
	e.Time = time.Now()
	return e
}

func (h *Host) age(a pod.Action) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.processes[instance{a.Pod, a.Container, a.Instance}]; p != nil {
		return time.Since(p.started)
	}
	return 0
}

// effect notes what an action made, removed or ended.
func (h *Host) effect(p *corev1.Pod, a pod.Action, e pod.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left == nil {
		h.left = map[string]string{}
	}
	id := instance{a.Pod, a.Container, a.Instance}
	container := fmt.Sprintf("container %s/%s #%d", a.Pod, a.Container, a.Instance)
	switch {
	case a.Op == pod.OpRemove:
		delete(h.left, container)
	case a.Op == pod.OpTearDown:
		maps.DeleteFunc(h.left, func(_, of string) bool { return of == a.Pod })
	case a.Op == pod.OpSignal:
		h.signal(id, a.Signal)
	case e.Failure != nil:
	case a.Op == pod.OpSetUp:
		h.left["network "+a.Pod] = a.Pod
	case a.Op == pod.OpPrepare, a.Op == pod.OpCreate:
		h.left[container] = a.Pod
	case a.Op == pod.OpStart:
		h.start(id, h.Scripts[a.Pod].Life(p, a.Container, a.Instance))
	}
}

// start starts a process, unless it was started before.
func (h *Host) start(id instance, life pod.Life) {
	if h.processes == nil {
		h.processes = map[instance]*process{}
	}
	if h.processes[id] != nil {
		return
	}
	p := &process{started: time.Now(), life: life, exit: pod.Exit{Code: life.Code}, changed: make(chan struct{})}
	if life.Ends {
		p.end = p.started.Add(life.After)
	}
	h.processes[id] = p
}

func (h *Host) signal(id instance, signal string) {
	p := h.processes[id]
	if p == nil {
		return
	}
	if after, exit, ends := p.life.Signalled(signal); ends {
		p.endAt(time.Now().Add(after), exit)
	}
}

// endAt has the process end, if it would not end sooner.
func (p *process) endAt(at time.Time, exit pod.Exit) {
	if !p.end.IsZero() && !at.Before(p.end) {
		return
	}
	p.end, p.exit = at, exit
	close(p.changed)
	p.changed = make(chan struct{})
}

// look returns how a process stands: when it ends, and what tells of a change.
func (h *Host) look(id instance) (p process, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := h.processes[id]; at != nil {
		return *at, true
	}
	return process{}, false
}

// await waits for the end of a process.
func (h *Host) await(ctx context.Context, a pod.Action) (pod.Event, error) {
	for {
		p, ok := h.look(instance{a.Pod, a.Container, a.Instance})
		if !ok {
			return pod.Event{}, fmt.Errorf("await container %s #%d: it was never started", a.Container, a.Instance)
		}
		if !p.end.IsZero() && !time.Now().Before(p.end) {
			exit := p.exit
			return pod.Event{Kind: pod.Ended, Time: p.end, Action: a.Ref(), Exit: &exit}, nil
		}
		if err := h.pause(ctx, time.Until(p.end), !p.end.IsZero(), p.changed); err != nil {
			return pod.Event{}, err
		}
	}
}

// hook runs a lifecycle hook. One that is a command ends with its container.
func (h *Host) hook(ctx context.Context, p *corev1.Pod, a pod.Action) (pod.Event, error) {
	e, takes, ends := h.Scripts[a.Pod].Answer(p, a, 0, h.age(a))
	if !pod.HookInside(p, a) {
		if err := h.pause(ctx, takes, ends, nil); err != nil {
			return pod.Event{}, err
		}
		return stamped(e), nil
	}
	until := time.Now().Add(takes)
	for {
		now := time.Now()
		if ends && !now.Before(until) {
			return stamped(e), nil
		}
		at, ok := h.look(instance{a.Pod, a.Container, a.Instance})
		if !ok || !at.end.IsZero() && !now.Before(at.end) {
			e.Failure = &pod.Failure{Reason: "HookFailed", Message: "the container has ended"}
			return stamped(e), nil
		}
		next, any := until, ends
		if !at.end.IsZero() && (!any || at.end.Before(next)) {
			next, any = at.end, true
		}
		if err := h.pause(ctx, time.Until(next), any, at.changed); err != nil {
			return pod.Event{}, err
		}
	}
}
