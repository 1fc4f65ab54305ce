package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// userData is a directory with a file that no TearDown may take.
func userData(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "data"), []byte("the user's"), 0o600))
	t.Cleanup(func() { checkData(t, filepath.Join(dir, "data"), "the user's") })
	return dir
}

func mountBind(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(to, 0o755))
	must(t, unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""))
}

func TestTearDownTakesASetInAnyState(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, s Set)
	}{
		{"nothing was made", func(t *testing.T, s Set) {}},
		{"only the parent", func(t *testing.T, s Set) { must(t, os.MkdirAll(filepath.Dir(s.Dir), 0o755)) }},
		{"only Dir", func(t *testing.T, s Set) { must(t, s.makeDir()) }},
		{"a root without its name", func(t *testing.T, s Set) {
			must(t, s.makeDir())
			must(t, os.Mkdir(filepath.Join(s.Dir, newPrefix+"disk"), 0))
		}},
		{"a memory volume's directory without its tmpfs", func(t *testing.T, s Set) {
			must(t, s.makeDir())
			must(t, os.Mkdir(s.Path("mem"), 0o700))
		}},
		{"files' tmpfs without files", func(t *testing.T, s Set) {
			must(t, s.makeDir())
			must(t, s.makeMemoryRoot("files", s.Volumes["files"]))
		}},
		{"a hold's place without the hold", func(t *testing.T, s Set) {
			must(t, os.MkdirAll(filepath.Join(s.Dir, subDir, "app.0"), 0o700))
			must(t, os.WriteFile(filepath.Join(s.Dir, subDir, "app.1"), nil, 0o600))
		}},
		{"everything, with holds of a directory and a file", func(t *testing.T, s Set) {
			must(t, s.SetUpAll(t.Context()))
			for key, sub := range map[string]string{"disk": "a/b", "mem": "x", "files": "key", "host": "data"} {
				_, err := s.Bind(t.Context(), Mount{Volume: key, SubPath: sub, Key: key, Destination: "/d"})
				must(t, err)
			}
		}},
		{"mounts on top of one another, hiding others", func(t *testing.T, s Set) {
			must(t, s.SetUpAll(t.Context()))
			host := s.Volumes["host"].HostPath.Path
			mountBind(t, host, filepath.Join(s.Path("disk"), "deep"))
			mountBind(t, host, filepath.Join(s.Path("mem"), "deep"))
			mountBind(t, host, filepath.Join(s.Path("mem"), "deep"))
			mountBind(t, host, s.Path("mem"))
			mountBind(t, host, s.Path("mem"))
			mountBind(t, s.Path("disk"), s.Path("files"))
		}},
		{"a mount in a strange place", func(t *testing.T, s Set) {
			mountBind(t, s.Volumes["host"].HostPath.Path, filepath.Join(s.Dir, "a b\tc\\040/sub/dir"))
		}},
		{"odd files", func(t *testing.T, s Set) {
			must(t, s.SetUpAll(t.Context()))
			must(t, os.Symlink("/", filepath.Join(s.Path("disk"), "root")))
			must(t, unix.Mkfifo(filepath.Join(s.Path("disk"), "fifo"), 0))
			must(t, os.MkdirAll(filepath.Join(s.Path("disk"), movedPrefix+"1", movedPrefix+"2", movedPrefix+"1"), 0))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSet(t, map[string]Volume{
				"disk": {}, "mem": {EmptyDir: &EmptyDir{Memory: true}},
				"files": {Files: &Files{Memory: true, Files: []File{{Path: "key", Mode: 0o644}}}},
				"host":  {HostPath: &HostPath{Path: userData(t)}},
			})
			tt.make(t, s)
			for range 2 {
				must(t, Set{Dir: s.Dir}.TearDown(t.Context()))
				checkGone(t, s)
			}
		})
	}
}

func TestTearDownThroughASymlinkedParent(t *testing.T) {
	s := newSet(t, map[string]Volume{"mem": {EmptyDir: &EmptyDir{Memory: true}}})
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "run")
	must(t, os.Symlink(real, link))
	s.Dir = filepath.Join(link, "vol")
	must(t, s.SetUpAll(t.Context()))
	must(t, s.TearDown(t.Context()))
	checkGone(t, Set{Dir: filepath.Join(real, "vol")})
}

func TestNothingIsRemovedWhereAnUnmountFails(t *testing.T) {
	data := userData(t)
	s := newSet(t, map[string]Volume{"v": {}})
	must(t, s.SetUpAll(t.Context()))
	kept := filepath.Join(s.Path("v"), "kept")
	must(t, os.WriteFile(kept, []byte("the volume's"), 0o600))
	mountBind(t, data, filepath.Join(s.Path("v"), "a/b"))

	err := unprivileged(t, func() error { return s.TearDown(t.Context()) })
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("TearDown without the right to unmount: got %v, want operation not permitted", err)
	}
	checkError(t, err, "nothing was removed, since something is mounted on "+filepath.Join(s.Path("v"), "a/b"))
	checkData(t, kept, "the volume's")
	checkData(t, filepath.Join(s.Path("v"), "a/b/data"), "the user's")
}

// unprivileged runs f on a thread without CAP_SYS_ADMIN. The thread ends with it.
func unprivileged(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Capget(&header, &caps[0])
		if err == nil {
			caps[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
			err = unix.Capset(&header, &caps[0])
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// The removal itself is the second line: it must stop at mounts that the first has not seen.
func TestARemovalStopsAtEveryMount(t *testing.T) {
	for _, tt := range []struct {
		name, at string
		mounts   func(t testing.TB, data, at string)
	}{
		{"a directory, at the top", "m", mountBind},
		{"a directory, below", "x/m", mountBind},
		{"a directory, far below", "x/y/z/m", mountBind},
		{"the tree itself", ".", mountBind},
		{"a file", "x/y/f", func(t testing.TB, data, at string) {
			must(t, os.WriteFile(at, nil, 0o600))
			must(t, unix.Mount(filepath.Join(data, "data"), at, "", unix.MS_BIND, ""))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needRoot(t)
			data, tree := userData(t), filepath.Join(t.TempDir(), "tree")
			must(t, os.MkdirAll(filepath.Join(tree, "x/y/z"), 0o755))
			must(t, os.WriteFile(filepath.Join(tree, "x/y/z/gone"), nil, 0o644))
			tt.mounts(t, data, filepath.Join(tree, tt.at))
			t.Cleanup(func() { must(t, unmountBelow(context.Background(), filepath.Dir(tree))) })
			checkError(t, removeTree(t.Context(), tree), "something is mounted on it, so it is left alone")
			checkData(t, filepath.Join(data, "data"), "the user's")
			if got := mountsUnder(t, tree); len(got) != 1 {
				t.Errorf("mounts after the removal: %v, want the user's", got)
			}
			must(t, unmountBelow(context.Background(), filepath.Dir(tree)))
			must(t, removeTree(t.Context(), tree))
		})
	}
}

func TestDirItselfMayNotBeAMountOrASymlink(t *testing.T) {
	needRoot(t)
	data := userData(t)
	parent := t.TempDir()
	s := Set{Dir: filepath.Join(parent, "vol")}
	mountBind(t, data, s.Dir)
	checkError(t, s.TearDown(t.Context()), "something is mounted on it, so it is left alone")
	must(t, unix.Unmount(s.Dir, unix.MNT_DETACH))
	must(t, s.TearDown(t.Context()))
	must(t, os.Symlink(data, s.Dir))
	checkError(t, s.TearDown(t.Context()), "not a directory")
	must(t, os.Remove(s.Dir))
}

func TestATreeDeeperThanAnyPathIsRemoved(t *testing.T) {
	s := newSet(t, map[string]Volume{"v": {}})
	must(t, s.SetUpAll(t.Context()))
	at, err := unix.Open(s.Path("v"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range 2000 { // of 9 bytes each: four times PATH_MAX
		must(t, unix.Mkdirat(at, "deeper-1", 0o700))
		next, err := unix.Openat(at, "deeper-1", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	for i := range 300 {
		must(t, os.MkdirAll(filepath.Join(s.Path("v"), fmt.Sprintf("wide%d/a/b", i)), 0o700))
	}
	must(t, s.TearDown(t.Context()))
	checkGone(t, s)
}

func TestARemovalGoesOnAfterAnError(t *testing.T) {
	needRoot(t)
	data, tree := userData(t), filepath.Join(t.TempDir(), "tree")
	mountBind(t, data, filepath.Join(tree, "m"))
	t.Cleanup(func() { must(t, unmountBelow(context.Background(), tree)) })
	for _, name := range []string{"a", "z"} {
		must(t, os.MkdirAll(filepath.Join(tree, name, "b"), 0o755))
	}
	if removeTree(t.Context(), tree) == nil {
		t.Error("a tree with a mount in it was removed without an error")
	}
	entries, err := os.ReadDir(tree)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "m" {
		t.Errorf("left are %v, want the mount point alone", entries)
	}
}
