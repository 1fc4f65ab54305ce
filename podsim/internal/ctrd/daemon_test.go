//go:build linux

package ctrd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A user is a podsim process of its own.
type user struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
}

func startUser(t testing.TB, cfg Config) *user {
	t.Helper()
	cmd := exec.Command(os.Args[0], "__user", cfg.State, cfg.Run, cfg.Bundle, cfg.Linger.String())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	u := &user{cmd, stdin, bufio.NewReader(stdout)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return u
}

// ready waits until the process has opened its client, and returns the containerd that it uses.
func (u *user) ready(t testing.TB) (daemon int) {
	t.Helper()
	line, err := u.lines.ReadString('\n')
	if _, serr := fmt.Sscanf(line, "ready %d", &daemon); serr != nil {
		t.Fatalf("the process says %q, %v", line, err)
	}
	return daemon
}

// quit lets the process end in its own way.
func (u *user) quit(t testing.TB) {
	t.Helper()
	if err := u.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

func (u *user) kill(t testing.TB) {
	t.Helper()
	if err := u.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = u.cmd.Wait()
}

func TestProcessesThatStartAtOnceShareOneContainerdThatGoesAfterThem(t *testing.T) {
	cfg := newConfig(t)
	var users []*user
	for range 6 {
		users = append(users, startUser(t, cfg))
	}
	first := users[0].ready(t)
	for _, u := range users[1:] {
		if pid := u.ready(t); pid != first {
			t.Errorf("one process uses containerd %d, another %d", first, pid)
		}
	}
	for _, u := range users[:3] {
		u.quit(t)
	}
	if !alive(first) {
		t.Error("containerd is gone with three processes still there")
	}
	for _, u := range users[3:] {
		u.kill(t)
	}
	gone(t, cfg)
}

// gone waits until nothing of a private containerd is left by itself.
func gone(t testing.TB, cfg Config) {
	t.Helper()
	eventually(t, "containerd and its keeper are gone", func() bool { return len(running(cfg.State)) == 0 })
	if left := leftBelow(t, filepath.Dir(cfg.State)); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestAUserWhoReturnsWithinTheLingerFindsTheSameContainerd(t *testing.T) {
	cfg := newConfig(t)
	cfg.Linger = 20 * time.Second
	u := startUser(t, cfg)
	first := u.ready(t)
	u.quit(t)
	u = startUser(t, cfg)
	if again := u.ready(t); again != first {
		t.Errorf("containerd was %d and is %d", first, again)
	}
	u.quit(t)
	if err := Stop(deadline(t), cfg); err != nil {
		t.Fatal(err)
	}
	gone(t, cfg)
}

func TestStopRefusesWhileOthersUseContainerd(t *testing.T) {
	cfg := newConfig(t)
	u := startUser(t, cfg)
	u.ready(t)
	if err := Stop(deadline(t), cfg); !errors.Is(err, ErrInUse) {
		t.Errorf("Stop gives %v, want ErrInUse", err)
	}
	u.quit(t)
}

func TestStopOfNothingIsNothing(t *testing.T) {
	cfg := newConfig(t)
	if err := Stop(deadline(t), cfg); err != nil {
		t.Error(err)
	}
}

func TestAKilledStarterLeavesWorkThatTheNextProcessTakesUp(t *testing.T) {
	for _, after := range []time.Duration{0, 3 * time.Millisecond, 8 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			cfg := newConfig(t)
			u := startUser(t, cfg)
			if err := pauseFor(deadline(t), after); err != nil { // where in its start it is hit is left to chance
				t.Fatal(err)
			}
			u.kill(t)
			next := startUser(t, cfg)
			next.ready(t)
			next.quit(t)
			gone(t, cfg)
		})
	}
}

func TestAKilledKeeperIsReplaced(t *testing.T) {
	cfg := newConfig(t)
	u := startUser(t, cfg)
	u.ready(t)
	eventually(t, "the keeper runs", func() bool { return keeper(cfg) != 0 })
	if err := unix.Kill(keeper(cfg), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keeper is dead", func() bool { return keeper(cfg) == 0 })
	u.quit(t)
	gone(t, cfg)
}

func keeper(cfg Config) (pid int) {
	for _, p := range running(cfg.State) {
		if strings.Contains(p, " "+KeeperCommand+" ") {
			_, _ = fmt.Sscan(p, &pid)
		}
	}
	return pid
}

func TestAStaleSocketIsNoContainerd(t *testing.T) {
	cfg := newConfig(t)
	full, err := cfg.resolved()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(full.runState(), 0o711); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: full.address()}), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	c := open(t, cfg)
	if v, err := c.Version(deadline(t)); err != nil || v == "" {
		t.Errorf("containerd says version %q, %v", v, err)
	}
}

func TestAContainerdWhoseRunDirectoryWasDeletedIsStillStopped(t *testing.T) {
	cfg := newConfig(t)
	u := startUser(t, cfg)
	u.ready(t)
	if err := os.RemoveAll(cfg.Run); err != nil {
		t.Fatal(err)
	}
	u.quit(t)
	gone(t, cfg)
}

func TestADaemonThatDiesAtItsStartShowsItsLog(t *testing.T) {
	cfg := newConfig(t)
	cfg.Bundle = t.TempDir()
	script := "#!/bin/sh\necho 'level=fatal msg=\"cannot do it\"' >&2\nexit 3\n"
	if err := os.WriteFile(filepath.Join(cfg.Bundle, "containerd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(deadline(t), cfg)
	if err == nil || !strings.Contains(err.Error(), "exit code 3") || !strings.Contains(err.Error(), "cannot do it") {
		t.Errorf("the error is %v, want the exit code and the log", err)
	}
	gone(t, cfg)
}

func TestABundleWithoutContainerdSaysHowToGetOne(t *testing.T) {
	cfg := newConfig(t)
	cfg.Bundle = t.TempDir()
	if _, err := Open(deadline(t), cfg); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("the error is %v, want it to name make build", err)
	}
}

func TestARunDirectoryTooLongForSocketsIsRefused(t *testing.T) {
	cfg := Config{Run: "/" + strings.Repeat("x", 60), State: t.TempDir()}
	if _, err := Open(deadline(t), cfg); err == nil || !strings.Contains(err.Error(), "shorter run directory") {
		t.Errorf("the error is %v", err)
	}
}

func TestAnExternalContainerdIsUsedAndLeftRunning(t *testing.T) {
	// runc keeps its state where its default is, as the external containerd has it. What the test makes there, it removes.
	for _, dir := range []string{"/run/containerd", "/run/containerd/runc", "/run/containerd/runc/" + Namespace} {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			t.Cleanup(func() { _ = os.Remove(dir) })
		}
	}
	f := newFixture(t)
	cfg := Config{Address: f.c.Address(), State: t.TempDir(), Run: t.TempDir(), Bundle: bundle()}
	c := open(t, cfg)
	img, err := c.Image(deadline(t), f.image.Ref)
	if err != nil {
		t.Fatal(err)
	}
	cc := f.config("app", "exit", "5")
	cc.Image = img
	k, err := c.Create(deadline(t), cc)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if exit, err := k.Wait(deadline(t)); err != nil || exit.Code != 5 {
		t.Errorf("the exit is %+v, %v; want code 5", exit, err)
	}
	if err := k.Delete(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveRun(deadline(t), f.run); err != nil {
		t.Fatal(err)
	}
	if !answers(f.c.Address()) {
		t.Error("the external containerd is gone")
	}
}

func TestAnExternalContainerdThatIsNotThere(t *testing.T) {
	if _, err := Open(deadline(t), Config{Address: "/no/such.sock"}); err == nil || !strings.Contains(err.Error(), "is it running") {
		t.Errorf("the error is %v", err)
	}
}
