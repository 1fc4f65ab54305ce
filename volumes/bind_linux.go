package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Bind prepares one mount of a volume that is set up, and says what the runtime is to do with it. It holds a
// subPath, and makes a HostPath without a type if nothing is there. It is idempotent: a container's next instance
// binds again, and gets the subPath as it is then. The Set keeps what it holds until TearDown.
func (s Set) Bind(ctx context.Context, m Mount) (Binding, error) {
	b, err := s.bind(ctx, m)
	if err != nil {
		return Binding{}, fmt.Errorf("mount volume %q on %s: %w", m.Volume, m.Destination, err)
	}
	return b, nil
}

func (s Set) bind(ctx context.Context, m Mount) (Binding, error) {
	if err := context.Cause(ctx); err != nil {
		return Binding{}, err
	}
	v, err := s.volume(m.Volume)
	if err != nil {
		return Binding{}, err
	}
	if err := m.check(); err != nil {
		return Binding{}, err
	}
	opts, err := m.options(v, canRecurse())
	if err != nil {
		return Binding{}, err
	}
	source := s.Path(m.Volume)
	if err := ensureSource(source, v); err != nil {
		return Binding{}, err
	}
	if m.Propagation.propagates() {
		if err := s.ensurePropagates(source, v, m.Propagation); err != nil {
			return Binding{}, err
		}
	}
	if m.SubPath != "" {
		if source, err = s.holdSubPath(source, m); err != nil {
			return Binding{}, fmt.Errorf("subPath %q: %w", m.SubPath, err)
		}
	}
	return Binding{Source: source, Destination: m.Destination, Options: opts, RootPropagation: m.Propagation.rootPropagation()}, nil
}

// ensureSource sees to it that there is something to mount.
func ensureSource(source string, v Volume) error {
	_, err := os.Stat(source)
	switch {
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	case v.HostPath == nil:
		return errors.New("it is not set up: call SetUp first")
	case v.HostPath.Type != HostPathUnset:
		return v.HostPath.ensure()
	}
	return makeHostDir(source)
}

// ensurePropagates sees to it that mounts can cross the source in the directions that p asks for. A volume of our
// own is made to; what a HostPath is on belongs to the machine.
func (s Set) ensurePropagates(source string, v Volume, p Propagation) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	on, err := mountOf(source)
	if err != nil {
		return err
	}
	shared, slave := strings.Contains(on.Optional, "shared:"), strings.Contains(on.Optional, "master:")
	switch {
	case shared || slave && p == PropagationHostToContainer:
		return nil
	case v.HostPath != nil:
		return fmt.Errorf("path %q is on the mount %q, which is not shared, so propagation %s cannot work: run mount --make-rshared %s",
			source, on.Mountpoint, p, on.Mountpoint)
	case on.Mountpoint != source:
		if err := unix.Mount(source, source, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s on itself: %w", source, err)
		}
	}
	return propagate(source, unix.MS_SHARED)
}

// lock keeps other Binds from changing a volume's propagation at the same time.
func (s Set) lock() (unlock func(), err error) {
	dir, err := os.Open(s.Dir)
	if errors.Is(err, fs.ErrNotExist) { // a set of HostPaths only: there is nothing to guard
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", s.Dir, err)
	}
	return func() { dir.Close() }, nil
}

// mountOf returns the mount that path is on.
func mountOf(path string) (*mountinfo.Info, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st); err != nil {
		return nil, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return nil, fmt.Errorf("find the mount of %s: mount propagation needs Linux 5.8", path)
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		found := uint64(m.ID) == st.Mnt_id
		return !found, found
	})
	if err != nil || len(mounts) == 0 {
		return nil, fmt.Errorf("find the mount of %s in /proc/self/mountinfo: %w", path, errors.Join(err, fs.ErrNotExist))
	}
	return mounts[0], nil
}

// propagate sets the propagation type of the mount at path: MS_SHARED, MS_SLAVE or MS_PRIVATE.
func propagate(path string, kind uintptr) error {
	if err := unix.Mount("", path, "", kind, ""); err != nil {
		return fmt.Errorf("set the propagation of %s: %w", path, err)
	}
	return nil
}

// canRecurse reports whether the kernel has recursive mount attributes.
var canRecurse = sync.OnceValue(func() bool {
	return unix.MountSetattr(-1, "", 0, &unix.MountAttr{}) != unix.ENOSYS
})
