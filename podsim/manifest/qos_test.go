package manifest

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// RS-02.
func TestQualityOfServiceCountsEveryContainer(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if cpu != "" {
			l[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			l[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	full := corev1.ResourceRequirements{Requests: list("1", "64Mi"), Limits: list("1", "64Mi")}
	for name, c := range map[string]struct {
		main, init corev1.ResourceRequirements
		want       corev1.PodQOSClass
	}{
		"nothing asked for":            {want: corev1.PodQOSBestEffort},
		"requests equal limits":        {main: full, init: full, want: corev1.PodQOSGuaranteed},
		"an init container without":    {main: full, want: corev1.PodQOSBurstable},
		"a request below its limit":    {main: corev1.ResourceRequirements{Requests: list("1", "64Mi"), Limits: list("2", "64Mi")}, init: full, want: corev1.PodQOSBurstable},
		"only the init container asks": {init: corev1.ResourceRequirements{Requests: list("1", "")}, want: corev1.PodQOSBurstable},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: c.main}}, InitContainers: []corev1.Container{{Resources: c.init}}}}
		if got := qosClass(p); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
