package events

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
)

// A killing is the newest Killing that was said of a container.
type killing struct {
	instance int
	reason   pod.StopReason
}

// ending says that the pod is being stopped, when that begins: of a deadline, and of every container that runs, whether
// its turn to be stopped has come or not.
func (s *subject) ending(before *pod.Status, e pod.Event) {
	if before.Ending() || !s.status.Ending() || s.status.Deleting() {
		return
	}
	st := s.status.ComingStatus(s.pod, e.Time)
	if st.Reason == "DeadlineExceeded" {
		s.normal("", st.Reason, e.Time, "%s", st.Message)
	}
	if st.Phase == corev1.PodFailed || st.Phase == corev1.PodSucceeded {
		s.terminating, s.grace = true, s.graceOf(nil)
	}
	s.killAll(pod.StopEnd, e.Time)
}

// deleted says that the pod's containers are being stopped, when its deletion begins that or shortens it (TM-09, TM-25).
func (s *subject) deleted(a pod.Action, at time.Time) {
	grace := s.graceOf(a.Grace)
	if s.terminating && grace >= s.grace {
		return
	}
	s.terminating, s.grace = true, grace
	s.killAll(pod.StopDelete, at)
}

// graceOf is a delete's grace period in seconds: its own, else the pod's, and at least one (TM-08).
func (s *subject) graceOf(asked *int64) int64 {
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if g := s.pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	if asked != nil {
		grace = *asked
	}
	return max(grace, 1)
}

// killAll says of all containers that run that they are being stopped with the pod.
func (s *subject) killAll(reason pod.StopReason, at time.Time) {
	names := containers(s.pod)
	for i := range s.pod.Spec.EphemeralContainers {
		names = append(names, s.pod.Spec.EphemeralContainers[i].Name)
	}
	for _, name := range names {
		if c, ok := s.status.Container(name); ok && c.Running() {
			s.kill(name, c.Instance, reason, "Stopping container "+name, at)
		}
	}
}

// stopping says that a container is being stopped, with the first step of it, unless that was said before.
func (s *subject) stopping(a pod.Action, at time.Time) {
	known, ok := s.killing[a.Container]
	if ok && known.instance == a.Instance && (known.reason == a.Stop || known.reason.Pod()) {
		return
	}
	s.kill(a.Container, a.Instance, a.Stop, s.whyKilled(a), at)
}

// kill says that a container is being stopped.
func (s *subject) kill(container string, instance int, reason pod.StopReason, message string, at time.Time) {
	s.killing[container] = killing{instance, reason}
	s.normal(container, "Killing", at, "%s", message)
}

// whyKilled is what the kubelet says of a container that it stops (PB-27, SC-16, RA-03).
func (s *subject) whyKilled(a pod.Action) string {
	why := ""
	switch a.Stop {
	case pod.StopLiveness:
		why = "failed liveness probe"
	case pod.StopStartup:
		why = "failed startup probe"
	case pod.StopChange:
		why = "definition changed"
	case pod.StopPostStart:
		return "FailedPostStartHook"
	case pod.StopRestartAll:
		return "killing"
	default:
		return "Stopping container " + a.Container
	}
	if pod.RoleOf(s.pod, a.Container) != pod.RoleMain {
		return fmt.Sprintf("Init container %s %s", a.Container, why)
	}
	if slices.Contains(a.Then, a.Container) {
		why += ", will be restarted"
	}
	return fmt.Sprintf("Container %s %s", a.Container, why)
}
