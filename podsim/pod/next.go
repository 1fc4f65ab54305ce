package pod

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Next says what to do now. Equal arguments give equal plans, and what has begun is not asked for again.
//
// What it asks for is the kubelet's: set up the pod; one sync after the other, each a list made at one look at the
// pod and then walked container by container (sync.go); the pod's end (termination.go); and beside all that a wait
// for each running container's end, and its probes (probe.go). A delete cuts a sync short: what is in flight ends,
// but nothing more is started. A postStart hook that hangs does not hold up a delete (the kubelet's would).
func Next(p *corev1.Pod, s Status, now time.Time) Plan {
	if s.Gone() {
		return Plan{Done: true}
	}
	if !s.Up() {
		return Plan{}
	}
	n := planner{p: p, s: &s, now: now}
	n.awaits()
	switch {
	case s.Deleting() || s.end.reason != 0:
		n.end()
	case n.deadlinePassed() && s.flying((*Action).makes) == nil && s.working() == nil && !finished(p, &s):
		n.endBy(StopDeadline)
	case s.setUp.done.IsZero():
		n.setUp()
	default:
		n.work()
	}
	n.probes()
	return n.plan
}

// A planner makes one plan. It lives for one call of Next.
type planner struct {
	p    *corev1.Pod
	s    *Status
	now  time.Time
	plan Plan
}

// do adds an action for a container to the plan.
func (n *planner) do(a Action, why string, args ...any) {
	a.Pod, a.Why = n.p.Name, fmt.Sprintf(why, args...)
	n.plan.Actions = append(n.plan.Actions, a)
}

// wakeAt asks for another look at t.
func (n *planner) wakeAt(t time.Time) {
	if t.After(n.now) && (n.plan.Wake.IsZero() || t.Before(n.plan.Wake)) {
		n.plan.Wake = t
	}
}

// wait says what holds a container back.
func (n *planner) wait(container, format string, args ...any) {
	n.plan.Waiting = append(n.plan.Waiting, Wait{Pod: n.p.Name, Container: container, For: fmt.Sprintf(format, args...)})
}

// awaits has the end of every running container waited for, from its start on.
func (n *planner) awaits() {
	for _, c := range n.s.containers {
		if c.Running() && !c.awaited {
			n.do(Action{Op: OpAwait, Container: c.Name, Instance: c.Instance}, "it was started")
		}
	}
}

// setUp makes the pod's network and volumes (ST-01..03), and on the first attempt has containers created ahead.
func (n *planner) setUp() {
	su := &n.s.setUp
	switch {
	case n.s.flying(func(a *Action) bool { return a.Op == OpSetUp }) != nil:
		n.waitAll("its network and volumes are being set up")
	case !su.begun:
		n.do(Action{Op: OpSetUp, Members: membersOf(n.p)}, "the pod was asked for")
		n.prepare()
		n.waitAll("its network and volumes are being set up")
	case n.now.Before(su.failed.Add(syncRetry)):
		n.wakeAt(su.failed.Add(syncRetry))
		n.waitAll("the pod's set-up failed and is tried again %s later (BO-11): %s: %s", syncRetry, su.failure.Reason, su.failure.Message)
	default:
		n.do(Action{Op: OpSetUp, Members: membersOf(n.p)}, "it is tried again, %s after it failed: %s", syncRetry, su.failure.Reason)
		n.waitAll("its network and volumes are being set up")
	}
}

func (n *planner) waitAll(format string, args ...any) {
	for c := range containersOf(n.p) {
		n.wait(c.Name, format, args...)
	}
}

// prepare has the containers created ahead of their turn that cannot tell.
func (n *planner) prepare() {
	for c := range containersOf(n.p) {
		if n.s.seen(c.Name).prepared || !preparable(n.p, c) {
			continue
		}
		n.do(Action{Op: OpPrepare, Container: c.Name, Image: c.Image}, "nothing that runs before it can change how it is created")
	}
}

// preparable reports whether a container's creation cannot depend on what earlier containers do, nor on when its
// image is pulled.
func preparable(p *corev1.Pod, c *corev1.Container) bool {
	if p.Spec.ShareProcessNamespace != nil && *p.Spec.ShareProcessNamespace {
		return false
	}
	if PullPolicy(c.Image, c.ImagePullPolicy) == corev1.PullAlways {
		return false
	}
	images := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		images[v.Name] = v.Image != nil
	}
	for _, m := range c.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" || images[m.Name] {
			return false
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FileKeyRef != nil {
			return false
		}
	}
	return true
}

// work goes on with the sync under way, or begins the next one if there is something to do.
func (n *planner) work() {
	if w := n.s.working(); w != nil {
		n.waitForTurns(w)
		return
	}
	if n.s.sync.active {
		n.turn()
		return
	}
	if n.unseen() {
		return
	}
	l := look(n.p, n.s)
	if l.end {
		n.endBy(StopEnd)
		return
	}
	if len(l.starts) > 0 && n.pauses() {
		return
	}
	n.begin(l)
}

// pauses reports whether a container was started so lately that a kubelet which pauses has not come to the next yet, and
// then has the planner woken when it will have (ST-14).
func (n *planner) pauses() (pauses bool) {
	pause := n.s.options().Pause
	if pause <= 0 {
		return false
	}
	for _, c := range n.s.containers {
		if at := c.StartedAt.Add(pause); c.State == StateRunning && n.now.Before(at) {
			n.wakeAt(at)
			n.wait(c.Name, "it has just been started; the kubelet comes to the next one at %s (ST-14)", clock(at))
			pauses = true
		}
	}
	return pauses
}

// unseen reports whether a container has ended that a kubelet which polls has not seen yet, and then has the planner
// woken when it will have: at its next look, of which the end of a sync is one (ST-14).
func (n *planner) unseen() (unseen bool) {
	poll := n.s.options().Poll
	if poll <= 0 {
		return false
	}
	for _, c := range n.s.containers {
		if c.State != StateExited || !c.Exit.FinishedAt.After(n.s.sync.over) {
			continue
		}
		at := n.s.up.Add((c.Exit.FinishedAt.Sub(n.s.up) + poll - 1).Truncate(poll))
		if n.now.Before(at) {
			n.wakeAt(at)
			n.wait(c.Name, "the kubelet looks again at %s, and has not seen yet that it has ended (ST-14)", clock(at))
			unseen = true
		}
	}
	return unseen
}

// begin begins a sync with what a look at the pod found to be done.
func (n *planner) begin(l findings) {
	starts := l.starts[:0:0]
	for _, name := range l.starts {
		if c := n.s.seen(name); !c.Running() && c.heldUntil(n.now).After(n.now) {
			n.wakeAt(c.heldUntil(n.now))
			continue
		}
		starts = append(starts, name)
	}
	if n.resetHeld(l.resets) {
		return
	}
	next := pass{number: n.s.sync.number + 1, active: true, over: n.s.sync.over}
	switch {
	case len(l.resets) > 0:
		next.turn, next.stopping, next.reset, next.thenStop = l.resets[0], true, true, l.resets[1:]
	case len(l.stops) > 0:
		next.turn, next.stopping, next.thenStop, next.then = l.stops[0], true, l.stops[1:], starts
	case len(starts) > 0:
		next.turn, next.then = starts[0], starts[1:]
	default:
		n.waitForTurns(nil)
		return
	}
	s := *n.s
	s.sync, n.s = next, &s
	n.turn()
}

// resetHeld reports whether a reset has to wait, because a container could not be taken away and is tried again later.
func (n *planner) resetHeld(names []string) (held bool) {
	for _, name := range names {
		if c := n.s.seen(name); c.retryAt.After(n.now) {
			n.wakeAt(c.retryAt)
			n.wait(name, "it could not be taken away, which is tried again in %s (BO-11)", c.retryAt.Sub(n.now))
			held = true
		}
	}
	return held
}

// turn plans the next step of the turn under way.
func (n *planner) turn() {
	s := &n.s.sync
	spec := containerOf(n.p, s.turn)
	c := n.s.seen(s.turn)
	if spec == nil {
		n.wait(s.turn, "the pod has no container of this name any more")
		return
	}
	switch {
	case s.reset:
		n.resetOne(spec, c)
	case s.stopping || s.failed:
		n.stop(spec, c, n.stopOne(spec, c))
	default:
		n.start(spec, c)
	}
	n.waitForTurns(nil)
}

// start plans the next step of a turn to start a container.
func (n *planner) start(spec *corev1.Container, c *ContainerStatus) {
	a := Action{Container: spec.Name, Sync: n.s.sync.number, Then: n.s.sync.then}
	switch stage := n.s.sync.stage; {
	case stage == 0:
		a.Op, a.Instance, a.Role, a.Image = OpPull, c.nextInstance(), RoleOf(n.p, spec.Name), spec.Image
		n.do(a, "%s", n.whyStart(spec, c))
	case stage == OpPull && n.preparing(spec.Name):
		n.wait(spec.Name, "waits until it has been prepared")
	case stage == OpPull && c.State == StateExited && !c.removed:
		a.Op, a.Instance = OpRemove, c.Instance
		n.do(a, "instance %d takes its place", c.Instance+1)
	case stage == OpPull || stage == OpRemove:
		a.Op, a.Instance, a.Image = OpCreate, c.nextInstance(), c.turn
		n.do(a, "its image is present")
	case stage == OpCreate:
		a.Op, a.Instance, a.Image, a.Role, a.Probes = OpStart, c.Instance, c.made, RoleOf(n.p, spec.Name), probesOf(spec)
		if hasPostStart(spec) {
			a.Hook = HookPostStart
		}
		n.do(a, "it is created, and it is its turn")
	case stage == OpStart:
		a.Op, a.Instance, a.Hook = OpHook, c.Instance, HookPostStart
		if !c.Running() {
			// The kubelet runs the hook all the same, which then fails for want of a container.
			n.do(a, "it was started, and has ended since")
			return
		}
		n.do(a, "it was started")
	}
}

func (n *planner) preparing(container string) bool {
	return n.s.flying(func(a *Action) bool { return a.Op == OpPrepare && a.Container == container }) != nil
}

func (n *planner) whyStart(spec *corev1.Container, c *ContainerStatus) string {
	switch {
	case c.stop.reason == StopChange && c.State == StateExited:
		return "its image is " + spec.Image + " from now on (SC-16)"
	case c.Failure != nil && !c.retryAt.IsZero():
		return "tried again after " + c.Failure.Reason
	case c.State == StateExited && n.s.options().Pace == PaceOff:
		return fmt.Sprintf("it ended with code %d, and there is no back-off", c.Exit.Code)
	case c.State == StateExited && c.crash.delay == 0:
		return fmt.Sprintf("it ended with code %d, and a first restart is immediate (BO-01)", c.Exit.Code)
	case c.State == StateExited:
		return fmt.Sprintf("it ended with code %d, and its back-off is over (BO-01)", c.Exit.Code)
	}
	begin := "the pod is set up"
	if c.reset {
		begin = "all containers are restarted (RA-07)"
	}
	switch RoleOf(n.p, spec.Name) {
	case RoleEphemeral:
		return "it was added to the pod (EC-03)"
	case RoleMain:
		if len(n.p.Spec.InitContainers) == 0 {
			return begin
		}
		return "initialisation is complete (ST-08)"
	default:
		i := initIndex(n.p, spec.Name)
		if i == 0 {
			return begin
		}
		before := &n.p.Spec.InitContainers[i-1]
		if initRole(before) == RoleSidecar {
			return "sidecar " + before.Name + " is started (SC-02)"
		}
		return "init container " + before.Name + " has exited with code 0 (IN-01)"
	}
}

func hasPostStart(c *corev1.Container) bool {
	return c.Lifecycle != nil && c.Lifecycle.PostStart != nil
}
func hasPreStop(c *corev1.Container) bool { return c.Lifecycle != nil && c.Lifecycle.PreStop != nil }
