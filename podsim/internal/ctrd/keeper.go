//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
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
	for {
		if err := blockFlock(users, unix.LOCK_EX); err != nil {
			return err
		}
		if err := blockFlock(users, unix.LOCK_UN); err != nil {
			return err
		}
		// The locks are left to the end of the process, where the kernel closes descriptors in their order: the
		// keeper's goes before the users', so whoever then gets the latter sees that a keeper is needed.
		if done, err := lingerAndStop(cfg, users); done || err != nil {
			return err
		}
	}
}

// lingerAndStop waits for the linger or for the daemon's own end, and stops the daemon unless it is in use again.
// The processes are held from the beginning, so that they are ended even if the number of one is given away.
func lingerAndStop(cfg Config, users *os.File) (done bool, err error) {
	found, err := findDaemons(cfg)
	if err != nil {
		return false, err
	}
	defer found.close()
	if len(found) > 0 {
		found[0].await(cfg.Linger)
	} else {
		none := process{fd: -1}
		none.await(min(cfg.Linger, bootWindow))
	}
	if err := tryFlock(users, unix.LOCK_EX); errors.Is(err, errLocked) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, stopDaemon(cfg)
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

// claim takes the users lock exclusively. Another who has it so is a keeper at work, and soon done; one who shares it
// is a podsim process. A keeper also has it for an instant between two looks, so what is seen must last.
func claim(ctx context.Context, users *os.File) error {
	const looks = 5
	for shared := 0; shared < looks; {
		if err := tryFlock(users, unix.LOCK_EX); !errors.Is(err, errLocked) {
			return err
		}
		switch err := tryFlock(users, unix.LOCK_SH); {
		case err == nil:
			shared++
		case errors.Is(err, errLocked):
			shared = 0
		default:
			return err
		}
		if err := pauseFor(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return ErrInUse
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
// exclusively, so nobody starts another meanwhile.
func stopDaemon(cfg Config) error {
	found, err := findDaemons(cfg)
	if err != nil {
		return err
	}
	defer found.close()
	for _, p := range found {
		if err := p.terminate(); err != nil {
			return fmt.Errorf("stop containerd: %w", err)
		}
	}
	return clearRun(cfg)
}

type processes []process

func (ps processes) close() {
	for _, p := range ps {
		p.close()
	}
}

// findDaemons finds the processes that run containerd with our configuration, by their command line. The socket would
// name one that answers; but there may be one that still boots, or waits for the database of another, because its
// starter was killed, and one whose socket was deleted.
func findDaemons(cfg Config) (processes, error) {
	return findProcesses("containerd", func(pid int) bool { return runsDaemon(pid, cfg) })
}

// findProcesses finds the processes that are meant, and holds them.
func findProcesses(what string, meant func(pid int) bool) (processes, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", what, err)
	}
	var found processes
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !meant(pid) {
			continue
		}
		p, err := openProcess(pid)
		if err != nil {
			found.close()
			return nil, err
		}
		// The number may have been given away since: what is held now must still be what was meant.
		if p.exists() && meant(pid) {
			found = append(found, p)
		} else {
			p.close()
		}
	}
	return found, nil
}

func runsDaemon(pid int, cfg Config) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasSuffix(string(data), "containerd\x00--config\x00"+cfg.tomlPath()+"\x00")
}

// A process is one held by a descriptor, which stays its own when its number is given to another.
type process struct {
	pid, fd int // fd is -1 for no process
}

// openProcess holds a process. One that is gone is no process.
func openProcess(pid int) (process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return process{fd: -1}, nil
	}
	if err != nil {
		return process{fd: -1}, fmt.Errorf("open process %d: %w", pid, err)
	}
	return process{pid: pid, fd: fd}, nil
}

func (p process) exists() bool { return p.fd >= 0 }

func (p process) close() {
	if p.exists() {
		_ = unix.Close(p.fd)
	}
}

// await waits until the process has ended, at most for d. With no process it waits for d.
func (p process) await(d time.Duration) (ended bool) {
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
func (p process) terminate() error {
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
