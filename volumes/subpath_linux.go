package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// errNoOpenat2 is what a kernel without openat2 gets.
var errNoOpenat2 = errors.New("the kernel has no openat2, or a seccomp filter hides it: Linux 5.6 or newer is needed")

// holdSubPath resolves the mount's subPath in the volume at root, making it if it is not there, and returns a path
// that stands for what was found, whatever becomes of the volume (VO-11, VO-13).
func (s Set) holdSubPath(root string, m Mount) (string, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	found, err := openSubPath(dir, path.Clean(m.SubPath))
	if err != nil {
		return "", err
	}
	defer unix.Close(found)
	return s.hold(found, m)
}

// openSubPath opens sub in the directory root and makes what is missing of it. The caller closes the descriptor.
func openSubPath(root int, sub string) (int, error) {
	found, err := openBeneath(root, sub)
	if !errors.Is(err, unix.ENOENT) {
		return found, describe(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return -1, err
	}
	at, missing := root, strings.Split(sub, "/")
	for i := len(missing) - 1; i > 0; i-- { // the longest part that is there
		found, err := openBeneath(root, strings.Join(missing[:i], "/"))
		if err == nil {
			at, missing = found, missing[i:]
			break
		}
		if !errors.Is(err, unix.ENOENT) {
			return -1, describe(err)
		}
	}
	for _, name := range missing {
		next, err := makeBelow(at, name, st.Mode&0o7777)
		if at != root {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

// makeBelow makes the directory name in at and opens it. A name that is there is taken if it is a directory, and
// never followed.
func makeBelow(at int, name string, mode uint32) (int, error) {
	made := unix.Mkdirat(at, name, mode)
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return -1, &os.PathError{Op: "mkdir", Path: name, Err: made}
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	if made == nil {
		if err := unix.Fchmod(fd, mode); err != nil { // what the umask took
			unix.Close(fd)
			return -1, &os.PathError{Op: "chmod", Path: name, Err: err}
		}
	}
	return fd, nil
}

// openBeneath opens name in the directory root as a path, symlinks resolved, none of which may lead out of it.
func openBeneath(root int, name string) (int, error) {
	return openat2(root, name, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
}

// openat2 retries what is to be retried: EAGAIN says that something was renamed while the kernel looked.
func openat2(dir int, name string, how unix.OpenHow) (int, error) {
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dir, name, &how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) && tries < 128 {
			continue
		}
		if errors.Is(err, unix.ENOSYS) {
			err = errNoOpenat2
		}
		return fd, err
	}
}

// describe says in words what the kernel says of a path that it does not resolve.
func describe(err error) error {
	switch {
	case errors.Is(err, unix.EXDEV):
		return errors.New("it leads out of the volume: subPaths and the symlinks in them must stay inside")
	case errors.Is(err, unix.ELOOP):
		return errors.New("it has a loop of symlinks, or leads through /proc")
	case errors.Is(err, unix.ENOTDIR):
		return errors.New("it leads through something that is not a directory")
	}
	return err
}

// hold bind-mounts what fd stands for in the set, under the mount's key, and returns the path. What the key held
// before is let go, unless it is the same.
func (s Set) hold(fd int, m Mount) (string, error) {
	if err := s.makeDir(); err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(s.Dir, subDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	target := filepath.Join(s.Dir, subDir, m.Key)
	var want unix.Stat_t
	if err := unix.Fstat(fd, &want); err != nil {
		return "", &os.PathError{Op: "stat", Path: m.SubPath, Err: err}
	}
	held, err := holds(target, want)
	if err != nil {
		return "", err
	}
	if !held {
		if err := mountHold(fd, target, want.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
			return "", err
		}
	}
	if err := propagate(target, m.Propagation.holdKind()); err != nil {
		return "", err
	}
	return target, nil
}

// holdKind is the propagation of a hold. Only where mounts are to go both ways may it stay a peer of what it holds.
func (p Propagation) holdKind() uintptr {
	switch p {
	case PropagationBidirectional:
		return unix.MS_SHARED
	case PropagationHostToContainer:
		return unix.MS_SLAVE
	}
	return unix.MS_PRIVATE
}

// holds reports whether what want describes is mounted at target. What else is there is taken away.
func holds(target string, want unix.Stat_t) (bool, error) {
	mounted, err := mountinfo.Mounted(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case mounted:
		var have unix.Stat_t
		if err := unix.Stat(target, &have); err == nil && have.Dev == want.Dev && have.Ino == want.Ino {
			return true, nil
		}
		if err := cutOff(target); err != nil {
			return false, err
		}
		if err := unmount(target); err != nil {
			return false, err
		}
	}
	return false, os.Remove(target)
}

// mountHold bind-mounts what fd stands for on a new target; not what is mounted below it, as the kubelet does not.
func mountHold(fd int, target string, dir bool) error {
	var err error
	if dir {
		err = os.Mkdir(target, 0o700)
	} else {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind it on %s: %w", target, err)
	}
	return nil
}
