package pod

import (
	corev1 "k8s.io/api/core/v1"
)

// A tally counts a pod's containers by what they say about its phase.
type tally struct {
	pendingInit    int // regular init containers that have still to end
	failedForGood  int // regular init containers that failed and are not run again
	pendingSidecar int // sidecars that were never started, or are not Started
	running        int // sidecars and mains that run
	waiting        int // sidecars and mains that have never run
	stopped        int // mains that have ended
	finished       int // of these, those that are not run again
	succeeded      int // of these, those that ended with code 0
}

// phase is what the pod's phase comes to, from the reported states of its containers (PH-01..06). Succeeded and Failed are final
// because no container is started any more once they are reached (PH-07).
func (r *report) phase(st *corev1.PodStatus) corev1.PodPhase {
	t := r.tally(st)
	switch {
	case t.failedForGood > 0: // PH-06
		return corev1.PodFailed
	case t.pending(r):
		return corev1.PodPending
	case t.running > 0: // PH-03
		return corev1.PodRunning
	case t.stopped > 0 && (t.stopped != t.finished && !r.s.Ending() || r.s.starting()): // RP-10
		return corev1.PodRunning
	case t.stopped > 0 && t.stopped == t.succeeded: // PH-04, TM-31
		return corev1.PodSucceeded
	case t.stopped > 0: // PH-05, TM-20
		return corev1.PodFailed
	}
	return corev1.PodPending
}

// hold keeps a final phase back until nothing of the pod can run any more: its containers have ended, and it was torn
// down. The conditions are already those of the final one (TM-18; mergePodStatus in kubelet/status/status_manager.go).
func (r *report) hold(st *corev1.PodStatus) {
	if r.s.Gone() || st.Phase != corev1.PodSucceeded && st.Phase != corev1.PodFailed {
		return
	}
	st.Reason, st.Message = "", ""
	st.Phase = corev1.PodRunning
	if t := r.tally(st); t.failedForGood > 0 || t.pending(r) {
		st.Phase = corev1.PodPending
	}
}

// pending reports whether there is something that has still to run for the first time (PH-01, PH-02).
func (t *tally) pending(r *report) bool {
	return t.pendingInit > 0 || t.pendingSidecar > 0 && !mainExisted(r.p, r.s) || t.waiting > 0
}

// starting reports whether a container may still come to run without a new look at the pod: then nothing is final.
func (s *Status) starting() bool {
	return s.sync.active || s.resetting().active || s.flying(func(a *Action) bool { return a.Op == OpStart }) != nil
}

func (r *report) tally(st *corev1.PodStatus) (t tally) {
	for i := range st.InitContainerStatuses {
		c, spec := &st.InitContainerStatuses[i], &r.p.Spec.InitContainers[i]
		if initRole(spec) == RoleSidecar {
			t.sidecar(c)
		} else {
			t.init(r, spec, c)
		}
	}
	for i := range st.ContainerStatuses {
		t.main(r, &r.p.Spec.Containers[i], &st.ContainerStatuses[i])
	}
	return t
}

func (t *tally) init(r *report, spec *corev1.Container, c *corev1.ContainerStatus) {
	last := lastEnd(c)
	switch {
	case c.State.Running != nil || last == nil:
		t.pendingInit++
	case last.ExitCode != 0 && last.Reason != restartingAll && !r.s.restarts(r.p, spec, int(last.ExitCode)):
		t.failedForGood++
	}
}

// sidecar counts a sidecar; one that has ended says nothing about the phase (TM-19).
func (t *tally) sidecar(c *corev1.ContainerStatus) {
	switch {
	case c.State.Running != nil:
		t.running++
		if !*c.Started {
			t.pendingSidecar++
		}
	case lastEnd(c) == nil:
		t.pendingSidecar++
		t.waiting++
	}
}

func (t *tally) main(r *report, spec *corev1.Container, c *corev1.ContainerStatus) {
	last := lastEnd(c)
	switch {
	case c.State.Running != nil:
		t.running++
	case last == nil:
		t.waiting++
	default:
		t.stopped++
		if last.Reason != restartingAll && !r.s.restarts(r.p, spec, int(last.ExitCode)) {
			t.finished++
		}
		if last.ExitCode == 0 {
			t.succeeded++
		}
	}
}

// lastEnd is how a container that does not run has last ended, nil if it never has.
func lastEnd(c *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if c.State.Terminated != nil {
		return c.State.Terminated
	}
	return c.LastTerminationState.Terminated
}

// mainExisted reports whether any main container was ever created, which proves that the pod was initialised.
func mainExisted(p *corev1.Pod, s *Status) bool {
	for i := range p.Spec.Containers {
		if s.seen(p.Spec.Containers[i].Name).State != 0 {
			return true
		}
	}
	return false
}
