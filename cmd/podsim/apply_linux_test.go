package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/supervisor"
)

// site is where the machine's pods are looked for.
func (m *machine) where() host.Site { return host.Site{StateDir: m.state, RunDir: m.run} }

// apply applies a manifest, and has the pod deleted when the test is over.
func (m *machine) apply(t *testing.T, name, text string) outcome {
	t.Helper()
	file := write(t, t.TempDir(), "pod.yaml", text)
	o := m.perform(t, m.state, "apply", "-f", file)
	t.Cleanup(func() {
		if o := m.perform(t, m.state, "delete", "pod", name, "--now", "--ignore-not-found"); o.code != exitOK {
			t.Errorf("delete pod %s: %s", name, o)
		}
	})
	return o
}

// await watches a pod until it is as asked, and returns it.
func (m *machine) await(t *testing.T, name, what string, as func(e supervisor.Event) bool) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var last *corev1.Pod
	enough := errors.New("enough")
	err := supervisor.Watch(ctx, m.where(), corev1.NamespaceDefault, name, func(e supervisor.Event) error {
		last = e.Pod
		if as(e) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("wait until %s: %v; the last version is %+v", what, err, last)
	}
	return last
}

func ready(e supervisor.Event) bool {
	return slices.ContainsFunc(e.Pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func TestAnAppliedPodRunsUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	m := site(t)
	text := podOf("detached", "Always", `args: [app], readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}`)
	if o := m.apply(t, "detached", text); o.code != exitOK || o.stdout != "pod/detached created\n" {
		t.Fatal(o)
	}
	p := m.await(t, "detached", "it is ready", ready)
	if p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" || p.Status.QOSClass == "" || p.Status.StartTime == nil || p.UID == "" || p.CreationTimestamp.IsZero() {
		t.Errorf("the object is not whole: %+v %+v", p.ObjectMeta, p.Status)
	}
	if o := m.apply(t, "detached", text); o.code != exitOK || o.stdout != "pod/detached unchanged\n" {
		t.Error(o)
	}
	last := make(chan *corev1.Pod, 1)
	watching := make(chan struct{})
	go func() {
		begun := sync.OnceFunc(func() { close(watching) })
		last <- m.await(t, "detached", "it is gone", func(e supervisor.Event) bool { begun(); return e.Type == supervisor.Deleted })
	}()
	<-watching
	if o := m.perform(t, m.state, "delete", "pod", "detached"); o.code != exitOK || o.stdout != "pod \"detached\" deleted from default namespace\n" {
		t.Error(o)
	}
	if p := <-last; p.Status.Phase != corev1.PodSucceeded || p.DeletionTimestamp == nil || p.Status.ContainerStatuses[0].State.Terminated == nil {
		t.Errorf("DELETED does not carry the terminal status: %+v", p.Status)
	}
	if o := m.perform(t, m.state, "delete", "pod", "detached"); o.code != exitFailed || !strings.Contains(o.stderr, `Error from server (NotFound): pods "detached" not found`) {
		t.Error(o)
	}
}

func TestAPodChangesInPlaceWhenItIsAppliedAgain(t *testing.T) {
	t.Parallel()
	m := site(t)
	if o := m.perform(t, m.state, "image", "make", "podsim.local/sidekick:other", filepath.Join(m.bundle, "sidekick")); o.code != exitOK {
		t.Fatal(o)
	}
	text := `apiVersion: v1
kind: ConfigMap
metadata: {name: changing}
data: {greeting: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: changing, labels: {release: one}}
spec:
  restartPolicy: Never
  containers:
    - {name: main, image: "podsim.local/sidekick:dev", imagePullPolicy: IfNotPresent, args: [app],
       volumeMounts: [{name: config, mountPath: /config}],
       readinessProbe: {exec: {command: [/sidekick, contains, /config/greeting, hello]}, periodSeconds: 1}}
  volumes: [{name: config, configMap: {name: changing}}]
`
	if o := m.apply(t, "changing", text); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "changing", "it is ready", ready)

	other := strings.ReplaceAll(text, "sidekick:dev", "sidekick:other")
	if o := m.apply(t, "changing", other); o.stdout != "pod/changing configured\n" {
		t.Fatal(o)
	}
	p := m.await(t, "changing", "the new image runs", func(e supervisor.Event) bool {
		c := e.Pod.Status.ContainerStatuses[0]
		// The new image is the new instance's, and shown once that runs.
		if other := c.Image == "podsim.local/sidekick:other"; other && c.RestartCount == 0 || !other && c.RestartCount > 0 && c.State.Running != nil {
			t.Errorf("image %s is shown of instance %d: %+v", c.Image, c.RestartCount, c.State)
		}
		return c.RestartCount == 1 && c.State.Running != nil && ready(e)
	})
	if p.Generation != 2 {
		t.Errorf("generation %d after one change of the spec", p.Generation)
	}

	changed := strings.ReplaceAll(strings.ReplaceAll(other, "greeting: hello", "greeting: bye"), "release: one", "release: two")
	if o := m.apply(t, "changing", changed); o.stdout != "pod/changing configured\n" {
		t.Fatal(o)
	}
	p = m.await(t, "changing", "the volume shows the new ConfigMap", func(e supervisor.Event) bool { return !ready(e) })
	if p.Labels["release"] != "two" || p.Status.ContainerStatuses[0].RestartCount != 1 {
		t.Errorf("labels %v, restarts %d", p.Labels, p.Status.ContainerStatuses[0].RestartCount)
	}

	forbidden := strings.ReplaceAll(changed, "args: [app]", "args: [run]")
	if o := m.apply(t, "changing", forbidden); o.code != exitFailed || !strings.Contains(o.stderr, "may not change spec.containers[0].args[0]") {
		t.Error(o)
	}
}

// What was created ahead of its turn is of the image that the pod had then.
func TestAnImageChangedBeforeAContainersStartIsTheOneThatStarts(t *testing.T) {
	t.Parallel()
	m := site(t)
	another := filepath.Join(t.TempDir(), "another")
	if err := os.Link(filepath.Join(m.bundle, "sidekick"), another); err != nil {
		binary, rerr := os.ReadFile(filepath.Join(m.bundle, "sidekick"))
		if err := errors.Join(rerr, os.WriteFile(another, binary, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if o := m.perform(t, m.state, "image", "make", "podsim.local/another:1", another); o.code != exitOK {
		t.Fatal(o)
	}
	text := `apiVersion: v1
kind: Pod
metadata: {name: early}
spec:
  initContainers:
    - {name: gate, image: "podsim.local/sidekick:dev", imagePullPolicy: IfNotPresent, args: [app, --start-delay, 2s], restartPolicy: Always,
       startupProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 60}}
  containers:
    - {name: main, image: "podsim.local/sidekick:dev", imagePullPolicy: IfNotPresent, args: [app, --listen, ":9000"],
       readinessProbe: {exec: {command: [/another, "true"]}, periodSeconds: 1}}
`
	if o := m.apply(t, "early", text); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "early", "the gate runs", func(e supervisor.Event) bool { return e.Pod.Status.InitContainerStatuses[0].State.Running != nil })
	text = strings.Replace(text, `{name: main, image: "podsim.local/sidekick:dev"`, `{name: main, image: "podsim.local/another:1"`, 1)
	if o := m.apply(t, "early", text); o.code != exitOK || o.stdout != "pod/early configured\n" {
		t.Fatal(o)
	}
	if p := m.await(t, "early", "it is ready", ready); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("main was started %d times before", p.Status.ContainerStatuses[0].RestartCount)
	}
}

func TestALostPodIsShownAndTakenAway(t *testing.T) {
	t.Parallel()
	m := site(t)
	for _, by := range []string{"delete", "clean"} {
		name := "lost-to-" + by
		if o := m.apply(t, name, podOf(name, "Always", `args: [app]`)); o.code != exitOK {
			t.Fatal(o)
		}
		m.await(t, name, "it runs", ready)
		f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, name)
		if err != nil {
			t.Fatal(err)
		}
		kill(t, supervisorOf(t, m, f.Run))
		if err := f.AwaitGone(context.Background()); err != nil {
			t.Fatal(err)
		}
		f, err = supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, name)
		if err != nil || !f.Lost || f.Pod.Status.Phase != corev1.PodUnknown || f.Pod.Status.Reason != "SupervisorLost" || f.Pod.Status.ContainerStatuses[0].ContainerID == "" {
			t.Errorf("the lost pod is %+v, %v", f, err)
		}
		if o := m.apply(t, name, podOf(name, "Always", `args: [app]`)); o.code != exitFailed || !strings.Contains(o.stderr, "the supervisor of pod") {
			t.Error(o)
		}
		args := []string{"delete", "pod", name}
		if by == "clean" {
			args = []string{"clean", f.Run}
		}
		if o := m.perform(t, m.state, args...); o.code != exitOK {
			t.Error(o)
		}
		if _, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, name); err == nil {
			t.Errorf("after podsim %s the pod is still there", by)
		}
	}
}

// What a crash has left of a timeline keeps nobody from the other pods, nor from taking the lost one away.
func TestALostPodWithoutATimelineIsShownByItsName(t *testing.T) {
	t.Parallel()
	m := site(t)
	for _, damage := range []func(path string) error{os.Remove, func(path string) error { return os.Truncate(path, 0) }} {
		if o := m.apply(t, "torn", podOf("torn", "Always", `args: [app]`)); o.code != exitOK {
			t.Fatal(o)
		}
		f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, "torn")
		if err != nil {
			t.Fatal(err)
		}
		kill(t, supervisorOf(t, m, f.Run))
		if err := errors.Join(f.AwaitGone(context.Background()), damage(filepath.Join(f.Dir, "timeline.jsonl"))); err != nil {
			t.Fatal(err)
		}
		found, err := supervisor.List(context.Background(), m.where())
		if err != nil || !slices.ContainsFunc(found, func(f supervisor.Found) bool { return f.Lost && f.Pod.Name == "torn" && f.Pod.Status.Message != "" }) {
			t.Errorf("the list is %+v, %v", found, err)
		}
		if o := m.perform(t, m.state, "apply", "-f", write(t, t.TempDir(), "pod.yaml", podOf("torn", "Always", `args: [app]`))); o.code != exitFailed || !strings.Contains(o.stderr, "the supervisor of pod") {
			t.Error(o)
		}
		if o := m.perform(t, m.state, "delete", "pod", "torn"); o.code != exitOK {
			t.Error(o)
		}
	}
}

// PH-07: what a pod came to stays so.
func TestAFinishedPodKeepsItsResultAndTakesLabels(t *testing.T) {
	t.Parallel()
	m := site(t)
	text := podOf("finished", "Never", `args: [echo, hello]`)
	if o := m.apply(t, "finished", text); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "finished", "it has succeeded", func(e supervisor.Event) bool { return e.Pod.Status.Phase == corev1.PodSucceeded })
	labelled := strings.Replace(text, "metadata: {name: finished}", "metadata: {name: finished, labels: {a: b}}", 1)
	if o := m.apply(t, "finished", labelled); o.code != exitOK || o.stdout != "pod/finished configured\n" {
		t.Error(o)
	}
	f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, "finished")
	if err != nil || f.Pod.Labels["a"] != "b" || f.Pod.Status.Phase != corev1.PodSucceeded || f.Pod.Status.ObservedGeneration != 1 {
		t.Errorf("the pod is %+v, %v", f.Pod, err)
	}
	if o := m.perform(t, m.state, "debug", "finished", "--image", "x:1", "-c", "dbg"); o.code != exitFailed || !strings.Contains(o.stderr, "has ended") {
		t.Error(o)
	}
	kill(t, supervisorOf(t, m, f.Run))
	if err := f.AwaitGone(context.Background()); err != nil {
		t.Fatal(err)
	}
	if o := m.perform(t, m.state, "get", "pod", "finished"); o.code != exitOK || !strings.Contains(o.stdout, "Completed") {
		t.Error(o)
	}
}

// supervisorOf is the process that listens on a run's socket.
func supervisorOf(t *testing.T, m *machine, run string) int {
	t.Helper()
	c, err := net.Dial("unix", m.where().Socket(run))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var cred *syscall.Ucred
	if err := errors.Join(raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}), err); err != nil {
		t.Fatal(err)
	}
	return int(cred.Pid)
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestOfTwoAppliesAtOnceOneCreatesThePod(t *testing.T) {
	t.Parallel()
	m := site(t)
	text := podOf("raced", "Always", `args: [app]`)
	file := write(t, t.TempDir(), "pod.yaml", text)
	said := make(chan string)
	for range 3 {
		go func() {
			o := m.perform(t, m.state, "apply", "-f", file)
			said <- fmt.Sprint(o.code, " ", o.stdout)
		}()
	}
	all := []string{<-said, <-said, <-said}
	slices.Sort(all)
	if want := []string{"0 pod/raced created\n", "0 pod/raced unchanged\n", "0 pod/raced unchanged\n"}; !slices.Equal(all, want) {
		t.Errorf("they said %q, want %q", all, want)
	}
	if o := m.perform(t, m.state, "delete", "-f", file, "--now"); o.code != exitOK || o.stdout != "pod \"raced\" deleted from default namespace\n" {
		t.Error(o)
	}
}

func TestASupervisorOutlivesItsTerminalAndAnswersOnlyItsOwner(t *testing.T) {
	t.Parallel()
	m := site(t)
	if o := m.apply(t, "owned", podOf("owned", "Always", `args: [app]`)); o.code != exitOK {
		t.Fatal(o)
	}
	f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, "owned")
	if err != nil {
		t.Fatal(err)
	}
	pid := supervisorOf(t, m, f.Run)
	if session, err := unix.Getsid(pid); err != nil || session != pid {
		t.Errorf("the supervisor %d is of session %d, %v; want one of its own", pid, session, err)
	}
	socket := m.where().Socket(f.Run)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	// Also where the mode would let them in, others are shown the door.
	if err := errors.Join(os.Chmod(socket, 0o777), os.Chmod(m.run, 0o711), os.Chmod(filepath.Dir(socket), 0o711)); err != nil {
		t.Fatal(err)
	}
	if n, err := askAs(t, 65534, socket); n != 0 {
		t.Errorf("another user asked, and got %d bytes, %v", n, err)
	}
	if n, err := askAs(t, 0, socket); n == 0 {
		t.Errorf("root asked, and got nothing: %v", err)
	}
}

// askAs asks a socket for its pod as another user, and returns how many bytes came back.
func askAs(t *testing.T, uid int, socket string) (n int, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread is another user's from now on, and ends with this goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			err = errno
			return
		}
		var fd int
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
			return
		}
		_, _ = unix.Write(fd, []byte("GET /pod HTTP/1.1\r\nHost: x\r\n\r\n")) // it may be closed by now
		n, err = unix.Read(fd, make([]byte, 64))
		n = max(n, 0)
	}()
	<-done
	return n, err
}

func TestAnEphemeralContainerSharesItsTargetsProcesses(t *testing.T) { // EC-01, EC-02
	t.Parallel()
	m := site(t)
	if o := m.apply(t, "debugged", podOf("debugged", "Never", `args: [app, --exit-after, 20s]`)); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "debugged", "it runs", ready)
	if o := m.perform(t, m.state, "debug", "debugged", "--image", "podsim.local/sidekick:dev", "-c", "dbg", "--image-pull-policy", "Never", "--target", "main",
		"--", "/sidekick", "contains", "/proc/1/cmdline", "--exit-after"); o.code != exitOK {
		t.Fatal(o)
	}
	p := m.await(t, "debugged", "the ephemeral container has ended", func(e supervisor.Event) bool {
		s := e.Pod.Status.EphemeralContainerStatuses
		return len(s) == 1 && s[0].State.Terminated != nil
	})
	if end := p.Status.EphemeralContainerStatuses[0].State.Terminated; end.ExitCode != 0 || p.Status.Phase != corev1.PodRunning {
		t.Errorf("it ended with %+v, and the pod is %s", end, p.Status.Phase)
	}
	if o := m.perform(t, m.state, "debug", "debugged", "--image", "x:1", "-c", "main"); o.code != exitUsage || !strings.Contains(o.stderr, "Duplicate value") {
		t.Error(o)
	}
}
