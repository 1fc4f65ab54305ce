package host

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
)

func TestContainersStartAndStopInTheirOrder(t *testing.T) { // SC-02, IN-01, TM-05
	t.Parallel()
	r := trial{
		pod: podNamed("web", `
  terminationGracePeriodSeconds: 20
  initContainers:
    - name: proxy
      image: SIDEKICK
      args: [proxy, --start-delay, 300ms]
      restartPolicy: Always
      startupProbe: {httpGet: {path: /healthz/ready, port: 15021}, periodSeconds: 1, failureThreshold: 30}
    - {name: first, image: SIDEKICK, args: [init, --require-tcp, "127.0.0.1:15021", --sleep, 100ms]}
    - {name: second, image: SIDEKICK, args: ["true"]}
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`),
		steps: []step{deleted().after(ready)},
	}.run(t)
	r.order("pod.network", "proxy.started", "proxy.startup.ok", "first.started", "first.exited(0)", "second.started",
		"app.started", "app.ready", "pod.deleteRequested", "app.signal.TERM", "app.exited(0)",
		"proxy.signal.TERM", "proxy.exited(0)")
	r.order("second.exited(0)", "app.started", "pod.ready", "pod.deleteRequested")
	r.never("app.signal.KILL")
	r.never("proxy.signal.KILL")
}

func TestASidecarStopsWhenTheMainsAreDone(t *testing.T) { // SC-20, TM-18
	t.Parallel()
	r := trial{pod: podNamed("job", `
  restartPolicy: Never
  initContainers:
    - name: side
      image: SIDEKICK
      args: [app, --listen, ":9000"]
      restartPolicy: Always
      startupProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 30}
  containers:
    - {name: work, image: SIDEKICK, args: [echo, done]}
`)}.run(t)
	r.order("side.startup.ok", "work.started", "work.exited(0)", "side.signal.TERM", "side.exited(0)")
	r.never("side.restarted")
	r.never("side.signal.KILL")
	if r.final.status.Phase != corev1.PodSucceeded {
		t.Errorf("got phase %s, want Succeeded", r.final.status.Phase)
	}
	if got := r.log("work"); got != "done" {
		t.Errorf("got log %q, want done", got)
	}
}

func TestARestartIsImmediateAndTheNextOneWaits(t *testing.T) { // BO-01
	t.Parallel()
	r := trial{
		pod: podNamed("flaky", `
  containers:
    - {name: app, image: SIDEKICK, args: [app, --fail-first, "2", --count-file, /data/count], volumeMounts: [{name: data, mountPath: /data}]}
  volumes:
    - {name: data, emptyDir: {}}
`),
		steps: []step{deleted().after(restarted("app", 2))},
	}.run(t)
	var starts []time.Time
	for rec := range r.view.All() {
		if rec.Instance != nil && rec.Instance.PID != 0 {
			starts = append(starts, rec.Time)
		}
	}
	if len(starts) != 3 {
		r.fatalf("got %d starts, want 3", len(starts))
	}
	_, second := r.exit("app", 1)
	if took := starts[2].Sub(second); took < 9*time.Second {
		t.Errorf("the second restart came %s after the exit, want 10 s", took)
	}
	// The first one waited for nothing: the only back-off comes after it.
	r.order("app.exited(1)", "app.restarted", "app.backoff")
}

func TestAContainerThatEatsPastItsLimitIsOOMKilled(t *testing.T) { // PH-17
	t.Parallel()
	r := trial{pod: podNamed("hungry", `
  restartPolicy: Never
  containers:
    - {name: app, image: PROG, args: [eat], resources: {limits: {memory: 48Mi}}}
`)}.run(t)
	x, _ := r.exit("app", 0)
	if x.Code != 137 || !x.OOMKilled {
		t.Errorf("got exit %+v, want 137 by the OOM killer", x)
	}
	state := r.final.container("app").State.Terminated
	if state == nil || state.Reason != "OOMKilled" || r.final.status.Phase != corev1.PodFailed {
		t.Errorf("got state %+v and phase %s, want OOMKilled and Failed", state, r.final.status.Phase)
	}
}

func TestALivenessProbeThatFailsRestartsTheContainer(t *testing.T) { // PB-14
	t.Parallel()
	r := trial{
		pod: podNamed("web", `
  initContainers:
    - {name: side, image: SIDEKICK, args: [app, --listen, ":9000"], restartPolicy: Always}
  containers:
    - name: app
      image: SIDEKICK
      args: [app, --unhealthy-after, 1500ms]
      livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 1}
`),
		steps: []step{deleted().after(restarted("app", 1))},
	}.run(t)
	r.order("app.probe.fail(liveness)", "app.signal.TERM", "app.exited(0)", "app.restarted", "pod.deleteRequested")
	r.never("side.restarted")
}

func TestHooksOfAllKindsRun(t *testing.T) { // LH-01, LH-02, LH-05
	t.Parallel()
	r := trial{
		pod: podNamed("hooked", `
  terminationGracePeriodSeconds: 20
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      lifecycle:
        postStart: {exec: {command: [/sidekick, write, /data/hook, started]}}
        preStop: {httpGet: {path: /goodbye, port: 8080}}
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
    - name: sleeper
      image: SIDEKICK
      args: [app, --listen, ":8081"]
      lifecycle:
        postStart: {sleep: {seconds: 1}}
        preStop: {sleep: {seconds: 1}}
    - name: execer
      image: SIDEKICK
      args: [app, --listen, ":8082"]
      lifecycle: {preStop: {exec: {command: [/sidekick, write, /data/goodbye, stopping]}}}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes:
    - {name: data, hostPath: {path: `+t.TempDir()+`}}
`),
		steps: []step{sidekickIn("app", "cat", "/data/hook").after(ready), deleted()},
	}.run(t)
	if got := r.output("cat /data/hook"); got != "started" {
		t.Errorf("the postStart hook wrote %q, want started", got)
	}
	contains(t, "the app's log", r.log("app"), "/goodbye")
	for _, name := range []string{"app", "sleeper", "execer"} {
		r.order(name+".started", name+".preStop.begin", name+".preStop.end", name+".signal.TERM", name+".exited(0)")
	}
	r.order("app.postStart.end", "sleeper.postStart.begin", "sleeper.postStart.end", "execer.started")
	for _, hook := range []string{"postStart", "preStop"} {
		from, to := r.moment("sleeper."+hook+".begin"), r.moment("sleeper."+hook+".end")
		if took := to.To.Sub(from.From); took < time.Second {
			t.Errorf("%s slept for %s, want 1 s", hook, took)
		}
	}
}

func TestWhatMindsNoTERMIsKilledWhenItsGraceIsOver(t *testing.T) { // TM-14
	t.Parallel()
	r := trial{
		pod: podNamed("deaf", `
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: SIDEKICK
      args: [app, --ignore-term]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`),
		steps: []step{deleted().after(ready)},
	}.run(t)
	r.order("app.signal.TERM", "app.signal.KILL", "app.exited(137)")
	if grace := r.moment("app.signal.KILL").From.Sub(r.moment("app.signal.TERM").From); grace < time.Second {
		t.Errorf("KILL came %s after TERM, want the grace of 1 s", grace)
	}
	if state := r.final.container("app").State.Terminated; state == nil || state.ExitCode != 137 || state.Reason != "Error" {
		t.Errorf("got state %+v, want 137 and Error", state)
	}
	contains(t, "the app's log", r.log("app"), "ignored")
}

func TestTerminationMessages(t *testing.T) { // MS-01, MS-02, MS-05
	t.Parallel()
	r := trial{pod: podNamed("last-words", `
  restartPolicy: Never
  initContainers:
    - {name: init, image: SIDEKICK, args: [write, /dev/termination-log, from an init container]}
  containers:
    - {name: file, image: SIDEKICK, args: [write, /dev/termination-log, from the file]}
    - {name: path, image: SIDEKICK, args: [write, /tmp/said, from its own file], terminationMessagePath: /tmp/said, securityContext: {runAsUser: 1000}}
    - {name: silent, image: SIDEKICK, args: [get, "http://127.0.0.1:1/"]}
    - {name: log, image: SIDEKICK, args: [get, "http://127.0.0.1:1/"], terminationMessagePolicy: FallbackToLogsOnError}
    - {name: fine, image: SIDEKICK, args: [echo, all is well], terminationMessagePolicy: FallbackToLogsOnError}
`)}.run(t)
	for name, want := range map[string]string{"init": "from an init container\n", "file": "from the file\n", "path": "from its own file\n", "silent": "", "fine": ""} {
		if state := r.final.container(name).State.Terminated; state == nil || state.Message != want {
			t.Errorf("%s: got state %+v, want message %q", name, state, want)
		}
	}
	if state := r.final.container("log").State.Terminated; state == nil || !strings.Contains(state.Message, "refused") {
		t.Errorf("log: got state %+v, want the log's end as its message", state)
	}
}

func TestAnImageThatMayNotBePulledAndIsNotThere(t *testing.T) { // IM-02
	t.Parallel()
	r := trial{
		pod:   podNamed("imageless", "  containers: [{name: app, image: \"podsim.local/nowhere:1\", imagePullPolicy: Never}]\n"),
		steps: []step{deleted().after(waiting("app", "ErrImageNeverPull"))},
	}.run(t)
	r.never("app.started")
}

func TestACommandThatTheImageDoesNotHave(t *testing.T) { // PH-14
	t.Parallel()
	r := trial{
		pod:   podNamed("commandless", "  containers: [{name: app, image: SIDEKICK, command: [/nothing/here]}]\n"),
		steps: []step{deleted().after(waiting("app", "RunContainerError"))},
	}.run(t)
	found := false
	for rec := range r.view.All() {
		if rec.Failure != nil && rec.Failure.Reason == "RunContainerError" {
			found = true
			contains(t, "the failure", rec.Failure.Message, "/nothing/here", "no such file or directory")
		}
	}
	if !found {
		r.fatalf("no action failed with RunContainerError")
	}
}

func TestAMissingConfigMapKeepsThePodPending(t *testing.T) { // ST-03
	t.Parallel()
	r := trial{
		pod: podNamed("pending", `
  containers:
    - {name: app, image: SIDEKICK, args: [run], volumeMounts: [{name: config, mountPath: /config}]}
  volumes:
    - {name: config, configMap: {name: nobody-made-it}}
`),
		steps: []step{deleted().after(failedWith(pod.OpSetUp, "FailedMount"))},
	}.run(t)
	r.never("app.started")
	for rec := range r.view.All() {
		if rec.Failure != nil {
			contains(t, "the failure", rec.Failure.Message, "nobody-made-it")
		}
	}
}

func TestAMissingConfigMapOfTheEnvironmentIsAConfigError(t *testing.T) { // CM-05
	t.Parallel()
	r := trial{
		pod: podNamed("pending", `
  containers:
    - {name: app, image: SIDEKICK, args: [run], envFrom: [{configMapRef: {name: nobody-made-it}}]}
`),
		steps: []step{deleted().after(waiting("app", "CreateContainerConfigError"))},
	}.run(t)
	r.never("app.started")
}
