package manifest

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAResourceIsReplacedByOneOfItsNameAndNamespace(t *testing.T) {
	config := func(namespace, name, value string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"k": value}}
	}
	secret := func(name, value string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"k": []byte(value)}}
	}
	have := Resources{ConfigMaps: []*corev1.ConfigMap{config("a", "x", "1"), config("b", "x", "2")}, Secrets: []*corev1.Secret{secret("s", "3")}}
	next := have.Replace(Resources{ConfigMaps: []*corev1.ConfigMap{config("b", "x", "4"), config("a", "new", "5")}, Secrets: []*corev1.Secret{secret("s", "6")}})
	for _, c := range []struct{ namespace, name, want string }{{"a", "x", "1"}, {"b", "x", "4"}, {"a", "new", "5"}} {
		if got := next.ConfigMap(c.namespace, c.name); got == nil || got.Data["k"] != c.want {
			t.Errorf("ConfigMap %s/%s is %+v, want the value %s", c.namespace, c.name, got, c.want)
		}
	}
	if got := next.Secret("a", "s"); len(next.Secrets) != 1 || string(got.Data["k"]) != "6" {
		t.Errorf("the Secrets are %+v", next.Secrets)
	}
	if got := have.ConfigMap("b", "x").Data["k"]; len(have.ConfigMaps) != 2 || got != "2" {
		t.Errorf("what was there before has changed: %+v", have.ConfigMaps)
	}
}
