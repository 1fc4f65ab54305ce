package pod

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// waitForTurns says of every container that has still to be started what holds it back. w is what the worker is
// busy with, nil if nothing.
func (n *planner) waitForTurns(w *Action) {
	for spec := range allContainersOf(n.p) {
		c := n.s.seen(spec.Name)
		s := &n.s.sync
		if s.active && s.turn == spec.Name || !n.toStart(spec, c) {
			continue
		}
		switch gate := n.gate(spec); {
		case c.heldUntil(n.now).After(n.now):
			n.wait(spec.Name, "%s", held(n.p, c, n.now))
		case gate != "":
			n.wait(spec.Name, "waits for %s", gate)
		case w != nil:
			n.wait(spec.Name, "waits for %s: a pod's containers are started one at a time (ST-04)", w)
		case s.stopping || s.failed:
			n.wait(spec.Name, "waits until %s has stopped: a pod's containers are started one at a time (ST-04)", s.turn)
		case s.active:
			n.wait(spec.Name, "waits for the start of %s: a pod's containers are started one at a time (ST-04)", s.turn)
		}
	}
}

// toStart reports whether a container that does not run has still to be started.
func (n *planner) toStart(spec *corev1.Container, c *ContainerStatus) bool {
	switch {
	case c.Running():
		return false
	case c.State != StateExited:
		return true
	}
	switch RoleOf(n.p, spec.Name) {
	case RoleSidecar:
		return true
	case RoleEphemeral: // EC-01
		return false
	case RoleInit:
		return c.Exit.Code != 0 && n.s.restarts(n.p, spec, c.Exit.Code)
	default:
		return n.s.restarts(n.p, spec, c.Exit.Code)
	}
}

// held says why a container that may not be started yet may not.
func held(p *corev1.Pod, c *ContainerStatus, now time.Time) string {
	w := waitingFor(p, c, now)
	left := c.heldUntil(now).Sub(now)
	if w.Message == "" {
		return w.Reason + ": tried again in " + left.String()
	}
	return w.Reason + ": tried again in " + left.String() + ": " + w.Message
}

// gate names the init container that has to come further before a container may start, in words; empty if none has.
func (n *planner) gate(spec *corev1.Container) string {
	if RoleOf(n.p, spec.Name) == RoleEphemeral { // EC-03
		return ""
	}
	inits := n.p.Spec.InitContainers
	last := initIndex(n.p, spec.Name)
	if last < 0 {
		last = len(inits)
		if n.mainTried() { // SC-17: initialisation was complete before, and the last one alone gates again
			if mainExists(n.p, n.s) || last == 0 {
				return ""
			}
			inits = inits[last-1:]
			last = 1
		}
	} else if n.s.seen(spec.Name).State != 0 {
		return ""
	}
	i := slices.IndexFunc(inits[:last], func(c corev1.Container) bool { return !complete(&c, n.s.seen(c.Name)) })
	if i < 0 {
		return ""
	}
	return n.incomplete(&inits[i])
}

// incomplete says what an init container still has to do.
func (n *planner) incomplete(spec *corev1.Container) string {
	c := n.s.seen(spec.Name)
	if initRole(spec) == RoleSidecar {
		switch {
		case c.Running():
			return "sidecar " + spec.Name + ": its startup probe has not succeeded (SC-02)"
		case c.State == StateExited:
			return "sidecar " + spec.Name + " to be started again (SC-02)"
		}
		return "sidecar " + spec.Name + " to be started (SC-02)"
	}
	if c.State == 0 || c.State == StateCreated {
		return "init container " + spec.Name + " to be started (IN-01)"
	}
	return "init container " + spec.Name + " to exit with code 0 (IN-01)"
}

// mainTried reports whether any main container's turn has ever come, which proves that the pod was initialised.
func (n *planner) mainTried() bool { return mainTried(n.p, n.s) }

func mainTried(p *corev1.Pod, s *Status) bool {
	return slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return s.seen(c.Name).tried })
}
