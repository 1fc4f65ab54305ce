package pod

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A watcher sees every status of a pod that a watch could show, and holds each to the one before: a status never goes
// back on itself.
type watcher struct {
	p    *corev1.Pod
	s    Status
	last corev1.PodStatus
	// ran holds the images that an instance of each container has run, by container and image.
	ran map[string]bool
}

// see compares a status with the one before, and says what is wrong with it; nothing if it is empty.
func (w *watcher) see(p *corev1.Pod, s Status, now time.Time) string {
	st := s.PodStatus(p, now)
	w.p, w.s = p, s
	if w.ran == nil {
		w.ran = map[string]bool{}
	}
	for _, what := range []string{w.phase(st), w.containers(st), w.conditions(st), ordered(st)} {
		if what != "" {
			return what
		}
	}
	w.last = st
	return ""
}

func (w *watcher) phase(st corev1.PodStatus) string {
	was := w.last.Phase
	switch {
	case (was == corev1.PodSucceeded || was == corev1.PodFailed) && st.Phase != was:
		return fmt.Sprintf("the phase went from %s to %s (PH-07)", was, st.Phase)
	case was == corev1.PodRunning && st.Phase == corev1.PodPending && !couldReset(w.p):
		return "the phase went from Running to Pending, and nothing restarts all containers"
	case w.last.PodIP != "" && st.PodIP != w.last.PodIP:
		return fmt.Sprintf("the address went from %s to %q (PH-16)", w.last.PodIP, st.PodIP)
	}
	return ""
}

func (w *watcher) containers(st corev1.PodStatus) string {
	all := func(st corev1.PodStatus) []corev1.ContainerStatus {
		return slices.Concat(st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses)
	}
	before := all(w.last)
	for _, c := range all(st) {
		if c.State.Running != nil {
			w.ran[c.Name+" "+c.Image] = true
		}
		i := slices.IndexFunc(before, func(b corev1.ContainerStatus) bool { return b.Name == c.Name })
		if i < 0 {
			continue
		}
		if what := w.container(before[i], c); what != "" {
			return c.Name + ": " + what
		}
	}
	return ""
}

// container compares a container's status with the one before.
func (w *watcher) container(was, is corev1.ContainerStatus) string {
	over := was.State.Terminated
	switch {
	case is.RestartCount < was.RestartCount:
		return fmt.Sprintf("its restartCount fell from %d to %d (PH-15)", was.RestartCount, is.RestartCount)
	case over != nil && is.State.Terminated == nil && !couldReset(w.p) && !w.restartable(is.Name, over.ExitCode):
		return fmt.Sprintf("it had terminated with code %d, its policy does not restart it, and it is shown as %+v", over.ExitCode, is.State)
	case over != nil && is.State.Terminated != nil && is.RestartCount == was.RestartCount && *is.State.Terminated != *over:
		return fmt.Sprintf("its end went from %+v to %+v", over, is.State.Terminated)
	case inBackOff(was) && over == nil && is.State.Terminated != nil && is.RestartCount == was.RestartCount && !w.s.Ending() && !couldReset(w.p):
		return "it was in back-off, and is shown as terminated again (BO-04)"
	case was.LastTerminationState.Terminated != nil && is.LastTerminationState.Terminated == nil && is.State.Terminated == nil:
		return "its last end was forgotten (PH-13)"
	case was.Image != is.Image && is.State.Running == nil && w.ran[is.Name+" "+was.Image]:
		return fmt.Sprintf("its image went from %s to %s before an instance of that ran", was.Image, is.Image)
	case was.State.Running != nil && is.State.Running != nil && was.RestartCount == is.RestartCount && was.State.Running.StartedAt != is.State.Running.StartedAt:
		return "its start changed without a restart"
	case is.Ready && is.State.Running == nil && RoleOf(w.p, is.Name) != RoleInit, is.Started != nil && *is.Started && is.State.Running == nil:
		return "it is ready or started, and does not run (PB-23)"
	}
	return ""
}

func inBackOff(c corev1.ContainerStatus) bool {
	return c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff"
}

// restartable reports whether anything may start a container again that has ended with code.
func (w *watcher) restartable(name string, code int32) bool {
	switch RoleOf(w.p, name) {
	case RoleSidecar:
		return true
	case RoleEphemeral:
		return false
	case RoleInit:
		return code != 0 && w.s.restarts(w.p, containerOf(w.p, name), int(code))
	}
	return w.s.restarts(w.p, containerOf(w.p, name), int(code))
}

func (w *watcher) conditions(st corev1.PodStatus) string {
	for _, c := range st.Conditions {
		i := slices.IndexFunc(w.last.Conditions, func(b corev1.PodCondition) bool { return b.Type == c.Type })
		if i < 0 {
			continue
		}
		was := w.last.Conditions[i]
		switch {
		case c.LastTransitionTime.Time.Before(was.LastTransitionTime.Time):
			return fmt.Sprintf("the time of condition %s went back from %s to %s", c.Type, was.LastTransitionTime, c.LastTransitionTime)
		case c.Status == was.Status && !c.LastTransitionTime.Equal(&was.LastTransitionTime):
			return fmt.Sprintf("the time of condition %s changed from %s to %s, and it is still %s", c.Type, was.LastTransitionTime, c.LastTransitionTime, c.Status)
		case c.Status == corev1.ConditionFalse && was.Status == corev1.ConditionTrue &&
			(c.Type == corev1.PodInitialized || c.Type == corev1.PodScheduled):
			return fmt.Sprintf("condition %s was true and is false (PH-08)", c.Type)
		}
	}
	return ""
}

// ordered checks that no condition is true before those that it needs, nor since before them (PH-12).
func ordered(st corev1.PodStatus) string {
	at := func(t corev1.PodConditionType) (bool, time.Time) {
		for _, c := range st.Conditions {
			if c.Type == t {
				return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
			}
		}
		return false, time.Time{}
	}
	order := []corev1.PodConditionType{corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady}
	if len(st.InitContainerStatuses) == 0 { // it is initialised from the beginning
		order = slices.Delete(order, 2, 3)
	}
	for i := range order[1:] {
		before, t0 := at(order[i])
		after, t1 := at(order[i+1])
		torn := order[i] == corev1.PodReadyToStartContainers && (st.Phase == corev1.PodSucceeded || st.Phase == corev1.PodFailed)
		switch {
		case after && !before && !torn:
			return fmt.Sprintf("condition %s is true, and %s is not (PH-12)", order[i+1], order[i])
		case after && before && t1.Before(t0):
			return fmt.Sprintf("condition %s is true since %s, and %s only since %s (PH-12)", order[i+1], t1, order[i], t0)
		}
	}
	return ""
}
