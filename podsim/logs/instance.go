package logs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// An UnavailableError says why there is no log to print, in the kubelet's words.
type UnavailableError struct{ Reason string }

func (e *UnavailableError) Error() string { return e.Reason }

func unavailable(format string, args ...any) error {
	return &UnavailableError{fmt.Sprintf(format, args...)}
}

// InstanceOf is the number of the instance whose log a kubelet would print (MS-03): with previous the last that ended
// before the current one, otherwise the current one or, while the next is waited for, the last. Where there is none the
// error is an *UnavailableError.
func InstanceOf(p *corev1.Pod, container string, previous bool) (int, error) {
	st := statusOf(p, container)
	if st == nil {
		return 0, unavailable("container %q in pod %q is not available", container, p.Name)
	}
	id, last := "", ""
	if t := st.LastTerminationState.Terminated; t != nil {
		last = t.ContainerID
	}
	switch {
	case previous:
		if last == "" {
			return 0, unavailable("previous terminated container %q in pod %q not found", container, p.Name)
		}
		id = last
	case st.State.Running != nil:
		id = st.ContainerID
	case st.State.Terminated != nil, st.LastTerminationState.Terminated != nil:
		if id = last; st.State.Terminated != nil && st.State.Terminated.ContainerID != "" {
			id = st.State.Terminated.ContainerID
		}
		if id == "" {
			return 0, unavailable("container %q in pod %q is terminated", container, p.Name)
		}
	case st.State.Waiting != nil:
		return 0, unavailable("container %q in pod %q is waiting to start: %s", container, p.Name, whyWaiting(st.State.Waiting.Reason))
	default:
		return 0, unavailable("container %q in pod %q is waiting to start - no logs yet", container, p.Name)
	}
	// <runtime>://<pod's ID>-<container>.<instance>
	n, err := strconv.Atoi(id[strings.LastIndexByte(id, '.')+1:])
	if err != nil {
		return 0, fmt.Errorf("container %q in pod %q has the ID %q, which names no instance", container, p.Name, id)
	}
	return n, nil
}

func whyWaiting(reason string) string {
	switch reason {
	case "ErrImagePull":
		return "image can't be pulled"
	case "ImagePullBackOff":
		return "trying and failing to pull image"
	}
	return reason
}

// Runs reports whether an instance of a container is one that runs.
func Runs(p *corev1.Pod, container string, instance int) bool {
	st := statusOf(p, container)
	if st == nil || st.State.Running == nil {
		return false
	}
	n, err := InstanceOf(p, container, false)
	return err == nil && n == instance
}

func statusOf(p *corev1.Pod, container string) *corev1.ContainerStatus {
	all := slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses)
	i := slices.IndexFunc(all, func(st corev1.ContainerStatus) bool { return st.Name == container })
	if i < 0 {
		return nil
	}
	return &all[i]
}
