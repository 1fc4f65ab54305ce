package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/supervisor"
)

var progImage struct {
	sync.Once
	err error
}

// prog makes sure that there is an image of a program that says what it reads, and the size of its terminal.
func (m *machine) prog(t *testing.T) {
	t.Helper()
	progImage.Do(func() {
		path := filepath.Join(t.TempDir(), "prog")
		build := exec.Command("go", "build", "-o", path, "../../podsim/internal/ctrd/testdata/prog")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			progImage.err = errors.New(string(out))
		} else if o := m.perform(t, m.state, "image", "make", "podsim.local/prog:dev", path); o.code != exitOK {
			progImage.err = errors.New(o.String())
		}
	})
	if progImage.err != nil {
		t.Fatal(progImage.err)
	}
}

// applied applies a pod of one container that runs the program, and waits until it does.
func (m *machine) applied(t *testing.T, name, container string) {
	t.Helper()
	m.prog(t)
	text := strings.Replace(podOf(name, "Never", container), "sidekick:dev", "prog:dev", 1)
	if o := m.apply(t, name, text); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, name, "it runs", func(e supervisor.Event) bool {
		s := e.Pod.Status.ContainerStatuses
		return len(s) > 0 && s[0].State.Running != nil
	})
}

// A dialogue is a podsim that is talked to by pipes.
type dialogue struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *os.File
	raw bytes.Buffer
	err bytes.Buffer
}

func beginDialogue(t *testing.T, cmd *exec.Cmd) *dialogue {
	t.Helper()
	d := &dialogue{t: t, cmd: cmd}
	var err error
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d.out = r
	t.Cleanup(func() { _ = r.Close() })
	cmd.Stdout, cmd.Stderr = w, &d.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	return d
}

func (d *dialogue) say(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, text); err != nil {
		d.t.Fatal(err)
	}
}

// until reads until a text has come.
func (d *dialogue) until(text string) {
	d.t.Helper()
	if err := d.out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		d.t.Fatal(err)
	}
	piece := make([]byte, 4096)
	for !strings.Contains(d.raw.String(), text) {
		n, err := d.out.Read(piece)
		d.raw.Write(piece[:n])
		if err != nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
			d.t.Fatalf("wait for %q: %v; there came %q and %q", text, err, &d.raw, &d.err)
		}
	}
}

// end closes the input and waits for the end.
func (d *dialogue) end() outcome {
	d.t.Helper()
	_ = d.in.Close()
	_, _ = d.raw.ReadFrom(d.out)
	_ = d.cmd.Wait()
	return outcome{d.cmd.ProcessState.ExitCode(), d.raw.String(), d.err.String()}
}

func TestExecRunsCommandsInAppliedPods(t *testing.T) {
	t.Parallel()
	m := site(t)
	m.applied(t, "visited", `args: [block], env: [{name: GREETING, value: hello}], securityContext: {runAsUser: 5, runAsGroup: 6}`)
	do := func(args ...string) outcome { return m.perform(t, m.state, append([]string{"exec"}, args...)...) }

	wants(t, do("visited", "--", "/prog", "exit", "42"), 42, "")
	if o := do("pod/visited", "-c", "main", "--", "/prog", "id"); o != (outcome{0, "5 6 [6] / hello\n", ""}) {
		t.Error(o)
	}
	if o := do("visited", "--", "/prog", "say", "out", "err"); o != (outcome{0, "out\n", "err\n"}) {
		t.Error(o)
	}
	if o := do("visited", "--", "/prog", "exit", "3"); o != (outcome{3, "", "command terminated with exit code 3\n"}) {
		t.Error(o)
	}
	if o := do("visited", "-q", "--", "/prog", "exit", "3"); o != (outcome{3, "", ""}) {
		t.Error(o)
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{127, "OCI runtime exec failed", []string{"visited", "--", "nope"}},
		{126, "OCI runtime exec failed", []string{"visited", "--", "/etc"}},
		{1, `container nope is not valid for pod visited out of: main`, []string{"visited", "-c", "nope", "--", "/prog"}},
		{1, `Error from server (NotFound): pods "nobody" not found`, []string{"nobody", "--", "/prog"}},
		{1, `Error from server (NotFound): pods "visited" not found`, []string{"visited", "-n", "elsewhere", "--", "/prog"}},
		{2, "podsim exec POD -- COMMAND", []string{"visited"}},
		{2, "podsim exec POD -- COMMAND", []string{"visited", "/prog"}},
		{2, "podsim has pods only", []string{"deploy/visited", "--", "/prog"}},
	} {
		o := do(c.args...)
		wants(t, o, c.code, o.stderr, c.says)
	}

	d := beginDialogue(t, m.command(t, m.state, "exec", "-i", "-t", "visited", "--", "/prog", "echo"))
	d.until("reading\n")
	d.say("one\n")
	d.until("got one\n")
	if o := d.end(); o != (outcome{5, "reading\ngot one\n", "Unable to use a TTY - input is not a terminal or the right kind of file\nover\ncommand terminated with exit code 5\n"}) {
		t.Error(o)
	}

	d = beginDialogue(t, m.command(t, m.state, "exec", "visited", "--", "/prog", "block"))
	d.until("ready\n")
	if err := d.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if o := d.end(); o.code != 7 || o.stdout != "ready\nbye\n" {
		t.Error(o)
	}

	d = beginDialogue(t, m.command(t, m.state, "exec", "visited", "--", "/prog", "stubborn"))
	d.until("ready\n")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = d.raw.ReadFrom(d.out)
	}()
	for over := false; !over; { // the command is deaf to the first two
		if err := d.cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			over = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	if o := d.end(); o.code != exitInterrupted {
		t.Error(o)
	}
}

func TestExecGivesTheCommandThisTerminal(t *testing.T) {
	t.Parallel()
	m := site(t)
	m.applied(t, "shown", `args: [block]`)
	s := beginSession(t, 100, 30, m.command(t, m.state, "exec", "-it", "shown", "--", "/prog", "terminal"))
	s.until(regexp.MustCompile(`size 100 30 xterm\n`))
	if err := unix.IoctlSetWinsize(int(s.tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 90, Row: 20}); err != nil {
		t.Fatal(err)
	}
	s.until(regexp.MustCompile(`size 90 20 xterm\n`))
	if _, err := s.ptmx.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if code := s.end(); code != 9 {
		t.Errorf("exit code %d, want that of the command, 9\n%s", code, s.shown.text())
	}
}

func TestAttachTalksToTheContainersMainProcess(t *testing.T) { // CM-10
	t.Parallel()
	m := site(t)
	m.applied(t, "asked", `args: [echo], stdin: true, stdinOnce: true`)
	d := beginDialogue(t, m.command(t, m.state, "attach", "-i", "asked"))
	d.say("one\n")
	d.until("got one\n")
	o := d.end() // the container's input ends with it, and the container with that
	if o.code != exitOK || !strings.HasSuffix(o.stdout, "got one\n") || o.stderr != "If you don't see a command prompt, try pressing enter.\nover\n" {
		t.Error(o)
	}
	p := m.await(t, "asked", "it has ended", func(e supervisor.Event) bool { return e.Pod.Status.Phase == corev1.PodFailed })
	if x := p.Status.ContainerStatuses[0].State.Terminated; x == nil || x.ExitCode != 5 {
		t.Errorf("the container ended with %+v", x)
	}
	o = m.perform(t, m.state, "attach", "asked")
	wants(t, o, exitFailed, o.stderr, "cannot attach to a container in a completed pod; current phase is Failed")
}

func TestAttachGivesTheContainerThisTerminal(t *testing.T) {
	t.Parallel()
	m := site(t)
	m.applied(t, "terminal", `args: [terminal], stdin: true, tty: true`)
	s := beginSession(t, 120, 25, m.command(t, m.state, "attach", "-it", "terminal"))
	s.until(regexp.MustCompile(`size 120 25 xterm\n`))
	if _, err := s.ptmx.WriteString("\x10\x11"); err != nil { // Ctrl-P Ctrl-Q
		t.Fatal(err)
	}
	if code := s.end(); code != exitOK || !strings.Contains(s.shown.text(), "Session ended, resume using 'podsim attach terminal -c main -n default -i -t' command") {
		t.Errorf("exit code %d\n%s", code, s.shown.text())
	}
	s = beginSession(t, 121, 25, m.command(t, m.state, "attach", "-it", "terminal"))
	s.until(regexp.MustCompile(`size 121 25 xterm\n`))
	if _, err := s.ptmx.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if code := s.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.shown.text())
	}
	p := m.await(t, "terminal", "it has ended", func(e supervisor.Event) bool { return e.Pod.Status.Phase == corev1.PodFailed })
	if x := p.Status.ContainerStatuses[0].State.Terminated; x == nil || x.ExitCode != 9 {
		t.Errorf("the container ended with %+v", x)
	}
}

func TestDebugAttachesToTheContainerThatItAdds(t *testing.T) {
	t.Parallel()
	m := site(t)
	m.applied(t, "examined", `args: [block]`)
	add := func(args ...string) []string {
		return append([]string{"debug", "examined", "--image", "podsim.local/prog:dev", "--image-pull-policy", "Never"}, args...)
	}
	d := beginDialogue(t, m.command(t, m.state, add("-c", "one", "-i", "--", "/prog", "echo")...))
	d.say("hello\n")
	d.until("got hello\n")
	if err := d.cmd.Process.Signal(unix.SIGINT); err != nil { // leaves it
		t.Fatal(err)
	}
	if o := d.end(); o.code != exitInterrupted {
		t.Error(o)
	}
	s := beginSession(t, 120, 25, m.command(t, m.state, add("-c", "two", "-it", "--", "/prog", "terminal")...))
	s.until(regexp.MustCompile(`size 120 25 xterm\n`))
	if _, err := s.ptmx.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if code := s.end(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.shown.text())
	}
	p := m.await(t, "examined", "the second one has ended", func(e supervisor.Event) bool {
		all := e.Pod.Status.EphemeralContainerStatuses
		return len(all) == 2 && all[1].State.Terminated != nil
	})
	if all := p.Status.EphemeralContainerStatuses; all[0].State.Running == nil || all[1].State.Terminated.ExitCode != 9 {
		t.Errorf("the two are %+v", all)
	}
}

func TestCpCopiesFilesOfAppliedPods(t *testing.T) {
	t.Parallel()
	m := site(t)
	m.applied(t, "copied", `args: [block]`)
	dir := t.TempDir()
	write(t, dir, "a", "A\n")
	do := func(args ...string) outcome { return perform(t, m.command(t, dir, append([]string{"cp"}, args...)...)) }
	for _, args := range [][]string{
		{"a", "copied:/new"}, {"copied:/new", "b"}, {"./a", "default/copied:/etc"}, {"-c", "main", "copied:/etc/a", "deep/down/c"},
	} {
		if o := do(args...); o != (outcome{}) {
			t.Errorf("cp %q: %s", args, o)
		}
	}
	for _, name := range []string{"b", "deep/down/c"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != "A\n" {
			t.Errorf("%s is %q, %v", name, text, err)
		}
	}
	for _, c := range []struct {
		code     int
		from, to string
		says     string
	}{
		{1, "copied:/nope", "b", "copy copied:/nope to b: open /nope: no such file or directory"},
		{1, "a", "copied:/no/where", "no such file or directory"},
		{1, "nope", "copied:/new", "nope doesn't exist in local filesystem"},
		{1, "a", "nobody:/new", `pods "nobody" not found`},
		{2, "a", "b", "one of src or dest must be a remote file specification"},
		{2, "copied:/a", "copied:/b", "one of src or dest must be a local file specification"},
		{2, ":/a", "b", "filespec must match the canonical format: [[namespace/]pod:]file/path"},
	} {
		o := do(c.from, c.to)
		wants(t, o, c.code, o.stderr, c.says)
	}
}

func TestPortForwardReachesWhatListensInThePod(t *testing.T) {
	t.Parallel()
	m := site(t)
	text := podOf("reached", "Never", `args: [app, --listen, "127.0.0.1:8080", --name, hello], ports: [{name: web, containerPort: 8080}]`)
	if o := m.apply(t, "reached", text); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "reached", "it runs", func(e supervisor.Event) bool { return e.Pod.Status.Phase == corev1.PodRunning })
	d := beginDialogue(t, m.command(t, m.state, "port-forward", "pod/reached", ":web", "0:9"))
	d.until("-> 9\n")
	ports := regexp.MustCompile(`Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)\n`).FindAllStringSubmatch(d.raw.String(), -1)
	if len(ports) != 2 || ports[0][2] != "8080" {
		t.Fatalf("it says %q", &d.raw)
	}
	var body string
	for end := time.Now().Add(20 * time.Second); body == "" && time.Now().Before(end); { // until the app listens
		body = get("http://127.0.0.1:" + ports[0][1] + "/")
	}
	if !strings.HasPrefix(body, "hello answers") {
		t.Errorf("through the forward comes %q", body)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+ports[1][1]) // nobody listens there in the pod
	if err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("from a port where nobody listens comes %d bytes, %v", n, err)
	}
	_ = conn.Close()
	if body := get("http://127.0.0.1:" + ports[0][1] + "/"); !strings.HasPrefix(body, "hello answers") {
		t.Errorf("after a refused connection comes %q", body)
	}
	if o := m.perform(t, m.state, "delete", "pod", "reached", "--now"); o.code != exitOK {
		t.Fatal(o)
	}
	o := d.end()
	wants(t, o, exitFailed, o.stderr, "forwarding "+ports[1][1]+" -> 9: failed to connect to localhost:9 inside pod reached", "connection refused", "lost connection to pod")

	o = m.perform(t, m.state, "port-forward", "reached", "80")
	wants(t, o, exitFailed, o.stderr, `pods "reached" not found`)
}

func get(url string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return string(text)
}

func TestPortForwardEndsWithAnInterrupt(t *testing.T) {
	t.Parallel()
	m := site(t)
	m.applied(t, "forwarded", `args: [block]`)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	o := m.perform(t, m.state, "port-forward", "forwarded", port+":80", "--address", "127.0.0.1")
	wants(t, o, exitFailed, o.stderr, "unable to listen on port "+port)
	o = m.perform(t, m.state, "port-forward", "forwarded", "80:nope")
	wants(t, o, exitUsage, o.stderr, "no port of pod forwarded has that name")

	d := beginDialogue(t, m.command(t, m.state, "port-forward", "forwarded", ":80", "--address", "127.0.0.1"))
	d.until("-> 80\n")
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if o := d.end(); o.code != exitOK || strings.Count(o.stdout, "\n") != 1 || o.stderr != "" {
		t.Error(o)
	}
}
