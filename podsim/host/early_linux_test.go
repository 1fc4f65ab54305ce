package host

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// A container that was created ahead of its turn is not there yet, for whoever asks.
func TestNothingRunsInAContainerBeforeItsStart(t *testing.T) {
	t.Parallel()
	r := trial{
		pod: podNamed("early", `
  terminationGracePeriodSeconds: 5
  initContainers:
    - name: gate
      image: SIDEKICK
      args: [app, --start-delay, 2s]
      restartPolicy: Always
      startupProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
  containers:
    - {name: app, image: SIDEKICK, args: [app, --listen, ":9000"]}
`),
		steps: []step{
			sidekickIn("app", "true").after(running("gate")),
			deleted().after(ready),
		},
	}.run(t)
	e := r.answer("true")
	if e.Failure == nil || e.Failure.Reason != reasonExec {
		t.Errorf("a command in app, which waits for gate, got %+v; want the failure %s", e, reasonExec)
	}
	r.order("gate.started", "gate.startup.ok", "app.started")
}

// PH-14: a kubelet hears of it from the runtime, and tries again.
func TestAContainerWithoutACommandIsTheRuntimesRefusal(t *testing.T) {
	_, err := containerSpec(&corev1.Pod{}, &corev1.Container{Name: "app", Image: "scratch"}, place{cgroup: "/podsim/x"})
	if _, ok := errors.AsType[*ctrd.RuntimeError](err); !ok {
		t.Errorf("got %v, want a *ctrd.RuntimeError: podsim itself has not failed", err)
	}
}
