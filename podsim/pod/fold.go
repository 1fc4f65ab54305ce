package pod

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Apply folds one event into the status and returns the new one; s stays as it is. An event that cannot follow is a
// *TransitionError, with s as the status. What a director asks of a running pod (OpRequest, OpExec, OpRun, OpRead,
// OpFlows, OpRefresh, OpMark, and an OpSignal with a Step) and Noted events change nothing here.
func (s Status) Apply(e Event) (Status, error) {
	if e.Kind == Noted || e.Kind != 0 && ignored(e.Action) {
		return s, nil
	}
	f := fold{s: s, at: e.Time}
	if err := f.apply(e); err != nil {
		return s, &TransitionError{Event: e, Why: err.Error()}
	}
	f.settle()
	return f.s, nil
}

// ignored reports whether an action says nothing about the pod's life.
func ignored(a Action) bool {
	switch a.Op {
	case OpRequest, OpExec, OpRun, OpRead, OpFlows, OpRefresh, OpMark:
		return true
	case OpSignal:
		return a.Step > 0
	}
	return false
}

// A fold is the making of one new status from an old one. It copies what it changes, and each thing once.
type fold struct {
	s     Status
	at    time.Time
	list  bool               // s.containers is our own copy
	owned []*ContainerStatus // containers that are our own copies
}

// container returns a container's status to be changed, making it on first sight.
func (f *fold) container(name string) *ContainerStatus {
	i := slices.IndexFunc(f.s.containers, func(c *ContainerStatus) bool { return c.Name == name })
	if i >= 0 && slices.Contains(f.owned, f.s.containers[i]) {
		return f.s.containers[i]
	}
	if !f.list {
		f.s.containers, f.list = slices.Clone(f.s.containers), true
	}
	c := &ContainerStatus{Name: name}
	if i >= 0 {
		*c = *f.s.containers[i]
		f.s.containers[i] = c
	} else {
		f.s.containers = append(f.s.containers, c)
	}
	f.owned = append(f.owned, c)
	return c
}

func (f *fold) apply(e Event) error {
	a := e.Action
	if int(a.Op) >= len(opNames) || a.Op == 0 {
		return errors.New("there is no such operation")
	}
	if int(a.Probe) >= len(probeNames) || int(a.Hook) >= len(hookNames) || int(a.Stop) >= len(stopNames) {
		return errors.New("there is no such probe, hook or reason to stop")
	}
	if f.s.pod != "" && a.Pod != f.s.pod {
		return fmt.Errorf("this is the status of pod %q", f.s.pod)
	}
	switch {
	case e.Kind != Began && e.Kind != Ended:
		return errors.New("there is no such kind of event")
	case e.Time.IsZero():
		return errors.New("it has no time")
	case e.Kind == Began:
		return f.began(&a)
	default:
		return f.ended(e)
	}
}

// sameAction reports whether two actions are one, as far as an answer names it (Action.Ref).
func sameAction(a, b *Action) bool {
	return a.ID == b.ID && a.Step == b.Step && sameEffect(a, b)
}

// sameEffect reports whether two actions would do the same.
func sameEffect(a, b *Action) bool {
	return a.Op == b.Op && a.Container == b.Container && a.Instance == b.Instance &&
		a.Probe == b.Probe && a.Hook == b.Hook && a.Signal == b.Signal
}

func (f *fold) began(a *Action) error {
	if f.s.flying(func(b *Action) bool { return sameEffect(a, b) }) != nil {
		return errors.New("it is in flight already")
	}
	if !a.Op.ByDriver() && !f.s.Up() {
		return errors.New("nobody has asked for the pod (OpUp)")
	}
	if f.s.Gone() && !a.Op.ByDriver() {
		return errors.New("the pod is gone")
	}
	if err := f.begin(a); err != nil {
		return err
	}
	f.s.flight = append(slices.Clip(f.s.flight), a)
	return nil
}

// begin checks that an action may begin, and folds its beginning.
func (f *fold) begin(a *Action) error {
	switch a.Op {
	case OpUp:
		if f.s.Up() {
			return errors.New("the pod was asked for already")
		}
		if f.s.Deleting() {
			return errors.New("the pod was deleted before")
		}
		f.s.pod = a.Pod
		if a.Kubelet != nil {
			f.s.kubelet = newOptions(*a.Kubelet)
		}
	case OpUpdate:
		switch {
		case !f.s.Up():
			return errors.New("nobody has asked for the pod (OpUp)")
		case f.s.Gone():
			return errors.New("the pod is gone")
		case a.Spec == nil:
			return errors.New("it does not say what the pod is from now on")
		}
	case OpDelete:
		f.s.pod = a.Pod
	case OpSetUp:
		if !f.s.setUp.done.IsZero() {
			return errors.New("the pod is set up already")
		}
		f.s.setUp.begun, f.s.setUp.at = true, f.at
		if a.Members != nil {
			p := f.s.progressed()
			p.members, f.s.progress = *a.Members, &p
		}
	case OpTearDown:
		return f.beginTearDown(a)
	default:
		if a.Container == "" {
			return errors.New("it names no container")
		}
		return f.beginContainer(a)
	}
	return nil
}

func (f *fold) beginTearDown(a *Action) error {
	for _, c := range f.s.containers {
		if c.State == StateRunning {
			return fmt.Errorf("container %s is running (TM-24)", c.Name)
		}
	}
	if b := f.s.flying((*Action).makes); b != nil {
		return fmt.Errorf("%s is in flight", b)
	}
	f.beginEnd(a.Stop)
	return nil
}

// beginEnd marks the moment from which the pod ends by itself.
func (f *fold) beginEnd(r StopReason) {
	if (r == StopEnd || r == StopDeadline) && f.s.end.reason == 0 {
		f.s.end.reason, f.s.end.at = r, f.at
		f.endReset()
		f.s.sync.drop(f.at)
	}
}

func (f *fold) beginContainer(a *Action) error {
	c := f.s.seen(a.Container)
	if err := f.permits(a, c); err != nil {
		return err
	}
	if a.Sync > 0 {
		if err := f.s.sync.join(*a); err != nil {
			return err
		}
	}
	if a.Stop == StopRestartAll {
		f.beginReset(a)
	}
	switch a.Op {
	case OpPrepare:
		f.container(a.Container).prepared = true
	case OpPull:
		f.beginTurn(f.container(a.Container), a)
	case OpAwait:
		f.container(a.Container).awaited = true
	case OpStart:
		c := f.container(a.Container)
		c.Role, c.synced, c.has = a.Role, a.Sync, [len(probeNames)]bool{}
		for _, k := range a.Probes {
			c.has[int(k)%len(c.has)] = true
		}
	case OpProbe:
		f.container(a.Container).probed[a.Probe].begun = f.at
	case OpHook, OpSignal:
		f.beginStop(f.container(a.Container), a)
	}
	return nil
}

// permits says why an action of a container may not begin.
func (f *fold) permits(a *Action, c *ContainerStatus) error {
	if a.Op.works() || a.isPostStart() {
		if w := f.s.working(); w != nil {
			return fmt.Errorf("%s is in flight, and a pod's containers are started one at a time (ST-04)", w)
		}
		if a.Sync == 0 {
			return errors.New("it belongs to no sync")
		}
		if f.s.Ending() {
			return errors.New("the pod is on its way out (TM-15)")
		}
	}
	want := a.Op.needs()
	if a.Op == OpRemove && a.Stop == StopRestartAll && c.State == StateCreated {
		want = StateCreated
	}
	if a.isPostStart() && c.State == StateExited {
		want = StateExited // it ended too soon; the hook then fails for want of a container
	}
	switch {
	case want != 0 && c.State != want:
		return fmt.Errorf("the container is not %s", want)
	case want != 0 && c.Instance != a.Instance:
		return fmt.Errorf("the container's instance is number %d", c.Instance)
	case a.Op == OpAwait && c.awaited:
		return errors.New("its end is awaited already")
	case a.Op == OpRemove && c.removed && a.Stop != StopRestartAll:
		return errors.New("it was removed already")
	case a.Op == OpPrepare && (c.prepared || c.State != 0):
		return errors.New("it was prepared or created already")
	case (a.Op == OpPull || a.Op == OpCreate) && c.State == StateRunning:
		return errors.New("the container is running")
	case (a.Op == OpPull || a.Op == OpCreate) && a.Instance != c.nextInstance():
		return fmt.Errorf("the next instance is number %d", c.nextInstance())
	case a.Op == OpProbe && a.Probe == 0, a.Op == OpHook && a.Hook == 0, a.Op == OpSignal && a.Signal == "":
		return errors.New("it does not say which")
	}
	return nil
}

// needs is the state that an instance has to be in for an operation on it; zero if the operation makes the instance.
func (o Op) needs() State {
	switch o {
	case OpStart:
		return StateCreated
	case OpAwait, OpProbe, OpHook, OpSignal:
		return StateRunning
	case OpRemove:
		return StateExited
	}
	return 0
}

// beginTurn counts an attempt to start a container.
func (f *fold) beginTurn(c *ContainerStatus, a *Action) {
	c.tried = true
	if a.Role != 0 {
		c.Role = a.Role
	}
	if p := f.s.progressed(); c.Role == RoleMain && p.initialized.IsZero() {
		p.initialized, f.s.progress = f.at, &p
	}
	if c.key != a.Image && c.key != "" {
		c.crash, c.pull = backOff{}, backOff{}
	}
	c.key, c.turn = a.Image, a.Image
	if c.State == StateExited {
		c.crash.next(c.Exit.FinishedAt, f.at, f.s.options().crash)
	}
}

// beginStop folds the beginning of a preStop hook or of a signal of the planner's.
func (f *fold) beginStop(c *ContainerStatus, a *Action) {
	if a.isPostStart() {
		return
	}
	f.beginEnd(a.Stop)
	if c.stop.reason == 0 {
		c.stop.reason, c.stop.at = a.Stop, f.at
	}
	switch {
	case a.Op == OpHook:
		c.stop.hook = f.at
	case c.stop.term.IsZero():
		c.stop.term = f.at
	default:
		c.stop.kill = f.at
	}
}

func (f *fold) ended(e Event) error {
	i := slices.IndexFunc(f.s.flight, func(b *Action) bool { return sameAction(&e.Action, b) })
	if i < 0 {
		return errors.New("it is not in flight")
	}
	a := f.s.flight[i]
	f.s.flight = slices.Delete(slices.Clone(f.s.flight), i, i+1)
	if len(f.s.flight) == 0 {
		f.s.flight = nil
	}
	switch a.Op {
	case OpUp:
		f.s.up = f.at
	case OpUpdate:
		f.update(a.Spec)
	case OpDelete:
		f.s.deletes = append(slices.Clip(f.s.deletes), deletion{at: f.at, grace: a.Grace})
		f.s.sync.drop(f.at)
		f.endReset()
	case OpSetUp:
		f.endSetUp(e)
	case OpTearDown:
		f.s.end.down = f.at
	case OpPrepare, OpSignal:
		// A hint and a request: only that they are over counts.
	default:
		f.endContainer(a, e)
	}
	return nil
}

func (f *fold) endSetUp(e Event) {
	f.s.setUp.failure, f.s.setUp.failed = nil, time.Time{}
	if e.Failure != nil {
		f.s.setUp.failure, f.s.setUp.failed = e.Failure, f.at
		return
	}
	f.s.setUp.done = f.at
	if e.Network != nil {
		f.s.setUp.network = *e.Network
	}
}

func (f *fold) endContainer(a *Action, e Event) {
	c := f.container(a.Container)
	current := c.State != 0 && c.Instance == a.Instance
	switch a.Op {
	case OpPull:
		f.endPull(c, e)
	case OpCreate:
		f.endCreate(c, a, e)
	case OpRemove:
		c.removed = e.Failure == nil
		f.failStart(c, OpRemove, e.Failure, syncRetry)
		if a.Stop == StopRestartAll && c.removed {
			f.takeAway(c, a.Waited)
		}
	case OpStart:
		f.endStart(c, e)
	case OpHook:
		if current {
			f.endHook(c, a, e)
		}
	case OpAwait:
		if current && c.State == StateRunning {
			f.exit(c, terminationOf(e))
		}
	case OpProbe:
		if current {
			c.probed[a.Probe].answer(a, e)
		}
	}
	f.s.sync.ended(a, e.Failure != nil)
}

// failStart notes that an attempt to start failed, if it did, and how long to wait before the next.
func (f *fold) failStart(c *ContainerStatus, op Op, failure *Failure, retry time.Duration) {
	if failure != nil {
		c.Failure, c.FailedOp, c.FailedAt, c.retryAt = failure, op, f.at, f.at.Add(retry)
	}
}

func (f *fold) endPull(c *ContainerStatus, e Event) {
	switch {
	case e.Failure == nil:
		if e.Image != nil {
			c.pulled = *e.Image
		}
	case pullBacksOff(e.Failure.Reason):
		c.pull.next(f.at, f.at, f.s.options().pull)
		f.failStart(c, OpPull, e.Failure, c.pull.delay)
	default:
		f.failStart(c, OpPull, e.Failure, syncRetry)
	}
}

func (f *fold) endCreate(c *ContainerStatus, a *Action, e Event) {
	if e.Failure != nil {
		f.failStart(c, OpCreate, e.Failure, syncRetry)
		return
	}
	fresh := ContainerStatus{Name: c.Name, Role: c.Role, Image: c.Image, ImageName: c.ImageName, Instance: a.Instance, State: StateCreated,
		key: c.key, turn: c.turn, pulled: c.pulled, made: c.turn,
		Last: c.lastEnd(), Started: c.Started, Ready: c.Ready, StartedSince: c.StartedSince, ReadySince: c.ReadySince,
		Failure: c.Failure, FailedOp: c.FailedOp, FailedAt: c.FailedAt, crash: c.crash, pull: c.pull, prepared: c.prepared, tried: c.tried}
	if e.Instance != nil {
		fresh.ContainerID = e.Instance.ContainerID
	}
	*c = fresh
}

func (f *fold) endStart(c *ContainerStatus, e Event) {
	if e.Failure != nil {
		// The runtime keeps the instance as one that has ended (ST-12), and crash back-off alone delays the next.
		if c.ImageName == "" || c.ImageName == c.made {
			c.Image, c.ImageName = c.pulled, c.made
		}
		f.failStart(c, OpStart, e.Failure, 0)
		f.exit(c, Termination{Exit: Exit{Code: startErrorCode, Message: e.Failure.Message}, Reason: "StartError"})
		return
	}
	c.State, c.StartedAt, c.Image, c.ImageName = StateRunning, f.at, c.pulled, c.made
	if e.Instance != nil {
		c.PID = e.Instance.PID
		if e.Instance.ContainerID != "" {
			c.ContainerID = e.Instance.ContainerID
		}
	}
}

func (f *fold) endHook(c *ContainerStatus, a *Action, e Event) {
	switch {
	case a.Hook == HookPreStop:
		c.stop.hookEnd, c.stop.hookError = f.at, e.Failure != nil
	case e.Failure != nil:
		f.failStart(c, OpHook, &Failure{Reason: "PostStartHookError", Message: e.Failure.Message}, 0)
		if c.State == StateRunning && c.stop.reason == 0 {
			c.stop.reason, c.stop.at = StopPostStart, f.at
		}
	}
}

// exit ends a container's instance.
func (f *fold) exit(c *ContainerStatus, t Termination) {
	t.ContainerID, t.StartedAt, t.FinishedAt = c.ContainerID, c.StartedAt, f.at
	if t.FinishedAt.Before(t.StartedAt) { // it had ended when its start was told
		t.FinishedAt = t.StartedAt
	}
	c.State, c.Exit, c.PID = StateExited, &t, 0
	if c.held = 0; !c.crashUntil().IsZero() {
		c.held = c.crash.delay
	}
}

// Exit codes that no process gave.
const (
	startErrorCode = 128 // containerd's, for a container that could not be started
	unknownCode    = 137 // the kubelet's, for a container whose end nobody saw
)

func terminationOf(e Event) Termination {
	if e.Exit == nil {
		t := Termination{Exit: Exit{Code: unknownCode}, Reason: "ContainerStatusUnknown"}
		if e.Failure != nil {
			t.Message = e.Failure.Message
		}
		return t
	}
	t := Termination{Exit: *e.Exit, Reason: "Completed"}
	switch {
	case e.Exit.OOMKilled:
		t.Reason = "OOMKilled" // PH-17
	case e.Exit.Code != 0:
		t.Reason = "Error"
	}
	return t
}

// answer folds one attempt of a probe (PB-17).
func (p *ProbeStatus) answer(a *Action, e Event) {
	if e.Probe == nil || e.Probe.Result == Unknown || p.onHold {
		return // thrown away (PB-20)
	}
	r := e.Probe.Result
	if p.Last == r {
		p.Run++
	} else {
		p.Last, p.Run = r, 1
	}
	p.At, p.Output = e.Time, e.Probe.Output
	if r == Failed && p.Run < a.Failures || r == Success && p.Run < a.Successes {
		return
	}
	p.Result = r
	p.onHold = a.Probe == ProbeStartup || a.Probe == ProbeLiveness && r == Failed
}

// settle draws the consequences of an event: whose turn it is now, and which containers are started and ready.
func (f *fold) settle() {
	f.s.advance(f.at)
	changed := f.s.end.reason == StopDeadline
	for _, c := range f.s.containers {
		over := !f.s.sync.active || f.s.sync.number != c.synced
		settled := c.State == StateRunning && over
		started := settled && (!c.has[ProbeStartup] || c.probed[ProbeStartup].Result == Success)
		ready := started && c.Role != RoleInit && c.Role != RoleEphemeral && (!c.has[ProbeReadiness] || c.probed[ProbeReadiness].Result == Success)
		ready = ready || c.Role == RoleInit && c.exitedZero()
		if settled == c.settled.IsZero() || started != c.Started || ready != c.Ready {
			f.change(c.Name, settled, started, ready)
			changed = true
		}
	}
	if changed {
		f.settlePod()
	}
}

// settlePod notes when initialisation was complete, and since when all sidecars and mains have been ready or not.
func (f *fold) settlePod() {
	inits, members := 0, 0
	for _, c := range f.s.containers {
		if c.Role == RoleInit && c.Ready || c.Role == RoleSidecar && c.Started {
			inits++
		}
		if c.Ready && (c.Role == RoleSidecar || c.Role == RoleMain) {
			members++
		}
	}
	if f.s.progress == nil {
		return
	}
	p := *f.s.progress
	all := p.members.Inits + p.members.Sidecars
	initialized := p.initialized.IsZero() && all > 0 && inits == all
	// A pod whose time is over has failed, while its containers are still ready (TM-29).
	ready := members == p.members.Sidecars+p.members.Mains && f.s.end.reason != StopDeadline
	if !initialized && ready == p.ready {
		return
	}
	next := p
	if initialized {
		next.initialized = f.at
	}
	if ready != p.ready {
		next.ready = ready
		if f.at.After(p.since) { // an end may be told after what came later
			next.since = f.at
		}
	}
	f.s.progress = &next
}

func (f *fold) change(name string, settled, started, ready bool) {
	c := f.container(name)
	switch {
	case !settled:
		c.settled = time.Time{}
	case c.settled.IsZero():
		c.settled = f.at
		c.Failure, c.FailedOp, c.FailedAt, c.retryAt = nil, 0, time.Time{}, time.Time{}
	}
	if started != c.Started {
		c.Started, c.StartedSince = started, f.at
	}
	if ready != c.Ready {
		c.Ready, c.ReadySince = ready, f.at
	}
}
