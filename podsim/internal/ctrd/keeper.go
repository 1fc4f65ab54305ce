//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// stopTimeout is how long containerd has to end by itself after SIGTERM, and then to be gone after SIGKILL.
const stopTimeout = 5 * time.Second

// bootWindow is how long a keeper that finds no daemon waits for one whose starter was killed in the middle.
const bootWindow = time.Second

// ErrInUse says that other podsim processes use the private containerd.
var ErrInUse = errors.New("other podsim processes use containerd")

// KeeperMain is the main program of the keeper: it waits until no podsim process of a state directory is left,
// lingers, stops containerd and returns the exit code. args are what Open passes: the state directory, the run
// directory, the bundle and the linger. The locked keeper.lock is file descriptor 3.
func KeeperMain(args []string) int {
	// Ctrl-C in a terminal is not meant for the keeper; it has a session of its own, and this is the second bolt.
	signal.Ignore(unix.SIGINT, unix.SIGHUP)
	unix.CloseOnExec(3)
	if err := keep(args); err != nil {
		fmt.Fprintln(os.Stderr, "podsim keeper:", err)
		return 1
	}
	return 0
}

func keep(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%d arguments where 4 are due: this command is podsim's own, not for use by hand", len(args))
	}
	linger, err := time.ParseDuration(args[3])
	if err != nil {
		return fmt.Errorf("read the linger: %w", err)
	}
	cfg := Config{State: args[0], Run: args[1], Bundle: args[2], Linger: linger}
	users, err := openLock(cfg.usersLock())
	if err != nil {
		return err
	}
	defer users.Close()
	for {
		if err := blockFlock(users, unix.LOCK_EX); err != nil {
			return err
		}
		if err := blockFlock(users, unix.LOCK_UN); err != nil {
			return err
		}
		done, err := lingerAndStop(cfg, users)
		if done || err != nil {
			// The keeper's lock goes before the users': whoever then gets the latter sees that a keeper is needed.
			return errors.Join(err, unix.Close(3))
		}
	}
}

// lingerAndStop waits for the linger or for the daemon's own end, and stops the daemon unless it is in use again.
// The process is held from the beginning, so that it is ended even if its directories are deleted meanwhile.
func lingerAndStop(cfg Config, users *os.File) (done bool, err error) {
	p, err := openProcess(daemonPID(cfg))
	if err != nil {
		return false, err
	}
	defer p.close()
	linger := cfg.Linger
	if !p.exists() {
		linger = min(linger, bootWindow)
	}
	p.await(linger)
	if err := tryFlock(users, unix.LOCK_EX); errors.Is(err, errLocked) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, errors.Join(p.terminate(), stopDaemon(cfg))
}

// blockFlock takes or drops a lock, however long it takes.
func blockFlock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Stop stops the private containerd of a state directory now, and returns when it and its keeper are gone. It is
// idempotent. With other podsim processes about, it is ErrInUse and nothing happens; the caller must have closed
// its own Clients.
func Stop(ctx context.Context, cfg Config) error {
	cfg, err := cfg.resolved()
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.locks()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	users, err := openLock(cfg.usersLock())
	if err != nil {
		return err
	}
	defer users.Close()
	if err := claim(ctx, users); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	if err := stopDaemon(cfg); err != nil {
		return err
	}
	return awaitKeeper(ctx, cfg, users)
}

// claim takes the users lock exclusively. Another who has it so is a keeper at work, and soon done; one who shares
// it is a podsim process.
func claim(ctx context.Context, users *os.File) error {
	for {
		if err := tryFlock(users, unix.LOCK_EX); !errors.Is(err, errLocked) {
			return err
		}
		if err := tryFlock(users, unix.LOCK_SH); err == nil {
			return ErrInUse
		} else if !errors.Is(err, errLocked) {
			return err
		}
		if err := pauseFor(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// awaitKeeper waits for the keeper, which ends once the daemon has and nobody uses it. It looks only while it
// holds the users lock, when nobody can be about to start a keeper; a process that comes meanwhile ends the wait.
func awaitKeeper(ctx context.Context, cfg Config, users *os.File) error {
	lock, err := openLock(cfg.keeperLock())
	if err != nil {
		return err
	}
	defer lock.Close()
	for deadline := time.Now().Add(stopTimeout); time.Now().Before(deadline); {
		if err := tryFlock(users, unix.LOCK_EX); err == nil {
			if tryFlock(lock, unix.LOCK_EX) == nil {
				return nil
			}
			if err := tryFlock(users, unix.LOCK_UN); err != nil {
				return err
			}
		}
		if err := pauseFor(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("wait for containerd's keeper: %w", err)
		}
	}
	return nil
}

// stopDaemon ends containerd and clears away what it leaves in the run directory. The caller holds the users lock
// exclusively.
func stopDaemon(cfg Config) error {
	p, err := openProcess(daemonPID(cfg))
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.terminate(); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	return clearRun(cfg)
}

// daemonPID finds containerd: the process behind the socket or, where the socket was removed, behind the database. 0: none.
func daemonPID(cfg Config) int {
	if pid, err := peer(cfg.address()); err == nil {
		return pid
	}
	if databaseHeld(cfg.database()) {
		return lockHolder(cfg.database())
	}
	return 0
}

// A process is one held by a descriptor, which stays its own when its number is given to another.
type process struct {
	pid, fd int // fd is -1 for no process
}

// openProcess holds a process. One that is gone, and 0, is no process.
func openProcess(pid int) (*process, error) {
	if pid == 0 {
		return &process{fd: -1}, nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return &process{fd: -1}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &process{pid: pid, fd: fd}, nil
}

func (p *process) exists() bool { return p.fd >= 0 }

func (p *process) close() {
	if p.exists() {
		_ = unix.Close(p.fd)
	}
}

// await waits until the process has ended, at most for d. With no process it waits for d.
func (p *process) await(d time.Duration) (ended bool) {
	deadline := time.Now().Add(d)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		// A negative descriptor is passed over by poll, which then only waits.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
}

// terminate ends the process: SIGTERM, then SIGKILL.
func (p *process) terminate() error {
	if !p.exists() {
		return nil
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", p.pid, err)
		}
		if p.await(stopTimeout) {
			return nil
		}
	}
	return fmt.Errorf("process %d is still there %s after SIGKILL", p.pid, stopTimeout)
}

// clearRun removes containerd's sockets and, unless a shim still has its bundle there, its whole directory.
func clearRun(cfg Config) error {
	errs := []error{removeFile(cfg.address()), removeFile(cfg.address() + ".ttrpc")}
	if bundles, _ := os.ReadDir(cfg.bundles()); len(bundles) == 0 {
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(cfg.runState()))
		if err == nil && len(mounts) == 0 {
			err = os.RemoveAll(cfg.runState())
		}
		errs = append(errs, err)
	}
	for _, dir := range []string{cfg.fifos(), cfg.Run} {
		_ = os.Remove(dir) // fails where something is in it, as it should
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clear %s: %w", cfg.runState(), err)
	}
	return nil
}

// removeFile removes a file that may be gone already.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
