package netns

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// errAbandoned is what a caller sees of a function that ended its goroutine instead of returning (runtime.Goexit,
// as testing.T.FailNow does).
var errAbandoned = errors.New("the function ended its goroutine instead of returning")

// onThread runs f on a thread that runs nothing else, and waits for it. f reports whether the thread is as it was;
// if not, the thread is never given back to the scheduler: it ends with the goroutine.
func onThread(f func() (restored bool, err error)) error {
	err := errAbandoned
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var restored bool
		if restored, err = f(); restored {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return err
}

// A kind is one of the namespaces that podsim pins.
type kind struct {
	name string // as in /proc/self/ns
	flag int    // for unshare and setns
}

var (
	kindNet = kind{"net", unix.CLONE_NEWNET}
	kindIPC = kind{"ipc", unix.CLONE_NEWIPC}
	kindUTS = kind{"uts", unix.CLONE_NEWUTS}
)

// current opens the calling thread's own namespace of the kind. The caller closes it.
func (k kind) current() (int, error) {
	fd, err := unix.Open(k.self(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open this thread's %s namespace: %w", k.name, err)
	}
	return fd, nil
}

// self is the path of the calling thread's namespace of the kind.
func (k kind) self() string { return "/proc/thread-self/ns/" + k.name }

// Do runs f in the network namespace pinned at path and returns f's error. f has a thread to itself; a goroutine
// that f starts, and anything that resolves a name, is not in the namespace. Sockets made in f stay in the
// namespace for good and may be used from anywhere.
//
// f may hold its thread as long as it likes. Errors of entering name the path; an error of f is returned as it is.
func Do(path string, f func() error) error {
	fd, err := openPin(path)
	if err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	return onThread(func() (restored bool, err error) {
		home, err := kindNet.current()
		if err != nil {
			return true, fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		defer unix.Close(home)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return true, fmt.Errorf("enter network namespace %s: %w", path, notRoot(err))
		}
		if err = f(); unix.Setns(home, unix.CLONE_NEWNET) != nil {
			return false, err
		}
		return true, err
	})
}

// ErrNotPinned says that no namespace is pinned at a path: it was never made, or is gone.
var ErrNotPinned = errors.New("no namespace is pinned there")

// openPin opens the namespace at path, which is a pin or a link such as /proc/PID/ns/net. The caller closes it.
func openPin(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, ErrNotPinned
	}
	if err != nil {
		return -1, err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if fs.Type != unix.NSFS_MAGIC {
		unix.Close(fd)
		return -1, ErrNotPinned
	}
	return fd, nil
}

// Pinned reports whether a namespace can be entered at path.
func Pinned(path string) bool {
	fd, err := openPin(path)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// notRoot adds what to do to an error of missing privilege.
func notRoot(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (run podsim as root)", err)
	}
	return err
}
