package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// image is what all containers of a benchmark run.
const image = "podsim.local/bench:1"

// manifest is a pod of one app and some sidecars that do nothing, as YAML. Native sidecars are init containers; a
// tool that does not know them gets them as ordinary containers.
func manifest(name string, sidecars int, native bool) ([]byte, error) {
	container := func(name string) corev1.Container {
		return corev1.Container{Name: name, Image: image, ImagePullPolicy: corev1.PullNever,
			Command: []string{"/sidekick"}, Args: []string{"run"}}
	}
	p := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{container("app")}},
	}
	for i := range sidecars {
		c := container(fmt.Sprintf("side-%d", i+1))
		if !native {
			p.Spec.Containers = append(p.Spec.Containers, c)
			continue
		}
		always := corev1.ContainerRestartPolicyAlways
		c.RestartPolicy = &always
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	text, err := yaml.Marshal(p)
	return []byte(strings.ReplaceAll(string(text), "status: {}\n", "")), err
}
