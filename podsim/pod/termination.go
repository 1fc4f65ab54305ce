package pod

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// minStop is the shortest time between TERM and KILL, whatever is left of the grace period (TM-06).
const minStop = 2 * time.Second

// killPatience is how long after KILL a process may take to end before the plan says that it does not.
const killPatience = 10 * time.Second

// A stopping is the frame in which one container is stopped.
//
//	from        hook ends        its turn comes        KILL is due
//	 ├─ preStop ────┼─ others stop ────┼─ TERM ─────────────┤
//	 └── grace, spent in whole seconds ┴─ what is left of it ┘  never less than minStop
type stopping struct {
	reason StopReason
	from   time.Time
	grace  time.Duration
	// until bounds all of it but minStop, where a later delete has shortened the grace; zero: nothing has (TM-09).
	until time.Time
	// after names the containers that have to stop before it (TM-03).
	after []string
	// sync stamps the actions with the sync that they belong to; nil at the pod's end.
	sync *pass
}

// end stops what still runs, in order, and then takes the pod away (TM-01..07, TM-18, TM-24).
func (n *planner) end() {
	frame := n.podStop()
	running := false
	for c := range allContainersOf(n.p) {
		running = n.stop(c, n.s.seen(c.Name), n.stopWithPod(frame, c)) || running
	}
	if !n.strangers() && !running {
		n.tearDown(frame.reason)
	}
}

// endBy begins the pod's own end.
func (n *planner) endBy(r StopReason) {
	s := *n.s
	s.end = end{reason: r, at: n.now}
	n.s = &s
	n.end()
}

// strangers waits for containers that run and are not the pod's: nothing says how to stop them.
func (n *planner) strangers() (running bool) {
	for _, c := range n.s.containers {
		if c.Running() && containerOf(n.p, c.Name) == nil {
			n.wait(c.Name, "it runs, but the pod has no container of this name")
			running = true
		}
	}
	return running
}

// tearDown takes the pod away when nothing is being made any more.
func (n *planner) tearDown(r StopReason) {
	if a := n.s.flying((*Action).makes); a != nil {
		n.wait(a.Container, "the pod is torn down when %s has ended", a)
		return
	}
	if n.s.flying(func(a *Action) bool { return a.Op == OpTearDown }) == nil {
		n.do(Action{Op: OpTearDown, Stop: r}, "all its containers have stopped (TM-24)")
	}
}

// podStop is the frame in which the pod as a whole is stopped: whichever came first, its own end or its deletion,
// and what later deletes left of the time.
func (n *planner) podStop() stopping {
	f := stopping{grace: graceOf(n.p)}
	deletes := n.s.deletes
	if e := n.s.end; e.reason != 0 && (len(deletes) == 0 || e.at.Before(deletes[0].at)) {
		f.reason, f.from = e.reason, e.at
	} else {
		f.reason, f.from, f.grace = StopDelete, deletes[0].at, n.deleteGrace(deletes[0])
		deletes = deletes[1:]
	}
	grace := f.grace
	for _, d := range deletes {
		g := n.deleteGrace(d)
		if g >= grace {
			continue // a delete can only shorten
		}
		grace = g
		if until := d.at.Add(g); f.until.IsZero() || until.Before(f.until) {
			f.until = until
		}
	}
	return f
}

// deleteGrace is a delete's grace period: its own, else the pod's, and at least a second (TM-08, TM-09).
func (n *planner) deleteGrace(d deletion) time.Duration {
	g := graceOf(n.p)
	if d.grace != nil {
		g = wholeSeconds(*d.grace)
	}
	return max(g, time.Second)
}

// stopWithPod is the frame of one container when the pod is stopped.
func (n *planner) stopWithPod(f stopping, spec *corev1.Container) stopping {
	c := n.s.seen(spec.Name)
	if r := c.stop.reason; r != 0 && !r.Pod() {
		// It was being stopped by itself (TM-26). That goes on, but the pod's time bounds it.
		own := n.stopOne(spec, c)
		own.sync = nil
		own.until = f.from.Add(f.grace)
		if !f.until.IsZero() && f.until.Before(own.until) {
			own.until = f.until
		}
		return own
	}
	if c.StartedAt.After(f.from) {
		f.from = c.StartedAt // its start was in flight
	}
	f.after = n.stopsBefore(spec)
	return f
}

// stopsBefore names the containers that stop before a sidecar does: all mains, and the next sidecar (TM-03). Others
// wait for nobody (TM-02, TM-23).
func (n *planner) stopsBefore(spec *corev1.Container) (names []string) {
	i := initIndex(n.p, spec.Name)
	if i < 0 || initRole(spec) != RoleSidecar {
		return nil
	}
	for j := range n.p.Spec.Containers {
		names = append(names, n.p.Spec.Containers[j].Name)
	}
	for _, later := range n.p.Spec.InitContainers[i+1:] {
		if initRole(&later) == RoleSidecar {
			return append(names, later.Name)
		}
	}
	return names
}

// stopOne is the frame of a container that is stopped for its own sake, within a sync (TM-08, TM-26..28).
func (n *planner) stopOne(spec *corev1.Container, c *ContainerStatus) stopping {
	f := stopping{reason: c.stop.reason, from: c.stop.at, grace: graceOf(n.p), sync: &n.s.sync}
	if f.reason == 0 {
		f.reason, f.from = stopCause(spec, RoleOf(n.p, spec.Name), c), n.now
		if n.s.sync.reset {
			f.reason = StopRestartAll
		}
	}
	if f.reason == StopRestartAll {
		f.grace = 0
	}
	probe := map[StopReason]*corev1.Probe{StopStartup: spec.StartupProbe, StopLiveness: spec.LivenessProbe}[f.reason]
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		f.grace = wholeSeconds(*probe.TerminationGracePeriodSeconds)
	}
	return f
}

// stop plans the next step of stopping a container: its preStop hook, then, when its turn has come, TERM, then KILL.
// It reports whether the container still counts as running.
func (n *planner) stop(spec *corev1.Container, c *ContainerStatus, f stopping) (running bool) {
	switch {
	case n.hookHolds(c, f):
		n.wait(spec.Name, "its process has ended, but its preStop hook has not")
		return true
	case !c.Running():
		return false
	case !c.stop.term.IsZero():
		n.kill(spec, c, f)
		return true
	}
	if over, ended, left := n.preStop(spec, c, f); over && !n.waitForOthers(spec, f, ended, left) {
		n.term(spec, c, f)
	}
	return true
}

// waitForOthers reports whether it is not yet a container's turn to be sent TERM: others have to stop before it, and
// there is still something left of its grace period, which ended tells from when on (TM-03, TM-07).
func (n *planner) waitForOthers(spec *corev1.Container, f stopping, ended time.Time, left time.Duration) bool {
	turn := f.cut(ended.Add(left))
	if left <= 0 || !n.now.Before(turn) {
		return false
	}
	others := n.stillRunning(f)
	if len(others) == 0 {
		return false
	}
	n.wakeAt(turn)
	n.wait(spec.Name, "it is stopped after %s, or at %s at the latest (TM-03, TM-07)", strings.Join(others, ", "), clock(turn))
	return true
}

// term sends a container its stop signal.
func (n *planner) term(spec *corev1.Container, c *ContainerStatus, f stopping) {
	n.doStop(Action{Op: OpSignal, Container: spec.Name, Instance: c.Instance, Signal: n.s.stopSignal(spec, c)}, f, "%s", n.whyStop(spec, f))
}

// preStop runs a container's preStop hook, all of them at once and none of them twice (TM-04, TM-12). It reports
// whether the hook has had its time, when that ended, and what it left of the grace period (TM-05, TM-10).
func (n *planner) preStop(spec *corev1.Container, c *ContainerStatus, f stopping) (over bool, end time.Time, left time.Duration) {
	if !hasPreStop(spec) || f.grace <= 0 { // TM-11
		return true, f.from, f.grace
	}
	cut := f.cut(f.from.Add(f.grace))
	switch {
	case c.stop.hook.IsZero() && n.now.Before(cut):
		n.doStop(Action{Op: OpHook, Container: spec.Name, Instance: c.Instance, Hook: HookPreStop,
			Timeout: cut.Sub(n.now)}, f, "%s", n.whyStop(spec, f))
		return false, cut, 0
	case !c.stop.hook.IsZero() && c.stop.hookEnd.IsZero() && n.now.Before(cut):
		n.wakeAt(cut)
		n.wait(spec.Name, "it is sent %s when its preStop hook has ended, or at %s at the latest (TM-10)", n.s.stopSignal(spec, c), clock(cut))
		return false, cut, 0
	}
	end = cut
	if e := c.stop.hookEnd; !e.IsZero() && e.Before(cut) {
		end = e
	}
	return true, end, f.grace - end.Sub(f.from).Truncate(time.Second)
}

// kill sends KILL to a container that was sent TERM, when what was left of its grace has passed (TM-06, TM-14).
func (n *planner) kill(spec *corev1.Container, c *ContainerStatus, f stopping) {
	if k := c.stop.kill; !k.IsZero() {
		if n.now.Before(k.Add(killPatience)) {
			n.wakeAt(k.Add(killPatience))
			n.wait(spec.Name, "it was sent KILL, and its process has still to end")
		} else {
			n.wait(spec.Name, "its process has not ended %s after KILL; it is stuck in the kernel, or the runtime does not answer", killPatience)
		}
		return
	}
	due := killDue(spec, c, f)
	if n.now.Before(due) {
		n.wakeAt(due)
		n.wait(spec.Name, "it was sent %s, and is sent KILL at %s", n.s.stopSignal(spec, c), clock(due))
		return
	}
	kill := Action{Op: OpSignal, Container: spec.Name, Instance: c.Instance, Signal: "KILL"}
	if n.s.flying(func(a *Action) bool { return sameEffect(a, &kill) }) != nil {
		return // it was the image's own stop signal, and is still being delivered
	}
	n.doStop(kill, f,
		"it has not ended %s after %s", due.Sub(c.stop.term), n.s.stopSignal(spec, c))
}

// killDue is when a container that was sent TERM is sent KILL: after what hook and waiting, in whole seconds, have
// left of its grace, and not less than minStop after TERM (TM-05, TM-06).
func killDue(spec *corev1.Container, c *ContainerStatus, f stopping) time.Time {
	spent := time.Duration(0)
	waited := f.from
	if hasPreStop(spec) && !c.stop.hook.IsZero() {
		waited = c.stop.hookEnd
		if waited.IsZero() || waited.After(c.stop.term) {
			waited = c.stop.term // the hook was cut off
		}
		spent = waited.Sub(f.from).Truncate(time.Second)
	}
	if len(f.after) > 0 {
		spent += c.stop.term.Sub(waited).Truncate(time.Second)
	}
	due := c.stop.term.Add(max(f.grace-spent, minStop))
	if !f.until.IsZero() && f.until.Before(due) {
		due = f.until
		if least := c.stop.term.Add(minStop); due.Before(least) {
			due = least
		}
	}
	return due
}

// cut bounds a time by what a later delete has left (TM-09).
func (f stopping) cut(t time.Time) time.Time {
	if !f.until.IsZero() && f.until.Before(t) {
		return f.until
	}
	return t
}

// doStop adds a step of stopping a container to the plan.
func (n *planner) doStop(a Action, f stopping, why string, args ...any) {
	a.Stop = f.reason
	if f.sync != nil {
		a.Sync, a.ThenStop, a.Then = f.sync.number, f.sync.thenStop, f.sync.then
	}
	n.do(a, why, args...)
}

// stillRunning returns those of f.after whose stop is not complete: a container that has ended counts as stopped when
// its preStop hook has ended too (TM-32), one that never ran does at once (TM-22).
func (n *planner) stillRunning(f stopping) (running []string) {
	for _, name := range f.after {
		if c := n.s.seen(name); n.s.startsNow(name) || c.Running() || n.hookHolds(c, f) {
			running = append(running, name)
		}
	}
	return running
}

// hookHolds reports whether a container that has ended still counts as running, because its preStop hook runs on and
// has still time to.
func (n *planner) hookHolds(c *ContainerStatus, f stopping) bool {
	if c.Running() || !n.s.preStopping(c) {
		return false
	}
	hook := n.s.flying(func(a *Action) bool {
		return a.Op == OpHook && a.Hook == HookPreStop && a.Container == c.Name && a.Instance == c.Instance
	})
	if hook == nil {
		return false
	}
	cut := f.cut(c.stop.hook.Add(hook.Timeout))
	n.wakeAt(cut)
	return n.now.Before(cut)
}

// whyStop says in words why a container is stopped.
func (n *planner) whyStop(spec *corev1.Container, f stopping) string {
	switch f.reason {
	case StopDelete:
		return "the pod was deleted"
	case StopDeadline:
		return "the pod's activeDeadlineSeconds have passed (TM-29)"
	case StopStartup, StopLiveness:
		return "its " + f.reason.String() + " probe failed"
	case StopPostStart:
		return "its postStart hook failed (LH-02)"
	case StopChange:
		if RoleOf(n.p, spec.Name) == RoleSidecar {
			return "Init container " + spec.Name + " definition changed" // the kubelet's words
		}
		return "Container " + spec.Name + " definition changed, will be restarted"
	case StopRestartAll:
		return "a container asked that all be restarted (RA-01)"
	}
	if n.s.initFailed(n.p) {
		return "initialisation has failed (IN-02)"
	}
	if k := stopCause(spec, RoleMain, n.s.seen(spec.Name)); RoleOf(n.p, spec.Name) == RoleMain && (k == StopLiveness || k == StopStartup) {
		return "its " + k.String() + " probe failed" // it is not started again, and so the pod ends with it (RP-07)
	}
	return "no main container is left that runs or will run (TM-18)"
}

// stopSignal is the signal that asks a container to end: the container's own where its gate is on, else its image's,
// else TERM (SG-01, SG-02, TM-14).
func (s *Status) stopSignal(spec *corev1.Container, c *ContainerStatus) string {
	if l := spec.Lifecycle; l != nil && l.StopSignal != nil && s.on(GateContainerStopSignals) {
		return signalName(string(*l.StopSignal))
	}
	if sig := signalName(c.Image.StopSignal); sig != "" {
		return sig
	}
	return "TERM"
}

// signalName is a signal's name without SIG.
func signalName(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "SIG") }

// clock is a time of day for people.
func clock(t time.Time) string { return t.Format("15:04:05.000") }

// initFailed reports whether a regular init container has failed for good.
func (s *Status) initFailed(p *corev1.Pod) bool {
	for i := range p.Spec.InitContainers {
		spec := &p.Spec.InitContainers[i]
		c := s.seen(spec.Name)
		if initRole(spec) == RoleInit && c.State == StateExited && !c.exitedZero() && c.stop.reason != StopRestartAll && !s.restarts(p, spec, c.Exit.Code) {
			return true
		}
	}
	return false
}

// deadlinePassed reports whether the pod's activeDeadlineSeconds have passed (TM-29); if not, it has the planner
// woken then.
func (n *planner) deadlinePassed() bool {
	d := n.p.Spec.ActiveDeadlineSeconds
	if d == nil {
		return false
	}
	at := n.s.up.Add(wholeSeconds(*d))
	n.wakeAt(at)
	return !n.now.Before(at)
}
