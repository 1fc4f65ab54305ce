package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A reset is how far the restart of all containers has come, where a rule asks for it (RA-01). It is a sync of its own:
// each container in turn is killed, if it runs, and taken away; the next sync then begins at the pod's beginning, in
// the network and with the volumes that it has (RA-04, RA-07).
//
//	exit ─► sync n: TERM ─► (KILL) ─► remove, one container after the other ─► sync n+1: init containers, mains
//	                └───────── AllContainersRestarting ───────────────────┘
type reset struct {
	active bool
	since  time.Time // when it began
	over   time.Time // when every container was gone; zero before
	sync   int       // the number of its newest sync
}

// resetting is the pod's newest reset; the zero one if there was none.
func (s *Status) resetting() reset {
	if s.reset == nil {
		return reset{}
	}
	return *s.reset
}

// What the kubelet says of containers that were taken away.
const (
	restartingAll        = "RestartingAllContainers"
	restartingAllMessage = "The container is removed because RestartAllContainers in place"
)

// resetsAll reports whether a container has ended so that all are to be restarted (RA-01).
func (s *Status) resetsAll(c *corev1.Container) bool {
	if len(c.RestartPolicyRules) == 0 || !s.on(GateRestartAllContainers) {
		return false
	}
	st := s.seen(c.Name)
	if st.State != StateExited || st.stop.reason == StopRestartAll {
		return false
	}
	rule := matchingRule(c, int32(st.Exit.Code))
	return rule != nil && rule.Action == corev1.ContainerRestartRuleActionRestartAllContainers
}

// resets names the containers to take away, in order; none if nothing asks for it. Those that asked for it come last,
// so that the reason is there until all is done (RA-02).
func (s *Status) resets(p *corev1.Pod) []string {
	if !s.resetting().active && !s.anyResets(p.Spec.Containers) && !s.anyResets(p.Spec.InitContainers) {
		return nil
	}
	var targets, sources []string
	for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			switch c := &list[i]; {
			case s.resetsAll(c):
				sources = append(sources, c.Name)
			case s.seen(c.Name).State != 0:
				targets = append(targets, c.Name)
			}
		}
	}
	return append(targets, sources...)
}

func (s *Status) anyResets(list []corev1.Container) bool {
	for i := range list {
		if s.resetsAll(&list[i]) {
			return true
		}
	}
	return false
}

// resetOne plans the next step of taking a container away. It is given no grace, and so no preStop hook (RA-03).
func (n *planner) resetOne(spec *corev1.Container, c *ContainerStatus) {
	if n.stop(spec, c, n.stopOne(spec, c)) {
		return
	}
	n.do(Action{Op: OpRemove, Container: spec.Name, Instance: c.Instance, Stop: StopRestartAll, Waited: n.waited(spec, c),
		Sync: n.s.sync.number, ThenStop: n.s.sync.thenStop}, "a container asked that all be restarted (RA-01)")
}

// waited reports whether a container that is taken away is reported as waiting to be started. One that has just asked
// for the reset is not: nobody has tried to start it again.
func (n *planner) waited(spec *corev1.Container, c *ContainerStatus) bool {
	switch {
	case c.State == StateCreated, c.Failure != nil && c.FailedOp != OpRemove:
		return true
	}
	return !n.s.resetsAll(spec) && c.stop.reason != StopRestartAll && c.crashUntil().After(n.now) && n.toStart(spec, c)
}

// beginReset folds the beginning of a step of a reset.
func (f *fold) beginReset(a *Action) {
	r := f.s.resetting()
	if !r.active {
		r = reset{active: true, since: f.at}
	}
	r.sync = a.Sync
	f.s.reset = &r
}

// endReset ends the reset, if there is one.
func (f *fold) endReset() {
	if r := f.s.resetting(); r.active {
		r.active, r.over = false, f.at
		f.s.reset = &r
	}
}

// takeAway folds that a container is gone, for a reset. What it is known by stays: its number, and its back-off.
func (f *fold) takeAway(c *ContainerStatus, waited bool) {
	fresh := ContainerStatus{Name: c.Name, Role: c.Role, Image: c.Image, ImageName: c.ImageName, Instance: c.Instance, reset: true, key: c.key,
		Last: c.lastEnd(), Started: c.Started, Ready: c.Ready, StartedSince: c.StartedSince, ReadySince: c.ReadySince,
		crash: c.crash, pull: c.pull, prepared: c.prepared}
	if !waited { // RA-06; one that waited counts when it is started
		fresh.counted, fresh.Last = true, restartingAllEnd()
	}
	*c = fresh
	for _, other := range f.s.containers {
		if other.State != 0 && other.Role != RoleEphemeral {
			return
		}
	}
	f.endReset()
}

func restartingAllEnd() *Termination {
	return &Termination{Exit: Exit{Code: unknownCode, Message: restartingAllMessage}, Reason: restartingAll}
}

// resetShown reports whether a container is reported as one that a reset has taken away, or is about to: until the sync
// after it is over.
func (s *Status) resetShown(c *ContainerStatus) bool {
	switch {
	case c.State == StateExited:
		return c.stop.reason == StopRestartAll && !s.Ending()
	case c.State != 0 || !c.counted:
		return false
	}
	n := s.resetting().sync
	return s.sync.number <= n || s.sync.number == n+1 && s.sync.active
}

// couldReset reports whether a pod has a rule that asks for a reset, and so the condition that tells of one.
func couldReset(p *corev1.Pod) bool {
	for c := range containersOf(p) {
		for i := range c.RestartPolicyRules {
			if c.RestartPolicyRules[i].Action == corev1.ContainerRestartRuleActionRestartAllContainers {
				return true
			}
		}
	}
	return false
}

// restarting is the condition that a reset is under way (RA-05).
func (r *report) restarting(st *corev1.PodStatus) corev1.PodCondition {
	newest := r.s.resetting()
	since := newest.over
	if since.IsZero() {
		since = r.s.up
	}
	switch {
	case st.Phase == corev1.PodSucceeded:
		return condition(corev1.AllContainersRestarting, false, since, "PodCompleted", "")
	case st.Phase == corev1.PodFailed:
		return condition(corev1.AllContainersRestarting, false, since, "PodFailed", "")
	case newest.active:
		return condition(corev1.AllContainersRestarting, true, newest.since, "RestartAllContainersStarted", "container exited with restart policy rule")
	}
	return condition(corev1.AllContainersRestarting, false, since, "", "")
}
