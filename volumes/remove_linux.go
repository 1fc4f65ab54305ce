package volumes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// movedPrefix begins the names that directories get while their tree is taken down.
const movedPrefix = ".removed-"

// maxPasses bounds how often a directory is read again because something was added to it meanwhile.
const maxPasses = 100

// removeTree removes the directory dir and what is in it, and stops at every mount point: dir itself, a directory
// or a file that something is mounted on is an error and keeps its data. Nothing is not an error. It goes on after an
// error and returns all of them.
//
// A container may have nested directories deeper than there are descriptors, or than a path can say. So there is no
// descent: a directory's own directories are moved up beside it, and a tree is one level deep when its turn comes.
func removeTree(ctx context.Context, dir string) error {
	parent, err := unix.Open(filepath.Dir(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(dir), Err: err}
	}
	defer unix.Close(parent)
	top, err := openDir(parent, filepath.Base(dir))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	r := remover{top: top, stuck: map[string]error{}}
	err = r.empty(ctx)
	top.Close()
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if err := unix.Unlinkat(parent, filepath.Base(dir), unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: dir, Err: err}
	}
	return nil
}

// A remover empties one directory.
type remover struct {
	top   *os.File
	due   []string         // names in top
	moved int              // how many directories were moved up
	stuck map[string]error // what cannot be removed, by name in top
}

func (r *remover) empty(ctx context.Context) error {
	for range maxPasses {
		names, err := entries(r.top)
		if err != nil {
			return err
		}
		r.due = slices.DeleteFunc(names, func(name string) bool { return r.stuck[name] != nil })
		if len(r.due) == 0 {
			return errors.Join(slices.Collect(maps.Values(r.stuck))...)
		}
		for len(r.due) > 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			name := r.due[len(r.due)-1]
			r.due = r.due[:len(r.due)-1]
			if err := r.take(name); err != nil {
				r.stuck[name] = fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return errors.New("something goes on adding to it")
}

// take removes one entry of top, and makes its directories entries of top. What is added meanwhile is for the next
// pass.
func (r *remover) take(name string) error {
	top := int(r.top.Fd())
	dir, err := unlink(top, name)
	if err != nil || !dir {
		return err
	}
	sub, err := openDir(top, name)
	if err != nil {
		return err
	}
	defer sub.Close()
	names, err := entries(sub)
	if err != nil {
		return err
	}
	var errs []error
	for _, child := range names {
		dir, err := unlink(int(sub.Fd()), child)
		if err == nil && dir {
			err = r.moveUp(sub, child)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", child, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := unix.Unlinkat(top, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT && err != unix.ENOTEMPTY {
		return err
	}
	return nil
}

// moveUp moves a directory into top under a name that is free. The kernel does not move a mount point.
func (r *remover) moveUp(from *os.File, name string) error {
	for {
		r.moved++
		to := fmt.Sprintf("%s%d", movedPrefix, r.moved)
		err := unix.Renameat2(int(from.Fd()), name, int(r.top.Fd()), to, unix.RENAME_NOREPLACE)
		switch err {
		case nil:
			r.due = append(r.due, to)
			return nil
		case unix.EEXIST:
		default:
			return asMount(err)
		}
	}
}

// unlink removes a name that is no directory, and reports one that is.
func unlink(dir int, name string) (isDir bool, err error) {
	err = unix.Unlinkat(dir, name, 0)
	switch err {
	case nil, unix.ENOENT:
		return false, nil
	case unix.EISDIR:
		return true, nil
	}
	return false, asMount(err)
}

// openDir opens a directory for reading, unless the name is a symlink or a mount point.
func openDir(parent int, name string) (*os.File, error) {
	fd, err := openat2(parent, name, unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
	if err != nil {
		return nil, asMount(err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// asMount says what the kernel means where it keeps us from a mount point.
func asMount(err error) error {
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("something is mounted on it, so it is left alone: %w", err)
	}
	return err
}

// entries reads a directory from its beginning.
func entries(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	return dir.Readdirnames(-1)
}
