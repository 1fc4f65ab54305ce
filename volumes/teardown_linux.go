package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// TearDown unmounts everything below Dir and removes Dir. It is idempotent and takes the set in any state, with or
// without its Volumes: only Dir counts. Where a mount cannot be undone it removes nothing, and it never removes
// anything through a mount; see the package's documentation. The caller bounds it with ctx.
//
// What HostPath types and Bind have made on the machine stays, as it does in a cluster.
func (s Set) TearDown(ctx context.Context) error {
	if err := s.tearDown(ctx); err != nil {
		return fmt.Errorf("tear down the volumes in %s: %w", s.Dir, err)
	}
	return nil
}

func (s Set) tearDown(ctx context.Context) error {
	if err := s.checkDir(); err != nil {
		return err
	}
	// mountinfo knows no symlinks. Dir itself must not be one: what it leads to is somebody else's.
	parent, err := filepath.EvalSymlinks(filepath.Dir(filepath.Clean(s.Dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir := filepath.Join(parent, filepath.Base(s.Dir))
	if err := unmountBelow(ctx, dir); err != nil {
		return err
	}
	return removeTree(ctx, dir)
}

// unmountBelow undoes every mount below dir. It looks again until there is none: a mount may hide others. Each round
// must leave fewer.
func unmountBelow(ctx context.Context, dir string) error {
	before := -1
	var last error
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		points, n, err := mountsBelow(dir)
		if err != nil || n == 0 {
			return err
		}
		if before >= 0 && n >= before {
			return fmt.Errorf("nothing was removed, since something is mounted on %s; unmount it and try again: %w",
				strings.Join(points, ", "), cmp.Or[error](last, unix.EBUSY))
		}
		before, last = n, unmountAll(points)
	}
}

// mountsBelow returns the mount points below dir, deepest first, and the number of mounts, which may lie on top of one
// another.
func mountsBelow(dir string) (points []string, mounts int, err error) {
	infos, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, dir+"/"), false
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read /proc/self/mountinfo: %w", err)
	}
	for _, m := range infos {
		points = append(points, m.Mountpoint)
	}
	slices.Sort(points)
	points = slices.Compact(points)
	slices.Reverse(points) // a path sorts after its own parents
	return points, len(infos), nil
}

// unmountAll takes the topmost mount off each point, deepest first. All are cut off before the first is undone. A point
// that another mount hides is for the next round.
func unmountAll(points []string) error {
	var visible []string
	for _, p := range points {
		switch err := cutOff(p); {
		case err == nil:
			visible = append(visible, p)
		case !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR):
			return err
		}
	}
	var errs []error
	for _, p := range visible {
		errs = append(errs, unmount(p))
	}
	return errors.Join(errs...)
}

// cutOff parts the topmost mount at path, and all that is mounted in it, from their peers: an unmount spreads to the
// peers of the mount that it happens on, and those may be the user's.
func cutOff(path string) error { return propagate(path, unix.MS_PRIVATE|unix.MS_REC) }

func unmount(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}
