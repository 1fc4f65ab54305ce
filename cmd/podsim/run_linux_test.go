package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// podOf is a pod of one container of sidekick, whose further fields are given as YAML.
func podOf(name, restart, container string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: %s
  terminationGracePeriodSeconds: 30
  containers:
    - {name: main, image: "podsim.local/sidekick:dev", imagePullPolicy: IfNotPresent, %s}
`, name, restart, container)
}

func TestTheExitCodeAndTheLastLinesTellHowAPodEnded(t *testing.T) {
	m := site(t)
	for _, c := range []struct {
		name, pod string
		code      int
		stdout    []string
		stderr    []string
	}{
		{"a job that ends well", podOf("job", "Never", `args: [echo, hello]`), exitOK,
			[]string{"network ready", "main  started", "main | hello", "exited with code 0", "pod   gone"}, nil},
		{"a job that fails", podOf("job", "Never", `args: [get, "http://127.0.0.1:9/"]`), exitFailed,
			[]string{"exited with code 1"},
			[]string{"podsim: pod job ended: Failed\n  main: Error, exit code 1\n    | sidekick: refused: dial tcp 127.0.0.1:9"}},
		{"a container that dies at once", podOf("job", "Never", `args: [exit, "3"]`), exitFailed,
			[]string{"exited with code 3"}, []string{"main: Error, exit code 3"}},
		{"an image without the command", podOf("job", "Never", `command: [/no/such]`), exitFailed,
			[]string{"main  RunContainerError: ", `exec: "/no/such": stat /no/such: no such file or directory`},
			[]string{"main: StartError, exit code 128: ", `exec: "/no/such"`}},
		{"a port already in use in the pod", podOf("job", "Never", `args: [app, --exit-after, 1s, --exit-code, "0"]`) +
			`    - {name: second, image: "podsim.local/sidekick:dev", imagePullPolicy: IfNotPresent, args: [app, --start-delay, 300ms]}
`, exitFailed,
			[]string{"second  exited with code 1"}, []string{"second: Error, exit code 1\n    | ", "address already in use"}},
		{"a field that cannot be kept", podOf("job", "Never", `args: [echo, hello], securityContext: {seccompProfile: {type: RuntimeDefault}}`), exitOK,
			[]string{"main  warning: the seccomp profile is not applied"}, nil},
		{"a deadline", strings.Replace(podOf("job", "Never", `args: [app]`), "  terminationGrace", "  activeDeadlineSeconds: 1\n  terminationGrace", 1), exitFailed,
			[]string{"main  signal TERM (the pod's activeDeadlineSeconds have passed"}, []string{"podsim: pod job ended: Failed: DeadlineExceeded: "}},
		{"a postStart hook that fails", podOf("job", "Never", `args: [app, --term-code, "4"], lifecycle: {postStart: {exec: {command: [/sidekick, exit, "3"]}}}`), exitFailed,
			[]string{"main  FailedPostStartHook: command '/sidekick exit 3' exited with 3\n", "main  signal TERM (its postStart hook failed"}, []string{"main: Error, exit code 4"}},
		{"a probe that hangs", podOf("job", "Never", `args: [app, --hang, --term-code, "4"], livenessProbe: {httpGet: {path: /healthz, port: 8080}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1}`), exitFailed,
			[]string{"liveness probe failed: ", "context deadline exceeded", "main  signal TERM (its liveness probe failed)"}, []string{"main: Error, exit code 4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o := m.perform(t, dir, "run", write(t, dir, "pod.yaml", c.pod))
			wants(t, o, c.code, o.stdout, c.stdout...)
			wants(t, o, c.code, o.stderr, c.stderr...)
			if c.code == exitOK && o.stderr != "" {
				t.Errorf("stderr is not empty\n%s", o)
			}
		})
	}
}

// What a pod cannot begin for is said in the words of Kubernetes' events, once, and the pod waits as in a cluster.
func TestWhatHoldsAPodUpIsSaidInKubernetesWords(t *testing.T) {
	m := site(t)
	volume := "  volumes: [{name: v, hostPath: {path: /podsim/no/such, type: Directory}}]\n"
	for _, c := range []struct{ name, pod, conf, want string }{
		{"a volume that cannot be made", podOf("web", "Always", `args: [app], volumeMounts: [{name: v, mountPath: /v}]`) + volume, "",
			`pod   FailedMount: set up volume "v": hostPath type check failed: /podsim/no/such is not a directory`},
		{"a ConfigMap that is not there", podOf("web", "Always", `args: [app], envFrom: [{configMapRef: {name: none}}]`), "",
			`main  CreateContainerConfigError: configmap "none" not found`},
		{"a network that cannot be had", podOf("web", "Always", `args: [app]`), `{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "portmap"}]}`,
			"pod   FailedCreatePodSandBox: Failed to create pod sandbox: attach "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args := []string{"run", write(t, dir, "pod.yaml", c.pod)}
			if c.conf != "" {
				args = append(args, "--cni-conf", write(t, dir, "net.conflist", c.conf))
			}
			p := begin(t, m.command(t, dir, args...))
			p.until(c.want)
			p.signal(os.Interrupt)
			o := p.end()
			wants(t, o, exitInterrupted, o.stdout, "pod   deletion asked for (interrupted)", "pod   gone")
		})
	}
}

// A process is a podsim that runs while the test goes on.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	lines          chan string
	stdout, stderr bytes.Buffer
	joined         chan struct{}
}

func begin(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, lines: make(chan string, 1000), joined: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.joined)
		defer close(p.lines)
		for in := bufio.NewScanner(io.TeeReader(out, &p.stdout)); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	return p
}

// until waits for a line of the standard output that contains a text.
func (p *process) until(text string) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line, more := <-p.lines:
			if !more {
				p.t.Fatalf("podsim ended before it said %q\n%s", text, p.end())
			}
			if strings.Contains(line, text) {
				return
			}
		case <-deadline:
			_ = p.cmd.Process.Kill()
			p.t.Fatalf("podsim did not say %q\n%s", text, p.end())
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) end() outcome {
	<-p.joined
	_ = p.cmd.Wait()
	return outcome{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

func TestAnInterruptStopsAPodInOrder(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	pod := write(t, dir, "pod.yaml", strings.Replace(podOf("web", "Always", `args: [app]`), "  containers:", `  initContainers:
    - name: side
      image: podsim.local/sidekick:dev
      imagePullPolicy: IfNotPresent
      restartPolicy: Always
      args: [app, --listen, ":9000"]
      startupProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, failureThreshold: 60}
  containers:`, 1))
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		p := begin(t, m.command(t, dir, "run", pod))
		// Before they listen, these process 1 take no TERM; main starts when side does.
		p.until("main | listening on")
		p.signal(s)
		o := p.end()
		wants(t, o, exitInterrupted, o.stderr, "podsim: deleting the pod; interrupt again to end it at once\n")
		rest := o.stdout
		for _, line := range []string{"pod   deletion asked for (interrupted)", "main  signal TERM", "main  exited with code 0", "side  signal TERM", "side  exited with code 0", "pod   gone"} {
			_, after, found := strings.Cut(rest, line)
			if !found {
				t.Fatalf("no %q where it should be\n%s", line, o)
			}
			rest = after
		}
	}
}

// As in `podsim run pod.yaml | head -1`: nobody reads any more, and the pod is still stopped and cleaned up.
func TestAReaderThatGoesAwayDoesNotEndThePod(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	cmd := m.command(t, dir, "run", write(t, dir, "pod.yaml", podOf("brief", "Never", `args: [app, --exit-after, 1s]`)))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("podsim run: %v, want exit code 0: the pod succeeded", err)
	}
}

func TestASecondInterruptEndsAPodAtOnce(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	p := begin(t, m.command(t, dir, "run", write(t, dir, "pod.yaml", podOf("deaf", "Always", `args: [run, --ignore-term]`))))
	p.until("main  started")
	p.signal(os.Interrupt)
	p.until("signal TERM")
	begun := time.Now()
	p.signal(os.Interrupt)
	o := p.end()
	wants(t, o, exitInterrupted, o.stdout)
	if took := time.Since(begun); took > 25*time.Second {
		t.Errorf("it took %s, and the grace period is 30s\n%s", took, o)
	}
}

// An image that is not to be had: the pod waits as in a cluster, says clearly why, and can be interrupted.
func TestAnImageThatCannotBePulledIsSaidClearly(t *testing.T) {
	m := site(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 100)
	var joined = make(chan struct{})
	go func() { // takes connections and never answers
		defer close(joined)
		var held []net.Conn
		for {
			c, err := silent.Accept()
			if err != nil {
				for _, c := range held {
					_ = c.Close()
				}
				return
			}
			held = append(held, c)
			accepted <- struct{}{}
		}
	}()
	defer func() { _ = silent.Close(); <-joined }()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	image := func(ref, policy string) string {
		return strings.NewReplacer("podsim.local/sidekick:dev", ref, "IfNotPresent", policy).Replace(podOf("web", "Always", `args: [x]`))
	}
	t.Run("a registry that refuses", func(t *testing.T) {
		dir := t.TempDir()
		p := begin(t, m.command(t, dir, "run", write(t, dir, "pod.yaml", image(closed.Addr().String()+"/app:1", "IfNotPresent"))))
		p.until("connection refused")
		p.signal(os.Interrupt)
		o := p.end()
		wants(t, o, exitInterrupted, o.stdout, `main  ErrImagePull: Failed to pull image "`+closed.Addr().String(), "connection refused", "gone")
	})
	t.Run("a registry that does not answer", func(t *testing.T) {
		dir := t.TempDir()
		p := begin(t, m.command(t, dir, "run", write(t, dir, "pod.yaml", image(silent.Addr().String()+"/app:1", "IfNotPresent"))))
		select {
		case <-accepted:
		case <-time.After(30 * time.Second):
			t.Error("the registry was not asked")
		}
		begun := time.Now()
		p.signal(os.Interrupt)
		o := p.end()
		wants(t, o, exitInterrupted, o.stdout, "deletion asked for", "gone")
		if took := time.Since(begun); took > 35*time.Second {
			t.Errorf("it took %s to stop, which is more than the grace period\n%s", took, o)
		}
	})
	t.Run("one that is never pulled", func(t *testing.T) {
		dir := t.TempDir()
		p := begin(t, m.command(t, dir, "run", write(t, dir, "pod.yaml", image("app:1", "Never"))))
		p.until("ErrImageNeverPull")
		p.signal(os.Interrupt)
		o := p.end()
		wants(t, o, exitInterrupted, o.stdout, "the image is not present, and imagePullPolicy is Never")
	})
}

func TestAFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	small := filepath.Join(dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
	run := m.run + "f"
	defer os.RemoveAll(run) // what podsim left there is looked at below
	at := func(args ...string) outcome {
		return perform(t, command(t, dir, append([]string{"--state-dir", small + "/s", "--run-dir", run, "--bundle", m.bundle}, args...)...))
	}
	o := at("image", "make", "podsim.local/sidekick:dev", filepath.Join(m.bundle, "sidekick"))
	wants(t, o, exitHost, o.stderr, "no space left on device", "--state-dir")
	o = at("run", write(t, dir, "pod.yaml", podOf("web", "Never", `args: [echo, x]`)))
	wants(t, o, exitHost, o.stderr, "no space left on device", "--state-dir")
	o = at("ps")
	wants(t, o, exitOK, o.stdout, "RUN")
	if strings.Count(o.stdout, "\n") > 1 {
		t.Errorf("the run that could not begin left something\n%s", o)
	}
	o = at("clean")
	wants(t, o, exitOK, o.stdout)
}

func TestWithoutRootTheFixIsNamed(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir, err := os.MkdirTemp("", "podsim-user") // one that everybody can enter, unlike t.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // a temporary directory
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "podsim"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	pod := write(t, dir, "pod.yaml", podOf("web", "Never", `args: [echo, x]`))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"run", pod}, exitHost, "mend it with: sudo podsim"},
		{[]string{"ps"}, exitHost, "mend it with: sudo podsim"},
		{[]string{"clean"}, exitHost, "mend it with: sudo podsim"},
		{[]string{"image", "ls"}, exitHost, "mend it with: sudo podsim"},
		{[]string{"doctor"}, exitHost, "mend it with: sudo podsim"},
		{[]string{"plan", pod}, exitOK, "pod web: Succeeded"},
		{[]string{"--help"}, exitOK, "Exit codes:"},
	} {
		cmd := exec.Command(filepath.Join(dir, "podsim"), append([]string{"--bundle", m.bundle}, c.args...)...)
		cmd.Dir, cmd.Env = dir, []string{actVariable + "=1"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		o := perform(t, cmd)
		wants(t, o, c.code, o.stdout+o.stderr, c.want)
	}
}
