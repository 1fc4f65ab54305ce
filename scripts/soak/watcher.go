package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/supervisor"
)

// A watcher sees every version of one pod, as a client of the API would, and holds each to the one before: nothing goes
// back on itself. It knows nothing of timelines.
type watcher struct {
	// resets says that a rule may restart all containers: then what is over may begin anew.
	resets  bool
	last    *corev1.Pod
	deleted bool
}

// see compares a version with the one before. The error says what has gone back.
func (w *watcher) see(e supervisor.Event) error {
	was, is := w.last, e.Pod
	w.last = is
	if was == nil {
		if e.Type != supervisor.Added {
			return fmt.Errorf("pod %s: its first version came as %s", is.Name, e.Type)
		}
		return nil
	}
	for _, what := range []string{w.object(was, e), w.phase(&was.Status, &is.Status), w.containers(was, is), conditions(&was.Status, &is.Status)} {
		if what != "" {
			return fmt.Errorf("pod %s: version %s goes back on version %s: %s (-was +is):\n%s", is.Name, is.ResourceVersion, was.ResourceVersion, what,
				cmp.Diff(&was.Status, &is.Status))
		}
	}
	w.deleted = e.Type == supervisor.Deleted
	return nil
}

func (w *watcher) object(was *corev1.Pod, e supervisor.Event) string {
	is := e.Pod
	before, _ := strconv.Atoi(was.ResourceVersion)
	now, err := strconv.Atoi(is.ResourceVersion)
	switch {
	case w.deleted:
		return "the pod had been deleted"
	case e.Type == supervisor.Added:
		return "it came as ADDED again"
	case err != nil || now <= before:
		return "its resourceVersion did not rise"
	case was.UID != is.UID:
		return "it is another pod"
	case was.DeletionTimestamp != nil && (is.DeletionTimestamp == nil || is.DeletionTimestamp.After(was.DeletionTimestamp.Time)):
		return fmt.Sprintf("its deletion went from %v to %v", was.DeletionTimestamp, is.DeletionTimestamp)
	case e.Type == supervisor.Deleted && !over(is.Status.Phase):
		return "it was deleted in phase " + string(is.Status.Phase)
	case e.Type == supervisor.Deleted && encoded(&was.Status) != encoded(&is.Status):
		return "DELETED has another status than the version before"
	}
	return ""
}

func over(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

func (w *watcher) phase(was, is *corev1.PodStatus) string {
	switch {
	case over(was.Phase) && is.Phase != was.Phase:
		return fmt.Sprintf("the phase went from %s to %s (PH-07)", was.Phase, is.Phase)
	case was.Phase == corev1.PodRunning && is.Phase == corev1.PodPending && !w.resets:
		return "the phase went from Running to Pending"
	case was.PodIP != "" && is.PodIP != was.PodIP:
		return fmt.Sprintf("the address went from %s to %q (PH-16)", was.PodIP, is.PodIP)
	case was.StartTime != nil && !was.StartTime.Equal(is.StartTime):
		return "the start time changed"
	}
	return ""
}

func all(st *corev1.PodStatus) []corev1.ContainerStatus {
	return slices.Concat(st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses)
}

func (w *watcher) containers(was, is *corev1.Pod) string {
	before := all(&was.Status)
	for _, c := range all(&is.Status) {
		i := slices.IndexFunc(before, func(b corev1.ContainerStatus) bool { return b.Name == c.Name })
		if i < 0 {
			continue
		}
		if what := w.container(is, before[i], c); what != "" {
			return c.Name + ": " + what
		}
	}
	if len(all(&is.Status)) < len(before) {
		return "a container is no longer reported"
	}
	return ""
}

// container compares a container's status with the one before.
func (w *watcher) container(p *corev1.Pod, was, is corev1.ContainerStatus) string {
	end := was.State.Terminated
	regularInit := isInit(p, is.Name)
	switch {
	case is.RestartCount < was.RestartCount:
		return fmt.Sprintf("its restartCount fell from %d to %d (PH-15)", was.RestartCount, is.RestartCount)
	case end != nil && is.State.Terminated == nil && !w.resets && !restarts(p, is.Name, end.ExitCode):
		return fmt.Sprintf("it had terminated with code %d, its policy does not restart it, and it is no longer terminated", end.ExitCode)
	case end != nil && is.State.Terminated != nil && is.RestartCount == was.RestartCount && *is.State.Terminated != *end:
		return "its end changed"
	case waitsFor(was, "CrashLoopBackOff") && is.State.Terminated != nil && is.RestartCount == was.RestartCount && p.DeletionTimestamp == nil && !done(p) && !w.resets:
		return "it was in back-off, and is shown as terminated again (BO-04)"
	case was.LastTerminationState.Terminated != nil && is.LastTerminationState.Terminated == nil && is.State.Terminated == nil:
		return "its last end was forgotten (PH-13)"
	case was.State.Running != nil && is.State.Running != nil && was.RestartCount == is.RestartCount && was.State.Running.StartedAt != is.State.Running.StartedAt:
		return "its start changed without a restart"
	case is.State.Running == nil && (is.Ready && !regularInit || is.Started != nil && *is.Started):
		return "it is ready or started, and does not run (PB-23)"
	case is.Ready && !regularInit && (is.Started == nil || !*is.Started):
		return "it is ready and not started (PB-26)"
	}
	return ""
}

// done reports whether all main containers have terminated: the pod may be about to end, and restarts nothing then.
func done(p *corev1.Pod) bool {
	return !slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Terminated == nil })
}

func waitsFor(c corev1.ContainerStatus, reason string) bool {
	return c.State.Waiting != nil && c.State.Waiting.Reason == reason
}

// isInit reports whether a container is an init container that runs to its end.
func isInit(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name && c.RestartPolicy == nil })
}

// restarts reports whether a container that ended with code may be started again.
func restarts(p *corev1.Pod, name string, code int32) bool {
	policy := string(p.Spec.RestartPolicy)
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == name && c.RestartPolicy != nil {
			policy = string(*c.RestartPolicy)
		}
	}
	if isInit(p, name) {
		return code != 0 && policy != string(corev1.RestartPolicyNever)
	}
	return policy == string(corev1.RestartPolicyAlways) || policy == string(corev1.RestartPolicyOnFailure) && code != 0
}

func conditions(was, is *corev1.PodStatus) string {
	for _, c := range is.Conditions {
		i := slices.IndexFunc(was.Conditions, func(b corev1.PodCondition) bool { return b.Type == c.Type })
		if i < 0 {
			continue
		}
		b := was.Conditions[i]
		switch {
		case c.LastTransitionTime.Before(&b.LastTransitionTime):
			return fmt.Sprintf("the time of condition %s went back from %s to %s", c.Type, b.LastTransitionTime, c.LastTransitionTime)
		case c.Status == b.Status && !c.LastTransitionTime.Equal(&b.LastTransitionTime):
			return fmt.Sprintf("the time of condition %s changed from %s to %s, and it is still %s", c.Type, b.LastTransitionTime, c.LastTransitionTime, c.Status)
		case c.Status == corev1.ConditionFalse && b.Status == corev1.ConditionTrue && (c.Type == corev1.PodInitialized || c.Type == corev1.PodScheduled):
			return fmt.Sprintf("condition %s was true and is false (PH-08)", c.Type)
		}
	}
	return ""
}
