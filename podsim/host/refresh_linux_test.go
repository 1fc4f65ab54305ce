package host

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/pod"
)

// What a ConfigMap and a Secret are from now on reaches the volumes of a pod that runs, and the environment of the
// containers that are created after it.
func TestARefreshReachesVolumesAndLaterContainers(t *testing.T) { // VO-08
	t.Parallel()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "default", Name: name} }
	refresh := step{name: "refresh", do: pod.Action{Op: pod.OpRefresh, Refresh: &pod.Refresh{
		ConfigMaps: []*corev1.ConfigMap{{ObjectMeta: meta("settings"), Data: map[string]string{"level": "low", "more": "yes"}}},
		Secrets:    []*corev1.Secret{{ObjectMeta: meta("token"), Data: map[string][]byte{"key": []byte("new")}}},
	}}}
	r := trial{
		pod: podNamed("fresh", `
  containers:
    - name: app
      image: SIDEKICK
      args: [run]
      env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}]
      volumeMounts: [{name: config, mountPath: /config}, {name: token, mountPath: /token}]
  volumes:
    - {name: config, configMap: {name: settings}}
    - {name: token, secret: {secretName: token}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {level: high, old: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: default}
stringData: {key: old}
`),
		steps: []step{
			sidekickIn("app", "cat", "/config/level", "/token/key").after(running("app")), refresh,
			sidekickIn("app", "cat", "/config/level", "/config/more", "/token/key"), sidekickIn("app", "exists", "/config/old"), sidekickIn("app", "env", "LEVEL"),
			signalled("app", "KILL"), in("env of the next instance", "app", "/sidekick", "env", "LEVEL").after(restarted("app", 1)),
			deleted(),
		},
	}.run(t)
	for name, want := range map[string]string{
		"cat /config/level /token/key":              "highold",
		"cat /config/level /config/more /token/key": "lowyesnew",
		"env LEVEL":                "high\n",
		"env of the next instance": "low\n",
	} {
		if out := r.answer(name).Output; out == nil || out.Stdout != want {
			t.Errorf("%s says %+v, want %q", name, out, want)
		}
	}
	if out := r.answer("exists /config/old").Output; out == nil || out.Code != 1 {
		t.Errorf("a key that was taken away has left its file: %+v", out)
	}
	r.order("pod.refreshed", "app.exited(137)", "app.restarted")
}
