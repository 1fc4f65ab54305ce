package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/supervisor"
)

func TestLogsAreThoseOfKubectl(t *testing.T) { // MS-03, IN-12
	t.Parallel()
	m := site(t)
	if o := m.apply(t, "logged", `apiVersion: v1
kind: ConfigMap
metadata: {name: logged}
data: {text: "one\ntwo\nthree, without a newline"}
---
apiVersion: v1
kind: Pod
metadata: {name: logged}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: text, configMap: {name: logged}}]
  initContainers:
    - {name: first, image: "podsim.local/sidekick:dev", args: [echo, prepared]}
  containers:
    - {name: main, image: "podsim.local/sidekick:dev", args: [app]}
    - {name: crashing, image: "podsim.local/sidekick:dev", args: [cat, /text/text, /nothing], volumeMounts: [{name: text, mountPath: /text}]}
`); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "logged", "a container has crashed twice", func(e supervisor.Event) bool {
		for _, c := range e.Pod.Status.ContainerStatuses {
			if c.Name == "crashing" && c.RestartCount >= 1 && c.LastTerminationState.Terminated != nil {
				return true
			}
		}
		return false
	})
	for _, c := range []struct {
		args                   string
		code                   int
		stdout, stderr, begins string
	}{
		{args: "logged -c first", stdout: "prepared\n"},
		{args: "pod/logged first --prefix", stdout: "[pod/logged/first] prepared\n"},
		{args: "logged", begins: "listening on ", stderr: "Defaulted container \"main\" out of: main, crashing, first (init)\n"},
		{args: "logged -c first --since-time 2100-01-01T00:00:00Z"},
		{args: "logged -c main -p", code: exitFailed, stderr: `podsim: Error from server (BadRequest): previous terminated container "main" in pod "logged" not found` + "\n"},
		{args: "logged -c nope", code: exitFailed, stderr: "podsim: container nope is not valid for pod logged out of: main, crashing, first (init)\n"},
		{args: "nosuch", code: exitFailed, stderr: `podsim: Error from server (NotFound): pods "nosuch" not found` + "\n"},
		{args: "logged -f --all-containers --max-log-requests 2", code: exitFailed, stderr: "podsim: you are attempting to follow 3 log streams, " +
			"but maximum allowed concurrency is 2, use --max-log-requests to increase the limit\n"},
		{args: "logged --since 1s --since-time 2026-01-01T00:00:00Z", code: exitUsage, stderr: "podsim: at most one of --since-time or --since may be specified\n"},
		{args: "logged --tail -2", code: exitUsage, stderr: "podsim: --tail must be greater than or equal to -1\n"},
	} {
		o := m.perform(t, m.state, append([]string{"logs"}, strings.Fields(c.args)...)...)
		if o.code != c.code || o.stderr != c.stderr || c.begins == "" && o.stdout != c.stdout || !strings.HasPrefix(o.stdout, c.begins) {
			t.Errorf("podsim logs %s: %s", c.args, o)
		}
	}
	if o := m.perform(t, m.state, "logs", "logged", "-c", "crashing", "-p"); o.code != exitOK || !strings.Contains(o.stdout, "one\ntwo\n") ||
		!strings.Contains(o.stdout, "open /nothing: no such file") || !strings.HasSuffix(o.stdout, "\nthree, without a newline") {
		t.Errorf("of the previous instance: %s", o)
	}
	if o := m.perform(t, m.state, "logs", "logged", "-c", "crashing", "--limit-bytes", "5"); o.code != exitOK || len(o.stdout) != 5 {
		t.Errorf("some bytes: %s", o)
	}
	if o := m.perform(t, m.state, "logs", "logged", "--all-containers", "--prefix", "--tail=1"); strings.Count(o.stdout, "[pod/logged/") != 3 {
		t.Errorf("of all containers: %s", o)
	}
	if o := m.perform(t, m.state, "logs", "logged", "first", "--timestamps"); o.code != exitOK {
		t.Error(o)
	} else if at, rest, _ := strings.Cut(o.stdout, " "); rest != "prepared\n" || len(at) != len("2026-01-02T15:04:05.000000000Z") {
		t.Errorf("with timestamps: %s", o)
	} else if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
		t.Error(err)
	}
}

// What is followed ends with the instance, also where another follows it.
func TestAFollowedLogBeginsAndEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	m := site(t)
	if o := m.apply(t, "followed", `apiVersion: v1
kind: Pod
metadata: {name: followed}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
    - {name: slow, image: "podsim.local/sidekick:dev", args: [sleep, 2s]}
  containers:
    - {name: main, image: "podsim.local/sidekick:dev", args: [echo, again]}
    - {name: app, image: "podsim.local/sidekick:dev", args: [app]}
`); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "followed", "its containers have statuses", func(e supervisor.Event) bool { return len(e.Pod.Status.ContainerStatuses) > 0 })
	if o := m.perform(t, m.state, "logs", "followed", "-c", "main"); o.code != exitFailed ||
		o.stderr != `podsim: Error from server (BadRequest): container "main" in pod "followed" is waiting to start: PodInitializing`+"\n" {
		t.Errorf("before it is followed: %s", o)
	}
	o := m.perform(t, m.state, "logs", "followed", "-c", "main", "-f")
	if o.code != exitOK || o.stdout != "again\n" || !strings.Contains(o.stderr, "is waiting to start: PodInitializing\n") {
		t.Errorf("one that has yet to start: %s", o)
	}
	app := begin(t, m.command(t, m.state, "logs", "followed", "-c", "app", "-f"))
	app.until("listening on")
	if o := m.perform(t, m.state, "delete", "pod", "followed"); o.code != exitOK {
		t.Fatal(o)
	}
	if o := app.end(); o.code != exitOK {
		t.Errorf("one whose pod is deleted: %s", o)
	}
}

func TestLogsOfALostPodCanBeReadAndEndAFollower(t *testing.T) {
	t.Parallel()
	m := site(t)
	if o := m.apply(t, "lostlogs", podOf("lostlogs", "Always", `args: [app]`)); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "lostlogs", "it runs", ready)
	f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, "lostlogs")
	if err != nil {
		t.Fatal(err)
	}
	follower := begin(t, m.command(t, m.state, "logs", "lostlogs", "-f"))
	follower.until("listening on")
	kill(t, supervisorOf(t, m, f.Run))
	followed := follower.end()
	if followed.code != exitOK {
		t.Errorf("one that is followed as its supervisor dies: %s", followed)
	}
	for _, more := range []string{"--tail=-1", "-f"} {
		if o := m.perform(t, m.state, "logs", "lostlogs", more); o.code != exitOK || o.stdout != followed.stdout {
			t.Errorf("logs %s of the lost pod: %s, want %q", more, o, followed.stdout)
		}
	}
}

// A container that prints more than a file holds, and one who reads along.
func TestMS04ARotatedLogIsReadWhole(t *testing.T) {
	t.Parallel()
	m := site(t)
	var text strings.Builder
	for i := 0; text.Len() < 500_000; i++ {
		fmt.Fprintf(&text, "    %06d %s\n", i, strings.Repeat("x", 40))
	}
	lines := strings.Count(text.String(), "\n")
	const times = 40
	if o := m.apply(t, "rotated", fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: rotated}
data:
  text: |
%s
---
apiVersion: v1
kind: Pod
metadata: {name: rotated}
spec:
  restartPolicy: Never
  volumes: [{name: text, configMap: {name: rotated}}]
  initContainers:
    - {name: wait, image: "podsim.local/sidekick:dev", args: [sleep, 500ms]}
  containers:
    - {name: main, image: "podsim.local/sidekick:dev", args: [%s], volumeMounts: [{name: text, mountPath: /text}]}
`, strings.TrimSuffix(text.String(), "\n"), "cat"+strings.Repeat(", /text/text", times))); o.code != exitOK {
		t.Fatal(o)
	}
	followed := m.perform(t, m.state, "logs", "rotated", "-c", "main", "-f")
	m.await(t, "rotated", "it has ended", func(e supervisor.Event) bool { return e.Pod.Status.Phase == corev1.PodSucceeded })
	f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, "rotated")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(f.Dir, "logs", "rotated", "main"))
	if err != nil || len(files) < 2 {
		t.Errorf("the log's files are %v, %v; want it rotated", files, err)
	}
	want := strings.Repeat(strings.ReplaceAll(text.String(), "    ", ""), times)
	if followed.code != exitOK || followed.stdout != want {
		t.Errorf("followed: code %d, %d bytes of %d; %s", followed.code, len(followed.stdout), len(want), followed.stderr)
	}
	if o := m.perform(t, m.state, "logs", "rotated", "-c", "main"); o.code != exitOK || o.stdout != want {
		t.Errorf("read: code %d, %d bytes of %d; %s", o.code, len(o.stdout), len(want), o.stderr)
	}
	n := lines + 2
	tail := strings.SplitAfter(want, "\n")
	tail = tail[len(tail)-1-n:]
	if o := m.perform(t, m.state, "logs", "rotated", "-c", "main", fmt.Sprintf("--tail=%d", n)); o.code != exitOK || o.stdout != strings.Join(tail, "") {
		t.Errorf("the last %d lines: code %d, %d lines; %s", n, o.code, strings.Count(o.stdout, "\n"), o.stderr)
	}
}
