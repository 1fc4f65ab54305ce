package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullPipe is a pipe that takes nothing more until it is read.
func fullPipe(t *testing.T) (r, w *os.File, holds int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	for piece := make([]byte, 4096); ; {
		n, err := unix.Write(fds[1], piece)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		holds += n
	}
	if err := unix.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer")
	t.Cleanup(func() { _ = r.Close() })
	return r, w, holds
}

// A watched command writes to a full pipe, and a timeline to a named one.
type watched struct {
	cmd    *exec.Cmd
	stdout *os.File
	holds  int
	stderr bytes.Buffer
	ran    chan string // the timeline, when the run has ended and has cleaned up
}

func watch(t *testing.T, timeline string, cmd *exec.Cmd) *watched {
	t.Helper()
	if err := unix.Mkfifo(timeline, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &watched{cmd: cmd, ran: make(chan string, 1)}
	r, w, holds := fullPipe(t)
	p.stdout, p.holds = r, holds
	cmd.Stdout, cmd.Stderr = w, &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	go func() {
		text, err := os.ReadFile(timeline)
		if err != nil {
			text = []byte(err.Error())
		}
		p.ran <- string(text)
	}()
	return p
}

// runToEnd waits for the run's end, of which the timeline's last record tells.
func (p *watched) runToEnd(t *testing.T) {
	t.Helper()
	select {
	case timeline := <-p.ran:
		if !strings.Contains(timeline, `"note":"ended"`) {
			t.Fatalf("the timeline has no end:\n%s", timeline)
		}
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		t.Fatalf("the run has not ended in a minute: its output holds it up\n%s", p.stderr.String())
	}
}

func TestAnOutputThatNobodyReadsHoldsNothingUp(t *testing.T) {
	m := site(t)
	pod := podOf("loud", "Never", `args: [cat, /sidekick]`)
	commands := map[string]struct {
		args     func(t *testing.T, dir string) (args []string, timeline string)
		wants    []string
		leftover string
	}{
		"run": {func(t *testing.T, dir string) ([]string, string) {
			timeline := filepath.Join(dir, "timeline.jsonl")
			return []string{"run", "--timeline", timeline, write(t, dir, "pod.yaml", pod)}, timeline
		}, []string{"network ready", "main  started", "main | ", "main  exited with code 0", "pod   gone"}, "nobody reads the output"},
		"test": {func(t *testing.T, dir string) ([]string, string) {
			write(t, dir, "pod.yaml", pod)
			write(t, dir, "scenario.yaml", strings.Replace(strings.Replace(failing, "NAME", "loud", 1), "main.started: 2", "main.started: 1", 1))
			return []string{"test", "--timelines", dir, filepath.Join(dir, "scenario.yaml")}, filepath.Join(dir, "loud.jsonl")
		}, []string{"=== loud", "main  started", "PASS loud", "1 passed, 0 failed"}, "nobody reads the output"},
	}
	for name, c := range commands {
		t.Run(name+", read after the end of the run", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args, timeline := c.args(t, dir)
			p := watch(t, timeline, m.command(t, dir, args...))
			p.runToEnd(t)
			text, err := io.ReadAll(p.stdout)
			if err := errors.Join(err, p.cmd.Wait()); err != nil {
				t.Fatalf("podsim %s: %v\n%s", name, err, p.stderr.String())
			}
			rest := string(text[p.holds:])
			for _, want := range c.wants {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q where it should be, in %d bytes of output", want, len(text)-p.holds)
				}
				rest = after
			}
			if p.stderr.Len() > 0 {
				t.Errorf("stderr is not empty: %s", p.stderr.String())
			}
		})
		t.Run(name+", never read", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args, timeline := c.args(t, dir)
			p := watch(t, timeline, m.command(t, dir, args...))
			p.runToEnd(t)
			begun := time.Now()
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("podsim %s: %v, want exit code 0\n%s", name, err, p.stderr.String())
			}
			if took := time.Since(begun); took > consolePatience+10*time.Second {
				t.Errorf("podsim %s ended %s after its run", name, took)
			}
			if !strings.Contains(p.stderr.String(), c.leftover) {
				t.Errorf("stderr says %q, want %q", p.stderr.String(), c.leftover)
			}
		})
	}
}

// With stderr unread too, as in 2>&1, an interrupt still deletes the pod.
func TestAnInterruptCountsWhereNobodyReads(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	timeline := filepath.Join(dir, "timeline.jsonl")
	cmd := m.command(t, dir, "run", "--timeline", timeline, write(t, dir, "pod.yaml", podOf("web", "Always", `args: [app], startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 60}`)))
	if err := unix.Mkfifo(timeline, 0o600); err != nil {
		t.Fatal(err)
	}
	_, w, _ := fullPipe(t)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	f, err := os.Open(timeline)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seen bytes.Buffer
	for piece := make([]byte, 4096); !strings.Contains(seen.String(), `"result":"success"`); {
		n, err := f.Read(piece)
		if err != nil {
			t.Fatalf("the run ended before its startup probe succeeded: %v\n%s", err, seen.String())
		}
		seen.Write(piece[:n])
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&seen, f); err != nil || !strings.Contains(seen.String(), `"op":"delete"`) || !strings.Contains(seen.String(), `"note":"ended"`) {
		t.Errorf("read the timeline: %v\n%s", err, seen.String())
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
}
