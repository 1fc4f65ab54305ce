package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/moby/sys/mountinfo"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needRoot skips a test that mounts where it can't; where the real host is demanded it fails.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal("PODSIM_REQUIRE_HOST=1, but the tests do not run as root")
	}
	t.Skip("needs root")
}

// newSet returns a set in a directory of the test, and sees to it that the test leaves nothing.
func newSet(t testing.TB, vols map[string]Volume) Set {
	t.Helper()
	needRoot(t)
	s := Set{Dir: filepath.Join(t.TempDir(), "pod", "vol"), Volumes: vols}
	t.Cleanup(func() {
		if err := s.TearDown(context.Background()); err != nil {
			t.Error(err)
		}
		checkGone(t, s)
	})
	return s
}

// checkGone holds a set to have left nothing.
func checkGone(t testing.TB, s Set) {
	t.Helper()
	if _, err := os.Lstat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there after TearDown", s.Dir)
	}
	if left := mountsUnder(t, s.Dir); len(left) > 0 {
		t.Errorf("mounts are left after TearDown: %v", left)
	}
}

func mountsUnder(t testing.TB, dir string) (points []string) {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range infos {
		points = append(points, m.Mountpoint)
	}
	return points
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newTmpfs mounts a tmpfs for the time of the test.
func newTmpfs(t testing.TB, data string, flags uintptr) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", flags, data))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// describeFile is a file's kind, mode and group in words.
func describeFile(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return fmt.Sprintf("%s %d", info.Mode(), st.Gid)
}

func checkFile(t testing.TB, path, want string) {
	t.Helper()
	if got := describeFile(t, path); got != want {
		t.Errorf("%s: got %q, want %q", path, got, want)
	}
}

func checkData(t testing.TB, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %q (error %v), want %q", path, got, err, want)
	}
}

func TestAnEmptyDirIsOpenToAllAndKeepsWhatIsInIt(t *testing.T) {
	gid := int64(4711)
	s := newSet(t, map[string]Volume{
		"plain": {}, "disk": {EmptyDir: &EmptyDir{}, FSGroup: &gid},
		"mem": {EmptyDir: &EmptyDir{Memory: true}}, "memgroup": {EmptyDir: &EmptyDir{Memory: true}, FSGroup: &gid},
	})
	must(t, s.SetUpAll(t.Context()))
	checkFile(t, s.Dir, "drwx------ 0")
	checkFile(t, s.Path("plain"), "drwxrwxrwx 0")        // VO-01
	checkFile(t, s.Path("mem"), "drwxrwxrwx 0")          // VO-02
	checkFile(t, s.Path("disk"), "dgrwxrwxrwx 4711")     // VO-03
	checkFile(t, s.Path("memgroup"), "dgrwxrwxrwx 4711") // VO-03
	for name := range s.Volumes {
		must(t, os.WriteFile(filepath.Join(s.Path(name), "kept"), []byte(name), 0o600))
		must(t, os.Chmod(s.Path(name), 0o700)) // as a database does with its directory
	}
	must(t, s.SetUpAll(t.Context()))
	for name := range s.Volumes {
		checkData(t, filepath.Join(s.Path(name), "kept"), name)
		if info, _ := os.Stat(s.Path(name)); info.Mode().Perm() != 0o700 {
			t.Errorf("a second SetUp changed the mode that a container gave to volume %s", name)
		}
	}
	if got := len(mountsUnder(t, s.Dir)); got != 2 {
		t.Errorf("got %d mounts after two SetUps of two memory volumes, want 2", got)
	}
}

func TestAMemoryVolumeHoldsItsSizeAndNoMore(t *testing.T) {
	s := newSet(t, map[string]Volume{"mem": {EmptyDir: &EmptyDir{Memory: true, SizeLimit: 1 << 20}}})
	must(t, s.SetUpAll(t.Context()))
	must(t, os.WriteFile(filepath.Join(s.Path("mem"), "fits"), make([]byte, 1<<19), 0o600))
	err := os.WriteFile(filepath.Join(s.Path("mem"), "too-big"), make([]byte, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing 1.5 MiB into a volume of 1 MiB: got %v, want no space left", err)
	}
}

func TestHostPathTypes(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("dir"), 0o700))
	must(t, os.WriteFile(at("file"), []byte("data"), 0o600))
	must(t, os.Symlink("dir", at("link")))
	must(t, unix.Mknod(at("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))))
	must(t, unix.Mkfifo(at("fifo"), 0o600))
	l, err := net.Listen("unix", at("socket"))
	must(t, err)
	defer l.Close()

	const failed = "hostPath type check failed: "
	kinds := []string{"dir", "file", "char", "block", "socket", "fifo", "link", "missing"}
	for _, tt := range []struct {
		typ  HostPathType
		good []string
		want string
	}{
		{HostPathUnset, kinds, ""},
		{HostPathDirectory, []string{"dir", "link"}, "a directory"},
		{HostPathDirectoryOrCreate, []string{"dir", "link", "missing"}, "a directory"},
		{HostPathFile, []string{"file"}, "a file"},
		{HostPathFileOrCreate, []string{"file", "missing"}, "a file"},
		{HostPathSocket, []string{"socket"}, "a socket file"},
		{HostPathCharDevice, []string{"char"}, "a character device"},
		{HostPathBlockDevice, []string{"block"}, "a block device"},
	} {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%s is asked for and %s is there", tt.typ, kind), func(t *testing.T) {
				defer os.RemoveAll(at("missing"))
				s := Set{Volumes: map[string]Volume{"v": {HostPath: &HostPath{Path: at(kind), Type: tt.typ}}}}
				want := fmt.Sprintf(`set up volume "v": %s%s is not %s`, failed, at(kind), tt.want)
				for _, good := range tt.good {
					if good == kind {
						want = ""
					}
				}
				checkError(t, s.SetUpAll(t.Context()), want)
			})
		}
	}
	checkError(t, HostPath{Path: dir, Type: "Pipe"}.ensure(), "Pipe is an invalid volume type")

	must(t, HostPath{Path: at("new/deep"), Type: HostPathDirectoryOrCreate}.ensure())
	checkFile(t, at("new/deep"), "drwxr-xr-x 0")
	must(t, HostPath{Path: at("new/file"), Type: HostPathFileOrCreate}.ensure())
	checkFile(t, at("new/file"), "-rw-r--r-- 0")
	if err := (HostPath{Path: at("none/file"), Type: HostPathFileOrCreate}).ensure(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("FileOrCreate in a directory that is not there: got %v, want that it does not exist", err)
	}
	checkData(t, at("file"), "data")
}

func TestVolumesCanBeSetUpAtOnce(t *testing.T) {
	vols := map[string]Volume{}
	for i := range 8 {
		vols[fmt.Sprintf("disk%d", i)] = Volume{}
		vols[fmt.Sprintf("mem%d", i)] = Volume{EmptyDir: &EmptyDir{Memory: true}}
		vols[fmt.Sprintf("files%d", i)] = Volume{Files: &Files{Files: []File{{Path: "a/b", Mode: 0o444, Data: []byte("x")}}, Memory: i%2 == 0}}
	}
	s := newSet(t, vols)
	var wg sync.WaitGroup
	for name := range vols {
		wg.Go(func() {
			if err := s.SetUp(t.Context(), name); err != nil {
				t.Error(err)
			}
			m := Mount{Volume: name, SubPath: "a", Key: name, Destination: "/d", Propagation: PropagationHostToContainer}
			if _, err := s.Bind(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for name, v := range vols {
		if v.Files != nil {
			checkData(t, filepath.Join(s.Dir, subDir, name, "b"), "x")
		}
	}
}

func TestEveryVolumeIsTriedAndEachFailureNamed(t *testing.T) {
	s := newSet(t, map[string]Volume{
		"a": {HostPath: &HostPath{Path: "/does/not/exist", Type: HostPathDirectory}},
		"b": {Files: &Files{Files: []File{{Path: "../x"}}}},
		"c": {},
	})
	err := s.SetUpAll(t.Context())
	checkError(t, err, `set up volume "a": hostPath type check failed: /does/not/exist is not a directory`)
	checkError(t, err, `set up volume "b": file "../x": a file's path must not contain '..'`)
	checkFile(t, s.Path("c"), "drwxrwxrwx 0")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	checkError(t, s.SetUpAll(ctx), "enough")
	_, err = s.Bind(ctx, Mount{Volume: "c", Destination: "/d"})
	checkError(t, err, "enough")
	checkError(t, s.TearDown(ctx), "enough")
	_, err = s.Bind(t.Context(), Mount{Volume: "none", Destination: "/d"})
	checkError(t, err, `mount volume "none" on /d: there is no such volume`)
	_, err = s.Bind(t.Context(), Mount{Volume: "b", Destination: "/d"})
	checkError(t, err, "not set up")
}

// BenchmarkSetUp is what a pod of three emptyDirs and a ConfigMap waits for: on /dev/shm, as podsim's are on /run.
func BenchmarkSetUp(b *testing.B) {
	needRoot(b)
	dir, err := os.MkdirTemp("/dev/shm", "podsim-bench-")
	must(b, err)
	defer os.RemoveAll(dir)
	config := Files{}
	for i := range 8 {
		config.Files = append(config.Files, File{Path: fmt.Sprintf("key%d", i), Mode: 0o644, Data: []byte(strings.Repeat("x", 1024))})
	}
	s := Set{Dir: filepath.Join(dir, "vol"), Volumes: map[string]Volume{
		"a": {}, "b": {}, "c": {EmptyDir: &EmptyDir{Memory: true, SizeLimit: 1 << 20}}, "config": {Files: &config}}}
	for b.Loop() {
		must(b, s.SetUpAll(b.Context()))
		b.StopTimer()
		must(b, s.TearDown(b.Context()))
		b.StartTimer()
	}
}

func BenchmarkTearDown(b *testing.B) {
	needRoot(b)
	s := Set{Dir: filepath.Join(b.TempDir(), "vol"), Volumes: map[string]Volume{
		"a": {}, "b": {EmptyDir: &EmptyDir{Memory: true}}, "c": {Files: &Files{Files: []File{{Path: "x/y"}}}}}}
	for b.Loop() {
		b.StopTimer()
		must(b, s.SetUpAll(b.Context()))
		b.StartTimer()
		must(b, s.TearDown(b.Context()))
	}
}
