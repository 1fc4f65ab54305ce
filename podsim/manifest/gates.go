package manifest

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podsim/podsim/podsim/pod"
)

// specPath is where the pod's spec is in the document.
func (v *validator) specPath() *field.Path {
	if v.root != "" {
		return at(v.root).Child("spec")
	}
	return field.NewPath("spec")
}

// off warns of a field that an API server drops without a word because a feature gate is off. The caller drops it.
func (v *validator) off(p *field.Path, g pod.Gate) {
	v.dropped = append(v.dropped, p.String())
	v.warn(p, "dropped, as an API server does: feature gate %s is off in Kubernetes %s", g, v.kubelet.Version)
}

// dropDisabled takes away what an API server drops of a pod before it validates it, where a feature gate is off
// (dropDisabledFields in pkg/api/pod/util.go). The restart rules and stop signals of containers stay: the planner knows
// their gates.
func (v *validator) dropDisabled(s *corev1.PodSpec) {
	p := v.specPath()
	if s.HostnameOverride != nil && !v.kubelet.On(pod.GateHostnameOverride) {
		v.off(p.Child("hostnameOverride"), pod.GateHostnameOverride)
		s.HostnameOverride = nil
	}
	if s.Resources != nil && !v.kubelet.On(pod.GatePodLevelResources) {
		v.off(p.Child("resources"), pod.GatePodLevelResources)
		s.Resources = nil
	}
	if c := s.SecurityContext; c != nil && c.SupplementalGroupsPolicy != nil && !v.kubelet.On(pod.GateSupplementalGroupsPolicy) {
		v.off(p.Child("securityContext", "supplementalGroupsPolicy"), pod.GateSupplementalGroupsPolicy)
		c.SupplementalGroupsPolicy = nil
	}
	for i := range s.InitContainers {
		v.dropOfContainer(&s.InitContainers[i], p.Child("initContainers").Index(i))
	}
	for i := range s.Containers {
		v.dropOfContainer(&s.Containers[i], p.Child("containers").Index(i))
	}
}

func (v *validator) dropOfContainer(c *corev1.Container, p *field.Path) {
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FileKeyRef != nil && !v.kubelet.On(pod.GateEnvFiles) {
			v.off(p.Child("env").Index(i).Child("valueFrom", "fileKeyRef"), pod.GateEnvFiles)
			from.FileKeyRef = nil
		}
	}
	for i := range c.VolumeMounts {
		if c.VolumeMounts[i].RecursiveReadOnly != nil && !v.kubelet.On(pod.GateRecursiveReadOnlyMounts) {
			v.off(p.Child("volumeMounts").Index(i).Child("recursiveReadOnly"), pod.GateRecursiveReadOnlyMounts)
			c.VolumeMounts[i].RecursiveReadOnly = nil
		}
	}
	if c.Lifecycle != nil && !v.kubelet.On(pod.GateSleepAction) {
		c.Lifecycle.PostStart = v.dropSleep(c.Lifecycle.PostStart, p.Child("lifecycle", "postStart"))
		c.Lifecycle.PreStop = v.dropSleep(c.Lifecycle.PreStop, p.Child("lifecycle", "preStop"))
	}
}

// dropSleep takes a hook's sleep away, and the hook with it if there is nothing else in it.
func (v *validator) dropSleep(h *corev1.LifecycleHandler, p *field.Path) *corev1.LifecycleHandler {
	if h == nil || h.Sleep == nil {
		return h
	}
	v.off(p.Child("sleep"), pod.GateSleepAction)
	if h.Sleep = nil; *h == (corev1.LifecycleHandler{}) {
		return nil
	}
	return h
}

// dropImageVolumes takes image volumes and their mounts away where their gate is off. It comes after the validation, so
// that what is found there has its place in the file.
func (v *validator) dropImageVolumes(s *corev1.PodSpec) {
	if v.kubelet.On(pod.GateImageVolume) {
		return
	}
	gone := map[string]bool{}
	for i := range s.Volumes {
		if s.Volumes[i].Image != nil {
			gone[s.Volumes[i].Name] = true
			v.off(v.specPath().Child("volumes").Index(i).Child("image"), pod.GateImageVolume)
		}
	}
	s.Volumes = slices.DeleteFunc(s.Volumes, func(volume corev1.Volume) bool { return gone[volume.Name] })
	for _, list := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range list {
			list[i].VolumeMounts = slices.DeleteFunc(list[i].VolumeMounts, func(m corev1.VolumeMount) bool { return gone[m.Name] })
		}
	}
}
