package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// sharing is the beginning of the specification of a pod whose containers share their processes.
const sharing = `
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 10
`

func TestContainersThatShareTheirProcessesSeeEachOther(t *testing.T) { // NS-01, NS-11
	t.Parallel()
	app, side := sidekickIn("app", "stat", "/proc/self/ns/pid"), sidekickIn("side", "stat", "/proc/self/ns/pid")
	app.name, side.name = "app's", "side's"
	r := trial{
		pod: podNamed("together", sharing+`
  initContainers:
    - {name: side, image: SIDEKICK, args: [app, --listen, ":9000"], restartPolicy: Always}
    - {name: first, image: SIDEKICK, args: [cat, /proc/1/cmdline]}
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`),
		steps: []step{app.after(ready), side, sidekickIn("app", "cat", "/proc/1/cmdline"), deleted()},
	}.run(t)
	if a, b := namespaceIn(r.output("app's")), namespaceIn(r.output("side's")); a == "" || a != b {
		t.Errorf("app is in PID namespace %q, side in %q; want the same", a, b)
	}
	contains(t, "an init container's process 1", r.log("first"), initProgram)
	contains(t, "the app's process 1", r.output("cat /proc/1/cmdline"), initProgram)
	// A signal to a container goes to its own main process, which ends by it and not by KILL.
	r.order("app.signal.TERM", "app.exited(0)", "side.signal.TERM", "side.exited(0)")
	r.never("app.signal.KILL")
	if n := len(r.final.status.ContainerStatuses) + len(r.final.status.InitContainerStatuses); n != 3 {
		t.Errorf("the pod has %d container statuses, want 3: the first process is none of its containers", n)
	}
}

func TestOrphansOfASharedNamespaceAreReaped(t *testing.T) { // NS-11
	t.Parallel()
	trial{
		pod: podNamed("orphans", sharing+`
  containers:
    - {name: app, image: PROG, args: [orphan, /data/pid], volumeMounts: [{name: data, mountPath: /data}]}
    - {name: tools, image: PROG, args: [listen], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, emptyDir: {}}]
`),
		steps: []step{in("gone", "tools", "/prog", "gone", "/data/pid").after(running("tools")), deleted()},
	}.run(t).output("gone")
}

func TestWhatAContainerLeavesInASharedNamespaceEndsWithIt(t *testing.T) { // NS-11
	t.Parallel()
	trial{
		pod: podNamed("stays", sharing+`
  restartPolicy: OnFailure
  containers:
    - {name: tools, image: PROG, args: [listen], volumeMounts: [{name: data, mountPath: /data}]}
    - {name: app, image: PROG, args: [leave, sleep, /data/pid], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, emptyDir: {}}]
`),
		steps: []step{in("gone", "tools", "/prog", "gone", "/data/pid").after(running("tools")), deleted()},
	}.run(t).output("gone")
}

func TestAPodComesBackWhenItsFirstProcessWasKilled(t *testing.T) { // NS-11
	t.Parallel()
	r := trial{
		pod: podNamed("killed", sharing+`
  containers:
    - {name: app, image: SIDEKICK, args: [run]}
    - {name: tools, image: SIDEKICK, args: [run]}
`),
		steps: []step{
			sidekickIn("tools", "kill", "-TERM", "1").after(running("tools")),
			sidekickIn("app", "cat", "/proc/1/cmdline").after(func(l look) bool { return restarted("app", 1)(l) && restarted("tools", 1)(l) }),
			deleted(),
		},
	}.run(t)
	if x, _ := r.exit("app", 0); x.Code != 137 {
		t.Errorf("got exit %+v, want 137: the namespace ended with its first process", x)
	}
	contains(t, "process 1 after it", r.output("cat /proc/1/cmdline"), initProgram)
}

func TestTheBundleNeedsTheFirstProcessOnlyForPodsThatShare(t *testing.T) {
	dir := t.TempDir()
	for _, name := range bundled {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	yes := true
	for _, share := range []*bool{nil, &yes} {
		f := findBundle(Config{Bundle: dir, Pods: []*corev1.Pod{{Spec: corev1.PodSpec{ShareProcessNamespace: share}}}})
		if missing := f.Level == Broken && strings.Contains(f.Detail, initProgram); missing != (share != nil) {
			t.Errorf("shareProcessNamespace %v: got finding %+v", share, f)
		}
	}
}
