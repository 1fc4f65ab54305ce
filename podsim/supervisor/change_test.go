package supervisor

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/manifest"
)

func testPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Labels: map[string]string{"a": "1"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Image: "init:1"}},
			Containers:     []corev1.Container{{Name: "app", Image: "app:1", Env: []corev1.EnvVar{{Name: "A", Value: "b"}}}, {Name: "log", Image: "log:1"}},
		},
	}
}

func TestARunningPodChangesAsAnAPIServerAllows(t *testing.T) {
	deadline := int64(60)
	for name, c := range map[string]struct {
		change func(p *corev1.Pod)
		what   []string
		refuse []string
	}{
		"nothing":                    {func(*corev1.Pod) {}, nil, nil},
		"a main's image":             {func(p *corev1.Pod) { p.Spec.Containers[1].Image = "log:2" }, []string{"spec.containers[1].image"}, nil},
		"an init container's image":  {func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "init:2" }, []string{"spec.initContainers[0].image"}, nil},
		"labels":                     {func(p *corev1.Pod) { p.Labels = map[string]string{"a": "2"} }, []string{"metadata.labels"}, nil},
		"no labels any more":         {func(p *corev1.Pod) { p.Labels = nil }, []string{"metadata.labels"}, nil},
		"annotations":                {func(p *corev1.Pod) { p.Annotations = map[string]string{"b": "c"} }, []string{"metadata.annotations"}, nil},
		"a deadline":                 {func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = &deadline }, []string{"spec.activeDeadlineSeconds"}, nil},
		"an environment variable":    {func(p *corev1.Pod) { p.Spec.Containers[0].Env[0].Value = "c" }, nil, []string{"spec.containers[0].env[0].value"}},
		"a command":                  {func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/x"} }, nil, []string{"spec.containers[0].command"}},
		"one container more":         {func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "x"}) }, nil, []string{"spec.containers"}},
		"another name and an image":  {func(p *corev1.Pod) { p.Spec.Containers[0].Name, p.Spec.Containers[0].Image = "b", "b:1" }, nil, []string{"spec.containers[0].image", "spec.containers[0].name"}},
		"a restart policy":           {func(p *corev1.Pod) { p.Spec.RestartPolicy = "Never" }, nil, []string{"spec.restartPolicy"}},
		"an image and a termination": {func(p *corev1.Pod) { p.Spec.Containers[0].Image, p.Spec.Hostname = "app:2", "h" }, nil, []string{"spec.hostname"}},
	} {
		t.Run(name, func(t *testing.T) {
			now, asked := testPod(), testPod()
			now.Spec.NodeName, now.UID = "podsim", "0815" // what podsim fills in
			c.change(asked)
			got, err := changeOf(now, asked)
			if forbidden, ok := errors.AsType[*ForbiddenError](err); ok != (c.refuse != nil) || ok && !slices.Equal(forbidden.Fields, c.refuse) {
				t.Fatalf("refused: %v, want %v", err, c.refuse)
			}
			if !slices.Equal(got.what, c.what) || (got.spec != nil) != (c.what != nil) {
				t.Errorf("changed: %v, want %v", got.what, c.what)
			}
			if got.spec != nil && (got.spec.UID != "0815" || got.spec.Spec.NodeName != "podsim") {
				t.Error("what podsim has filled in is lost")
			}
			if now.Spec.Containers[0].Image != "app:1" || now.Labels["a"] != "1" {
				t.Error("the pod as it was is changed")
			}
		})
	}
}

func TestConfigMapsAndSecretsThatDifferAreNamed(t *testing.T) {
	config := func(value string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"k": value}}
	}
	secret := func(value string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"k": []byte(value)}}
	}
	have := manifest.Resources{ConfigMaps: []*corev1.ConfigMap{config("1")}, Secrets: []*corev1.Secret{secret("1")}}
	want := manifest.Resources{ConfigMaps: []*corev1.ConfigMap{config("1")}, Secrets: []*corev1.Secret{secret("2")}}
	if got := changedResources(have, want); !slices.Equal(got, []string{"secret/s"}) {
		t.Errorf("changed: %v, want the secret", got)
	}
	if got := changedResources(manifest.Resources{}, want); len(got) != 2 {
		t.Errorf("new: %v, want both", got)
	}
	if got := changedResources(have, have); len(got) != 0 {
		t.Errorf("the same: %v, want none", got)
	}
}
