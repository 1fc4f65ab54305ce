package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podsim/podsim/podsim/pod"
)

func TestTheEnvironmentIsWhatThePodSays(t *testing.T) { // CM-02..05, DW-01, DW-04
	t.Parallel()
	r := trial{pod: podNamed("talker", `
  restartPolicy: Never
  containers:
    - name: app
      image: SIDEKICK
      command: [/sidekick, echo]
      args: ["$(GREETING)", "$(WHERE)", "$$(GREETING)", "$(NOBODY)"]
      env:
        - {name: WHO, value: world}
        - {name: GREETING, value: "hello $(WHO)"}
        - {name: WHERE, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - name: env
      image: SIDEKICK
      args: [env]
      resources: {limits: {memory: 64Mi, cpu: 500m}}
      envFrom: [{secretRef: {name: secrets}, prefix: S_}]
      env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: SPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}
        - {name: ABSENT, valueFrom: {configMapKeyRef: {name: settings, key: absent, optional: true}}}
        - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
`) + `
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: high}
---
apiVersion: v1
kind: Secret
metadata: {name: secrets}
stringData: {word: xyzzy}
`}.run(t)
	ip := r.final.status.PodIP
	if want := "hello world " + ip + " $(GREETING) $(NOBODY)"; r.log("app") != want {
		t.Errorf("got arguments %q, want %q", r.log("app"), want)
	}
	got := strings.Split(r.log("env"), "\n")
	want := []string{"NAME=talker", "SPACE=default", "UID=" + string(r.pod.UID), "NODE=" + NodeName, "IP=" + ip, "LEVEL=high", "S_word=xyzzy",
		"MEMORY=64", "HOSTNAME=talker"}
	for _, w := range want {
		contains(t, "the environment", "\n"+strings.Join(got, "\n")+"\n", "\n"+w+"\n")
	}
	if strings.Contains(r.log("env"), "ABSENT") {
		t.Error("an optional key that is not there has a variable")
	}
}

func TestVolumesAreMountedAsTheyAre(t *testing.T) { // VO-01..13
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "from-host"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := trial{
		pod: podNamed("mounter", `
  initContainers:
    - {name: fill, image: SIDEKICK, args: [init, --write, /data/below/file=deep, --write, /fast/x=quick], volumeMounts: [{name: disk, mountPath: /data}, {name: memory, mountPath: /fast}]}
  containers:
    - name: app
      image: SIDEKICK
      args: [run]
      env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
      volumeMounts:
        - {name: config, mountPath: /config}
        - {name: one, mountPath: /one}
        - {name: secret, mountPath: /secret, readOnly: true}
        - {name: config, mountPath: /etc/level, subPath: level}
        - {name: disk, mountPath: /sub, subPath: below}
        - {name: disk, mountPath: /expr, subPathExpr: "for-$(POD)"}
        - {name: disk, mountPath: /frozen, readOnly: true}
        - {name: memory, mountPath: /fast}
        - {name: host, mountPath: /host}
        - {name: labels, mountPath: /labels}
  volumes:
    - {name: disk, emptyDir: {}}
    - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
    - {name: config, configMap: {name: settings, defaultMode: 0440}}
    - {name: one, configMap: {name: settings, items: [{key: level, path: deep/name, mode: 0400}]}}
    - {name: secret, secret: {secretName: secrets}}
    - {name: host, hostPath: {path: `+outside+`, type: Directory}}
    - {name: labels, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
`) + `
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: high, other: thing}
---
apiVersion: v1
kind: Secret
metadata: {name: secrets}
stringData: {word: xyzzy}
`,
		steps: []step{
			sidekickIn("app", "cat", "/config/level").after(running("app")),
			sidekickIn("app", "cat", "/config/other"),
			sidekickIn("app", "cat", "/one/deep/name"),
			sidekickIn("app", "cat", "/secret/word"),
			sidekickIn("app", "cat", "/etc/level"),
			sidekickIn("app", "cat", "/sub/file"),
			sidekickIn("app", "touch", "/expr/here"),
			sidekickIn("app", "exists", "/data"),
			sidekickIn("app", "cat", "/frozen/below/file"),
			sidekickIn("app", "exists", "/frozen/for-mounter/here"),
			sidekickIn("app", "touch", "/frozen/x"),
			sidekickIn("app", "touch", "/secret/x"),
			sidekickIn("app", "cat", "/fast/x"),
			sidekickIn("app", "cat", "/host/from-host"),
			sidekickIn("app", "write", "/host/from-pod", "hello yourself"),
			sidekickIn("app", "cat", "/proc/mounts"),
			deleted(),
		},
	}.run(t)
	for name, want := range map[string]string{
		"cat /config/level": "high", "cat /config/other": "thing", "cat /one/deep/name": "high", "cat /secret/word": "xyzzy", "cat /etc/level": "high",
		"cat /sub/file": "deep", "touch /expr/here": "", "cat /frozen/below/file": "deep", "exists /frozen/for-mounter/here": "", "cat /fast/x": "quick",
		"cat /host/from-host": "hello", "write /host/from-pod hello yourself": "",
	} {
		if got := r.output(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"exists /data", "touch /frozen/x", "touch /secret/x"} {
		if e := r.answer(name); e.Output == nil || e.Output.Code == 0 {
			t.Errorf("%s: got %+v, want it to fail", name, e.Output)
		}
	}
	mounts := r.output("cat /proc/mounts")
	for _, line := range strings.Split(mounts, "\n") {
		f := strings.Fields(line)
		if len(f) > 3 && (f[1] == "/fast" || f[1] == "/secret") && f[2] != "tmpfs" {
			t.Errorf("%s is a %s, want a tmpfs", f[1], f[2])
		}
		if len(f) > 3 && f[1] == "/fast" && !strings.Contains(f[3], "size=1024k") {
			t.Errorf("/fast has options %s, want size=1024k", f[3])
		}
	}
	if got, err := os.ReadFile(filepath.Join(outside, "from-pod")); err != nil || string(got) != "hello yourself\n" {
		t.Errorf("the host sees %q, %v", got, err)
	}
}

func TestFilesAreReadInAContainerAsItsProcessesSeeThem(t *testing.T) {
	t.Parallel()
	read := func(file string) step {
		return step{name: file, do: pod.Action{Op: pod.OpRead, Container: "app", Read: &pod.Read{File: file}}}
	}
	r := trial{
		pod: podNamed("readable", `
  containers:
    - {name: app, image: SIDEKICK, args: [run], volumeMounts: [{name: config, mountPath: /config}]}
  volumes:
    - {name: config, configMap: {name: settings, items: [{key: level, path: level, mode: 0400}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: high}
`),
		steps: []step{read("/config/level").after(running("app")), read("/nothing"), read("/config"), read("/proc/1/root/etc/passwd"), deleted()},
	}.run(t)
	if c := r.answer("/config/level").Content; c == nil || c.Data != "high" || c.Mode != 0o400 {
		t.Errorf("got %+v, want high with mode 0400", c)
	}
	if c := r.answer("/nothing").Content; c == nil || !c.Missing {
		t.Errorf("got %+v, want a missing file", c)
	}
	if c := r.answer("/config").Content; c == nil || !c.Dir {
		t.Errorf("got %+v, want a directory", c)
	}
	if e := r.answer("/proc/1/root/etc/passwd"); e.Content != nil && e.Content.Data != "" {
		t.Errorf("a magic link led out of the container: %+v", e.Content)
	}
}

func TestUsersAndGroups(t *testing.T) { // NS-03, VO-03
	t.Parallel()
	r := trial{pod: podNamed("who", `
  restartPolicy: Never
  securityContext: {runAsUser: 1234, runAsGroup: 2345, supplementalGroups: [3456], fsGroup: 4567}
  containers:
    - {name: pod, image: SIDEKICK, args: [id]}
    - {name: own, image: SIDEKICK, args: [id], securityContext: {runAsUser: 99, runAsNonRoot: true}}
    - {name: volume, image: SIDEKICK, args: [write, /data/x, mine], volumeMounts: [{name: data, mountPath: /data}]}
  volumes:
    - {name: data, emptyDir: {}}
`)}.run(t)
	contains(t, "the pod's user", r.log("pod"), "uid=1234 gid=2345", "3456", "4567", "host=who")
	contains(t, "the container's own user", r.log("own"), "uid=99 gid=2345")
	if x, _ := r.exit("volume", 0); x.Code != 0 {
		t.Errorf("the fsGroup may not write to the volume: exit %+v", x)
	}
}

func TestRootMayNotRunWhereItIsForbidden(t *testing.T) { // NS-04
	t.Parallel()
	r := trial{
		pod:   podNamed("rootless", "  containers: [{name: app, image: SIDEKICK, args: [run], securityContext: {runAsNonRoot: true}}]\n"),
		steps: []step{deleted().after(waiting("app", "CreateContainerConfigError"))},
	}.run(t)
	r.never("app.started")
	for rec := range r.view.All() {
		if rec.Failure != nil {
			contains(t, "the failure", rec.Failure.Message, "container has runAsNonRoot and image will run as root")
		}
	}
}

func TestAReadOnlyRootLeavesItsVolumesWritable(t *testing.T) { // NS-05
	t.Parallel()
	steps := []step{sidekickIn("app", "touch", "/x").after(running("app"))}
	for _, file := range []string{"/data/x", "/dev/termination-log", "/dev/shm/x", "/etc/hosts"} {
		steps = append(steps, sidekickIn("app", "write", file, "y"))
	}
	r := trial{
		pod: podNamed("frozen", `
  containers:
    - {name: app, image: SIDEKICK, args: [run], securityContext: {readOnlyRootFilesystem: true}, volumeMounts: [{name: data, mountPath: /data}]}
  volumes:
    - {name: data, emptyDir: {}}
`),
		steps: append(steps, deleted()),
	}.run(t)
	if e := r.answer("touch /x"); e.Output == nil || e.Output.Code == 0 || !strings.Contains(e.Output.Stderr, "read-only") {
		t.Errorf("touch /x: got %+v, want a read-only file system", e.Output)
	}
	for _, s := range steps[1:] {
		r.output(s.name)
	}
}

func TestNamesAndResolversOfThePod(t *testing.T) { // NW-05, NW-07..
	t.Parallel()
	r := trial{
		pod: podNamed("web", `
  hostname: front
  subdomain: tier
  hostAliases: [{ip: 10.1.2.3, hostnames: [database, db]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [10.9.8.7], searches: [example.test], options: [{name: ndots, value: "3"}]}
  containers:
    - {name: app, image: SIDEKICK, args: [run]}
`),
		steps: []step{
			sidekickIn("app", "cat", "/etc/hosts").after(running("app")),
			sidekickIn("app", "cat", "/etc/hostname"),
			sidekickIn("app", "cat", "/etc/resolv.conf"),
			sidekickIn("app", "id"),
			deleted(),
		},
	}.run(t)
	ip := r.final.status.PodIP
	contains(t, "/etc/hosts", r.output("cat /etc/hosts"), "127.0.0.1\tlocalhost", ip+"\tfront.tier.default.svc.cluster.local\tfront", "10.1.2.3\tdatabase\tdb")
	contains(t, "/etc/resolv.conf", r.output("cat /etc/resolv.conf"), "nameserver 10.9.8.7", "search example.test", "options ndots:3")
	contains(t, "id", r.output("id"), "host=front")
	if got := r.output("cat /etc/hostname"); got != "front" {
		t.Errorf("/etc/hostname: got %q, want front", got)
	}
}
