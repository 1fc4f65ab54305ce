package pod

import (
	"iter"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// RoleOf returns what a container is to its pod; zero if the pod has no container of that name.
func RoleOf(p *corev1.Pod, name string) Role {
	if i := initIndex(p, name); i >= 0 {
		return initRole(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == name {
			return RoleMain
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if p.Spec.EphemeralContainers[i].Name == name {
			return RoleEphemeral
		}
	}
	return 0
}

// ephemeral is the i-th of a pod's ephemeral containers, as a container.
func ephemeral(p *corev1.Pod, i int) *corev1.Container {
	return (*corev1.Container)(&p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
}

// initRole tells a sidecar from a regular init container. No other restart policy makes a sidecar (SC-23).
func initRole(c *corev1.Container) Role {
	if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
		return RoleSidecar
	}
	return RoleInit
}

func membersOf(p *corev1.Pod) *Members {
	m := &Members{Mains: len(p.Spec.Containers)}
	for i := range p.Spec.InitContainers {
		if initRole(&p.Spec.InitContainers[i]) == RoleSidecar {
			m.Sidecars++
		} else {
			m.Inits++
		}
	}
	return m
}

func initIndex(p *corev1.Pod, name string) int {
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == name {
			return i
		}
	}
	return -1
}

// allContainersOf yields a pod's ephemeral containers and then those of containersOf: in the order in which one sync
// would start them.
func allContainersOf(p *corev1.Pod) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for i := range p.Spec.EphemeralContainers {
			if !yield(ephemeral(p, i)) {
				return
			}
		}
		containersOf(p)(yield)
	}
}

// containersOf yields a pod's init containers and then its mains, in the order of the spec.
func containersOf(p *corev1.Pod) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for i := range p.Spec.InitContainers {
			if !yield(&p.Spec.InitContainers[i]) {
				return
			}
		}
		for i := range p.Spec.Containers {
			if !yield(&p.Spec.Containers[i]) {
				return
			}
		}
	}
}

// containerOf returns a container's spec, nil if the pod has none of that name.
func containerOf(p *corev1.Pod, name string) *corev1.Container {
	if i := initIndex(p, name); i >= 0 {
		return &p.Spec.InitContainers[i]
	}
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == name {
			return &p.Spec.Containers[i]
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if p.Spec.EphemeralContainers[i].Name == name {
			return ephemeral(p, i)
		}
	}
	return nil
}

// defaultGrace is what an API server fills in for terminationGracePeriodSeconds.
const defaultGrace = 30

// graceOf is the pod's own grace period (TM-08).
func graceOf(p *corev1.Pod) time.Duration {
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
		return wholeSeconds(*g)
	}
	return wholeSeconds(defaultGrace)
}

// wholeSeconds is n seconds; a number that no pod lives long enough for is cut before it overflows.
func wholeSeconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), math.MaxInt32)) * time.Second
}
