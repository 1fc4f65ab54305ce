package main

import corev1 "k8s.io/api/core/v1"

// A role is what a container is to its pod.
type role uint8

// The roles. The zero role is that of a container that the pod does not name.
const (
	_ role = iota
	roleInit
	roleSidecar
	roleMain
	roleEphemeral
)

// rolesOf are the roles of a pod's containers.
func rolesOf(p *corev1.Pod) map[string]role {
	roles := map[string]role{}
	if p == nil {
		return roles
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		roles[c.Name] = roleInit
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			roles[c.Name] = roleSidecar
		}
	}
	for i := range p.Spec.Containers {
		roles[p.Spec.Containers[i].Name] = roleMain
	}
	for i := range p.Spec.EphemeralContainers {
		roles[p.Spec.EphemeralContainers[i].Name] = roleEphemeral
	}
	return roles
}
