package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// changed reports whether a container's newest instance was made of another image than the pod has now.
func changed(spec *corev1.Container, c *ContainerStatus) bool {
	return c.made != "" && c.made != spec.Image
}

// stopCause returns why a running container has to be stopped while the pod goes on; zero if it does not. A changed
// image comes before a probe that failed, and has the container restarted whatever its policy is; of a sidecar it
// counts only from the moment on at which the containers after it may start (SC-16). A regular init container runs on
// to its end.
func stopCause(spec *corev1.Container, role Role, c *ContainerStatus) StopReason {
	switch {
	case role == RoleInit:
		return 0
	case changed(spec, c) && (role == RoleMain || complete(spec, c)):
		return StopChange
	case c.probed[ProbeLiveness].Result == Failed:
		return StopLiveness
	case c.probed[ProbeStartup].Result == Failed:
		return StopStartup
	}
	return 0
}

// update folds that the pod was changed: the kubelet looks at it anew at once, so that what had failed is tried again,
// and counts the back-off of another image from its beginning (BO-05).
func (f *fold) update(p *corev1.Pod) {
	for _, c := range f.s.containers {
		image, ok := imageOf(p, c.Name)
		switch {
		case !ok:
		case c.key != "" && image != c.key:
			c = f.container(c.Name)
			c.key, c.crash, c.pull, c.retryAt = image, backOff{}, backOff{}, time.Time{}
		case !c.retryAt.IsZero() && (c.FailedOp != OpPull || !pullBacksOff(c.Failure.Reason)):
			f.container(c.Name).retryAt = time.Time{}
		}
	}
}

// imageOf returns the image that a pod names for a container; ok is false if it has none of that name.
func imageOf(p *corev1.Pod, name string) (image string, ok bool) {
	if c := containerOf(p, name); c != nil {
		return c.Image, true
	}
	return "", false
}
