package host

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/manifest"
)

func TestADockerConfigsKeyCoversImagesAsTheKubeletMatchesThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, image string
		want       bool
	}{
		{"ghcr.io", "ghcr.io/a/b:1", true},
		{"https://ghcr.io/v2/", "ghcr.io/a/b:1", true},
		{"ghcr.io/a", "ghcr.io/a/b:1", true},
		{"ghcr.io/a/b", "ghcr.io/a/b:1", true},
		{"ghcr.io/x", "ghcr.io/a/b:1", false},
		{"ghcr.io/a", "ghcr.io/ab/b:1", false},
		{"*.example.com", "eu.example.com/a", true},
		{"*.example.com", "example.com/a", false},
		{"127.0.0.1:5000", "127.0.0.1:5000/a", true},
		{"127.0.0.1", "127.0.0.1:5000/a", false},
		{"https://index.docker.io/v1/", "busybox", true},
		{"https://index.docker.io/v1/", "ghcr.io/a/b", false},
		{"ghcr.io", "NOT AN IMAGE", false},
	} {
		if got := covers(c.key, c.image); got != c.want {
			t.Errorf("%s covers %s: %v", c.key, c.image, got)
		}
	}
}

func TestPullSecretsAreTakenInTheirOrder(t *testing.T) { // IM-05
	t.Parallel()
	secret := func(name string, kind corev1.SecretType, key, value string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, Data: map[string][]byte{key: []byte(value)}}
	}
	r := manifest.Resources{Secrets: []*corev1.Secret{
		secret("one", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, `{"auths":{"ghcr.io":{"auth":"YTpi"}}}`), // a:b
		secret("two", corev1.SecretTypeDockercfg, corev1.DockerConfigKey, `{"ghcr.io":{"username":"c","password":"d"}}`),
		secret("other", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, `{"auths":{"quay.io":{"auth":"YTpi"}}}`),
		secret("opaque", corev1.SecretTypeOpaque, "x", "y"),
	}}
	p := &corev1.Pod{}
	for _, name := range []string{"two", "missing", "other", "opaque", "one"} {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	secrets, wrong := pullSecrets(p, r, "ghcr.io/a/b:1")
	if len(secrets) != 2 || secrets[0].Username != "c" || secrets[0].Password != "d" || secrets[1].Username != "a" || secrets[1].Password != "b" {
		t.Errorf("secrets %+v", secrets)
	}
	if len(wrong) != 2 || !strings.Contains(wrong[0], "(missing)") || !strings.Contains(wrong[1], "opaque") {
		t.Errorf("wrong: %q", wrong)
	}
}
