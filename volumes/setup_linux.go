package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// SetUpAll sets up every volume of the set, in the order of their names, and tries each even where another fails; the
// errors name theirs.
func (s Set) SetUpAll(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.Volumes)) {
		errs = append(errs, s.SetUp(ctx, name))
	}
	return errors.Join(errs...)
}

// SetUp makes one volume. It is idempotent, finishes what an earlier call left half-made, and leaves what an emptyDir
// holds as it is. A Files volume that is there already is brought up to date with the set (VO-08), in one step for
// those who read it; a subPath of it that is mounted goes on showing what it showed.
func (s Set) SetUp(ctx context.Context, name string) error {
	if err := s.setUp(ctx, name); err != nil {
		return fmt.Errorf("set up volume %q: %w", name, err)
	}
	return nil
}

func (s Set) setUp(ctx context.Context, name string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	v, err := s.volume(name)
	if err != nil {
		return err
	}
	if v.HostPath != nil {
		return v.HostPath.ensure()
	}
	var files tree
	if v.Files != nil {
		if files, err = v.Files.tree(); err != nil {
			return err
		}
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	if v.memory() {
		err = s.makeMemoryRoot(name, v)
	} else {
		err = s.makeDiskRoot(name, v)
	}
	if err != nil || v.Files == nil {
		return err
	}
	return layout{dir: s.Path(name), group: v.FSGroup}.write(ctx, files)
}

// makeDir makes Dir, closed to others, and its parents.
func (s Set) makeDir() error {
	if err := s.checkDir(); err != nil {
		return err
	}
	err := os.Mkdir(s.Dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(s.Dir), 0o755); err != nil {
			return err
		}
		err = os.Mkdir(s.Dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// rootMode is the mode of a volume's root, as the kernel counts: 0777, and setgid where a group owns it (VO-03).
func (v Volume) rootMode() uint32 {
	if v.FSGroup != nil {
		return 0o777 | unix.S_ISGID
	}
	return 0o777
}

// makeDiskRoot makes a volume's root in Dir, unless it is there. It gets its final name last: a root that has its
// name has its mode and owner too, and what a container has made of them since is left alone.
func (s Set) makeDiskRoot(name string, v Volume) error {
	root, making := s.Path(name), filepath.Join(s.Dir, newPrefix+name)
	if _, err := os.Lstat(root); err == nil {
		return nil
	}
	if err := os.Mkdir(making, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := own(making, v.FSGroup); err != nil {
		return err
	}
	if err := unix.Chmod(making, v.rootMode()); err != nil {
		return &os.PathError{Op: "chmod", Path: making, Err: err}
	}
	return os.Rename(making, root)
}

// makeMemoryRoot mounts a volume's tmpfs in Dir, unless it is there. Mode and owner come with the mount.
func (s Set) makeMemoryRoot(name string, v Volume) error {
	root := s.Path(name)
	if err := os.Mkdir(root, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if mounted, err := mountinfo.Mounted(root); err != nil || mounted {
		return err
	}
	data := fmt.Sprintf("mode=%o", v.rootMode())
	if v.FSGroup != nil {
		data += fmt.Sprintf(",gid=%d", *v.FSGroup)
	}
	if v.EmptyDir != nil && v.EmptyDir.SizeLimit > 0 {
		data += fmt.Sprintf(",size=%d", v.EmptyDir.SizeLimit)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, data); err != nil {
		return fmt.Errorf("mount tmpfs (%s) on %s: %w", data, root, err)
	}
	return nil
}

// own gives path, not what it links to, to the group; nil: to nobody else.
func own(path string, group *int64) error {
	if group == nil {
		return nil
	}
	return os.Lchown(path, -1, int(*group))
}
