//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootTimeout bounds the start of containerd. It takes some 15 ms; a loaded machine gets patience, not a hang.
const bootTimeout = 30 * time.Second

// A daemon is one process's hold on the private containerd: the shared users lock, and how to start what is missing.
type daemon struct {
	cfg   Config
	users *os.File
	child int // the containerd this process started, to be reaped if it dies; 0: none
}

// joinDaemon takes the users lock and makes sure that a keeper and containerd run.
func joinDaemon(ctx context.Context, cfg Config) (*daemon, error) {
	for _, dir := range []string{cfg.locks(), cfg.root(), cfg.runState()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("make podsim's directories: %w", err)
		}
	}
	users, err := openLock(cfg.usersLock())
	if err != nil {
		return nil, err
	}
	d := &daemon{cfg: cfg, users: users}
	if err := waitFlock(ctx, users, unix.LOCK_SH); err != nil {
		return nil, errors.Join(fmt.Errorf("join containerd's users: %w", err), users.Close())
	}
	if err := d.ensure(ctx); err != nil {
		return nil, errors.Join(err, d.leave())
	}
	return d, nil
}

// leave gives the users lock back. The keeper does the rest; if it was killed, a new one is started.
func (d *daemon) leave() error {
	err := d.ensureKeeper()
	d.reap()
	return errors.Join(err, d.users.Close())
}

// ensure makes sure that a keeper runs and that containerd answers. It may be called at any time.
func (d *daemon) ensure(ctx context.Context) error {
	if err := d.ensureKeeper(); err != nil {
		return err
	}
	d.reap()
	if answers(d.cfg.address()) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootTimeout, fmt.Errorf("no answer within %s", bootTimeout))
	defer cancel()
	if err := d.start(ctx); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	return nil
}

// reap collects the containerd that this process started, if it has died.
func (d *daemon) reap() {
	if d.child == 0 {
		return
	}
	if pid, err := unix.Wait4(d.child, nil, unix.WNOHANG, nil); pid == d.child || errors.Is(err, unix.ECHILD) {
		d.child = 0
	}
}

// ensureKeeper starts a keeper unless one lives. The lock is taken here and handed over with the file
// description, so there is no moment at which two processes could each believe that the other has done it.
func (d *daemon) ensureKeeper() error {
	lock, err := openLock(d.cfg.keeperLock())
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := tryFlock(lock, unix.LOCK_EX); err != nil {
		if errors.Is(err, errLocked) {
			return nil
		}
		return err
	}
	argv := append(append([]string{}, d.cfg.Keeper...), d.cfg.State, d.cfg.Run, d.cfg.Bundle, d.cfg.Linger.String())
	keeper := exec.Command(argv[0], argv[1:]...)
	keeper.Dir = "/"
	keeper.ExtraFiles = []*os.File{lock}
	log, err := openLog(d.cfg.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	keeper.Stderr = log
	keeper.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := keeper.Start(); err != nil {
		return fmt.Errorf("start the keeper of containerd: %w", err)
	}
	return keeper.Process.Release()
}

// start starts containerd, or finds that another process has just done so.
func (d *daemon) start(ctx context.Context) error {
	lock, err := openLock(d.cfg.startLock())
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := waitFlock(ctx, lock, unix.LOCK_EX); err != nil {
		return err
	}
	if answers(d.cfg.address()) {
		return nil
	}
	if databaseHeld(d.cfg.database()) {
		return d.awaitOther(ctx)
	}
	if err := d.writeConfig(); err != nil {
		return err
	}
	pid, err := d.spawn()
	if err != nil {
		return err
	}
	d.child = pid
	return d.awaitChild(ctx)
}

// awaitOther waits for a containerd that holds the database but does not answer yet: one whose starter was killed.
func (d *daemon) awaitOther(ctx context.Context) error {
	for range 5000 {
		if answers(d.cfg.address()) || !databaseHeld(d.cfg.database()) {
			break
		}
		if err := pauseFor(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	if answers(d.cfg.address()) {
		return nil
	}
	return fmt.Errorf("another containerd uses %s but does not answer at %s: give the same run directory as the podsim that started it, or stop all podsim processes and run podsim clean",
		d.cfg.root(), d.cfg.address())
}

// awaitChild waits until the containerd that this process started answers. If it lost a race for its database, the
// one that won answers instead, and the loser is ended.
func (d *daemon) awaitChild(ctx context.Context) error {
	for {
		if pid, err := peer(d.cfg.address()); err == nil {
			if pid != d.child {
				d.killChild()
			}
			return nil
		}
		var status unix.WaitStatus
		if pid, _ := unix.Wait4(d.child, &status, unix.WNOHANG, nil); pid == d.child {
			d.child = 0
			return fmt.Errorf("it ended with %s; the end of %s:\n%s", statusText(status), d.cfg.logPath(), tail(d.cfg.logPath(), 10))
		}
		if err := pauseFor(ctx, time.Millisecond); err != nil {
			d.killChild()
			return fmt.Errorf("%w; the end of %s:\n%s", err, d.cfg.logPath(), tail(d.cfg.logPath(), 10))
		}
	}
}

func (d *daemon) killChild() {
	_ = unix.Kill(d.child, unix.SIGKILL)
	_, _ = unix.Wait4(d.child, nil, 0, nil)
	d.child = 0
}

// spawn executes containerd in a session of its own, with the bundle first in its PATH.
func (d *daemon) spawn() (pid int, err error) {
	binary := filepath.Join(d.cfg.Bundle, "containerd")
	if _, err := os.Stat(binary); err != nil {
		return 0, fmt.Errorf("find containerd in the bundle: %w; build the bundle with make build, or name another containerd with --containerd ADDRESS", err)
	}
	log, err := openLog(d.cfg.logPath())
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(binary, "--config", d.cfg.tomlPath())
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+d.cfg.Bundle+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release()
}

// openLog opens the daemon's log for appending; one that has grown past a megabyte begins anew.
func openLog(path string) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > 1<<20 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open containerd's log: %w", err)
	}
	return f, nil
}

// writeConfig writes containerd's configuration. It replaces the file as a whole, so that a killed process leaves no half.
func (d *daemon) writeConfig() error {
	next := d.cfg.tomlPath() + ".new"
	if err := os.WriteFile(next, []byte(daemonTOML(d.cfg)), 0o600); err != nil {
		return fmt.Errorf("write containerd's configuration: %w", err)
	}
	if err := os.Rename(next, d.cfg.tomlPath()); err != nil {
		return fmt.Errorf("write containerd's configuration: %w", err)
	}
	return nil
}

// answers reports whether something listens on a unix socket.
func answers(socket string) bool {
	_, err := peer(socket)
	return err == nil
}

// peer returns the process that listens on a unix socket: the kernel noted it when the socket began to listen.
func peer(socket string) (pid int, err error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, fmt.Errorf("ask for the peer of %s: %w", socket, cerr)
	}
	return int(cred.Pid), nil
}

// databaseHeld reports whether a containerd holds its database. containerd locks it before it begins to listen.
func databaseHeld(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(tryFlock(f, unix.LOCK_SH), errLocked)
}

func statusText(s unix.WaitStatus) string {
	if s.Signaled() {
		return "signal " + unix.SignalName(s.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

// tail returns the last n lines of a file, as far as they are in its last 8 KiB.
func tail(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 8<<10 {
		_, _ = f.Seek(-8<<10, io.SeekEnd)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
