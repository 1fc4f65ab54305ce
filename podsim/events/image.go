package events

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
)

// relist is how long the reason of a failed start is shown before that of the back-off that follows it (ST-14).
const relist = time.Second

// pulling says that an image is being fetched.
func (s *subject) pulling(container, image string, at time.Time) {
	s.fetching[container] = true
	s.normal(container, "Pulling", at, "Pulling image %q", image)
}

// pulled says what a pull came to (IM-06).
func (s *subject) pulled(began, e pod.Event) {
	a := began.Action
	present := e.Image != nil && e.Image.Present
	backsOff := e.Failure != nil && !slices.Contains([]string{"ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}, e.Failure.Reason)
	if (backsOff || e.Failure == nil && !present) && !s.fetching[a.Container] {
		s.pulling(a.Container, a.Image, began.Time) // nobody told when it began to be fetched
	}
	took := e.Time.Sub(began.Time).Truncate(time.Millisecond)
	delete(s.fetching, a.Container)
	switch {
	case e.Failure != nil:
		s.unpullable(a, e)
		if backsOff {
			s.unpulled = append(s.unpulled, a.Container)
		}
	case present:
		s.normal(a.Container, "Pulled", e.Time, "Container image %q already present on machine%s", a.Image, s.words(" and can be accessed by the pod", ""))
	default:
		size := int64(0)
		if e.Image != nil {
			size = e.Image.Size
		}
		s.normal(a.Container, "Pulled", e.Time, "Successfully pulled image %q in %v (%v including waiting). Image size: %v bytes.", a.Image, took, took, size)
	}
}

// unpullable says why an image could not be had.
func (s *subject) unpullable(a pod.Action, e pod.Event) {
	failed := fmt.Sprintf("Failed to pull image %q: ", a.Image)
	message := strings.TrimPrefix(e.Failure.Message, failed)
	switch e.Failure.Reason {
	case "ErrImageNeverPull":
		s.warn(a.Container, "ErrImageNeverPull", e.Time, "Container image %q is not present with pull policy of Never", a.Image)
	case "InvalidImageName":
		s.warn(a.Container, "InspectFailed", e.Time, "Failed to apply default image tag %q: %s", a.Image, message)
	case "ImageInspectError":
		s.warn(a.Container, "InspectFailed", e.Time, "Failed to inspect image %q: %s", a.Image, message)
	default:
		s.warn(a.Container, "Failed", e.Time, "%s%s", failed, message)
	}
	s.warn(a.Container, "Failed", e.Time, "Error: %s", e.Failure.Reason)
}

// settled says of images that could not be pulled that they are in back-off, once the sync is over in which that
// happened: a kubelet finds it with its next sync, which that one causes.
func (s *subject) settled(at time.Time) {
	if len(s.unpulled) == 0 || s.syncing(at) {
		return
	}
	for _, name := range s.unpulled {
		s.backOff(name, at)
	}
	s.unpulled = nil
}

// syncing reports whether the newest sync is under way.
func (s *subject) syncing(at time.Time) bool {
	of := func(a pod.Action) bool { return a.Sync == s.sync }
	return slices.ContainsFunc(s.status.InFlight(), of) || slices.ContainsFunc(pod.Next(s.pod, s.status, at).Actions, of)
}

// crashed says of a container that has ended, or could not be started, that it is in back-off, if it is (BO-04).
func (s *subject) crashed(container string, at time.Time) {
	if s.waitingFor(container, at) == crashLoop {
		s.backOff(container, at)
	}
}

// passedOver says of containers in back-off that a new sync leaves them out.
func (s *subject) passedOver(e pod.Event) {
	if e.Kind != pod.Began || e.Action.Sync <= s.sync {
		return
	}
	s.sync = e.Action.Sync
	if s.sync == 1 {
		return
	}
	for _, c := range containers(s.pod) {
		if c == e.Action.Container || slices.Contains(e.Action.Then, c) || slices.Contains(e.Action.ThenStop, c) || slices.Contains(s.unpulled, c) {
			continue
		}
		s.backOff(c, e.Time)
	}
}

// The reasons of a container that is in back-off.
const (
	crashLoop = "CrashLoopBackOff"
	pullLoop  = "ImagePullBackOff"
)

// backOff says that a container is in back-off, if it is.
func (s *subject) backOff(container string, at time.Time) {
	switch s.waitingFor(container, at) {
	case pullLoop:
		spec := imageOf(s.pod, container)
		s.normal(container, "BackOff", at, "Back-off pulling image %q", spec)
		s.warn(container, "Failed", at, "Error: %s", pullLoop)
	case crashLoop:
		s.warn(container, "BackOff", at, "Back-off restarting failed container %s in pod %s_%s(%s)", container, s.pod.Name, s.pod.Namespace, s.pod.UID)
	}
}

// waitingFor is the reason for which a container waits, as it is once the kubelet has looked again; empty if it does not.
func (s *subject) waitingFor(container string, at time.Time) string {
	st := s.status.PodStatus(s.pod, at.Add(relist))
	for _, c := range slices.Concat(st.InitContainerStatuses, st.ContainerStatuses) {
		if c.Name == container && c.State.Waiting != nil {
			return c.State.Waiting.Reason
		}
	}
	return ""
}

// containers names a pod's init containers and then its mains, in the spec's order.
func containers(p *corev1.Pod) (names []string) {
	for i := range p.Spec.InitContainers {
		names = append(names, p.Spec.InitContainers[i].Name)
	}
	for i := range p.Spec.Containers {
		names = append(names, p.Spec.Containers[i].Name)
	}
	return names
}

func imageOf(p *corev1.Pod, container string) string {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == container {
			return c.Image
		}
	}
	return ""
}
