package manifest

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// qosResources are the resources that make a pod's quality of service.
var qosResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

// qosClass is the pod's class, as an API server sets it when the pod is created (RS-02). Init containers and sidecars count.
func qosClass(p *corev1.Pod) corev1.PodQOSClass {
	guaranteed, asks := true, false
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for _, name := range qosResources {
				request, limit := list[i].Resources.Requests[name], list[i].Resources.Limits[name]
				asks = asks || positive(request) || positive(limit)
				guaranteed = guaranteed && positive(limit) && request.Cmp(limit) == 0
			}
		}
	}
	switch {
	case !asks:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func positive(q resource.Quantity) bool { return q.Sign() > 0 }
