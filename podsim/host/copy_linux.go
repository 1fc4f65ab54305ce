package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// permissions are what a copy keeps of a file's mode.
const permissions = 0o777

// A tree is a container's file system, as its processes see it. Nothing in it is trusted: a path is resolved within
// it, a directory's entries are never followed, and no open waits.
type tree struct {
	root *os.File
	user ctrd.User
	cwd  string
	warn func(string)
}

// tree opens the container's file system. The caller closes its root.
func (a *Attached) tree(warn func(string)) (tree, error) {
	root, err := a.container.Root()
	if err != nil {
		return tree{}, err
	}
	return tree{root: root, user: a.container.User(), cwd: a.container.Cwd(), warn: warn}, nil
}

// absolute is a path in the container, which is relative to its working directory.
func (t tree) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", t.cwd, name)
}

// open opens a path as a process of the container would.
func (t tree) open(name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(t.root.Fd()), name, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openEntry opens a directory's entry, which must not be a link.
func openEntry(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	full := path.Join(dir.Name(), name)
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	return os.NewFile(uintptr(fd), full), nil
}

// CopyOut copies a file or a directory of the container to the machine. What is copied keeps its permissions and belongs to
// whoever runs podsim. A file goes into a directory that is there; a directory's content goes into the directory of the
// name, which is made if need be. Below the path links are left out, as kubectl does, and so is what is no
// file; warn says each.
func (a *Attached) CopyOut(ctx context.Context, remote, local string, warn func(string)) error {
	t, err := a.tree(warn)
	if err != nil {
		return err
	}
	defer t.root.Close()
	remote = t.absolute(remote)
	from, err := t.open(remote, unix.O_RDONLY|unix.O_NONBLOCK) // a named pipe must not hold us up
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		if err := os.MkdirAll(local, 0o755); err != nil {
			return err
		}
		to, err := os.OpenRoot(local)
		if err != nil {
			return err
		}
		defer to.Close()
		return t.copyOutDir(ctx, from, to, ".")
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "copy", Path: remote, Err: errors.New("it is neither a file nor a directory")}
	}
	if at, err := os.Stat(local); err == nil && at.IsDir() {
		local = filepath.Join(local, path.Base(remote))
	}
	if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
		return err
	}
	to, err := os.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode()&permissions)
	if err != nil {
		return err
	}
	return copyData(ctx, to, from, info.Mode())
}

// copyOutDir copies what is in a directory into one of the machine. Links that are there already do not lead out of the
// destination.
func (t tree) copyOutDir(ctx context.Context, dir *os.File, to *os.Root, below string) error {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(below, e.Name())
		switch {
		case e.IsDir():
			err = t.copyOutSub(ctx, dir, e.Name(), to, name)
		case e.Type().IsRegular():
			err = copyOutFile(ctx, dir, e.Name(), to, name)
		case e.Type()&fs.ModeSymlink != 0:
			t.warn(fmt.Sprintf("skipping symlink: %q", path.Join(dir.Name(), e.Name())))
		default:
			t.warn(fmt.Sprintf("skipping %q: it is neither a file nor a directory", path.Join(dir.Name(), e.Name())))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t tree) copyOutSub(ctx context.Context, dir *os.File, entry string, to *os.Root, name string) error {
	sub, err := openEntry(dir, entry, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer sub.Close()
	info, err := sub.Stat()
	if err != nil {
		return err
	}
	// Until it is filled its owner may write in it.
	if err := to.Mkdir(name, info.Mode()&permissions|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := t.copyOutDir(ctx, sub, to, name); err != nil {
		return err
	}
	return to.Chmod(name, info.Mode()&permissions)
}

func copyOutFile(ctx context.Context, dir *os.File, entry string, to *os.Root, name string) error {
	from, err := openEntry(dir, entry, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	out, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode()&permissions)
	if err != nil {
		return err
	}
	return copyData(ctx, out, from, info.Mode())
}

// copyData copies a file's content and permissions, and closes the copy.
func copyData(ctx context.Context, to, from *os.File, mode fs.FileMode) error {
	_, err := io.Copy(to, &breakable{ctx, from})
	if err == nil {
		err = to.Chmod(mode & permissions)
	}
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	return err
}

// A breakable is a reader that fails when its context has ended.
type breakable struct {
	ctx context.Context //nolint:containedctx // a reader's Read has none
	r   io.Reader
}

func (b *breakable) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.r.Read(p)
}

// CopyIn copies a file, a directory or a link of the machine into the container: into the directory that is there, or to the
// name, in a directory that must be there. What is copied keeps its permissions and belongs to the container's user; a
// file that is in its place goes, unless something is mounted there. What is neither is left out; warn says each.
func (a *Attached) CopyIn(ctx context.Context, local, remote string, warn func(string)) error {
	t, err := a.tree(warn)
	if err != nil {
		return err
	}
	defer t.root.Close()
	remote = t.absolute(remote)
	base := filepath.Base(filepath.Clean(local))
	if into, err := t.open(remote, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		defer into.Close()
		if base == "." || base == ".." || base == "/" {
			return t.copyInDir(ctx, local, into)
		}
		return t.copyIn(ctx, local, into, base)
	}
	parent, err := t.open(path.Dir(remote), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer parent.Close()
	return t.copyIn(ctx, local, parent, path.Base(remote))
}

// copyIn makes a copy as an entry of a directory.
func (t tree) copyIn(ctx context.Context, local string, dir *os.File, name string) error {
	info, err := os.Lstat(local)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return t.copyInSub(ctx, local, info.Mode(), dir, name)
	case info.Mode()&fs.ModeSymlink != 0:
		return t.copyInLink(local, dir, name)
	case info.Mode().IsRegular():
		return t.copyInFile(ctx, local, dir, name)
	}
	t.warn(fmt.Sprintf("skipping %q: it is neither a file nor a directory", local))
	return nil
}

func (t tree) copyInDir(ctx context.Context, local string, to *os.File) error {
	entries, err := os.ReadDir(local)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := t.copyIn(ctx, filepath.Join(local, e.Name()), to, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (t tree) copyInSub(ctx context.Context, local string, mode fs.FileMode, dir *os.File, name string) error {
	made := unix.Mkdirat(int(dir.Fd()), name, uint32(mode&permissions))
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return &fs.PathError{Op: "mkdir", Path: path.Join(dir.Name(), name), Err: made}
	}
	sub, err := openEntry(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer sub.Close()
	if made == nil {
		if err := errors.Join(sub.Chown(int(t.user.UID), int(t.user.GID)), sub.Chmod(mode&permissions)); err != nil {
			return err
		}
	}
	return t.copyInDir(ctx, local, sub)
}

func (t tree) copyInLink(local string, dir *os.File, name string) error {
	target, err := os.Readlink(local)
	if err != nil {
		return err
	}
	return t.place(dir, name, "symlink", func() error {
		if err := unix.Symlinkat(target, int(dir.Fd()), name); err != nil {
			return err
		}
		return unix.Fchownat(int(dir.Fd()), name, int(t.user.UID), int(t.user.GID), unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (t tree) copyInFile(ctx context.Context, local string, dir *os.File, name string) error {
	from, err := os.Open(local)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	var to *os.File
	err = t.place(dir, name, "create", func() (err error) {
		to, err = openEntry(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		return err
	})
	if errors.Is(err, unix.EBUSY) { // a file that is mounted, as /etc/hosts is, keeps its place
		to, err = openEntry(dir, name, unix.O_WRONLY|unix.O_TRUNC, 0)
	}
	if err != nil {
		return err
	}
	if err := to.Chown(int(t.user.UID), int(t.user.GID)); err != nil {
		return errors.Join(err, to.Close())
	}
	return copyData(ctx, to, from, info.Mode())
}

// place makes an entry of a directory, in place of a file or link of that name.
func (t tree) place(dir *os.File, name, op string, create func() error) error {
	err := create()
	if errors.Is(err, unix.EEXIST) {
		if err = unix.Unlinkat(int(dir.Fd()), name, 0); err == nil {
			err = create()
		}
	}
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e
	}
	return &fs.PathError{Op: op, Path: path.Join(dir.Name(), name), Err: err}
}
