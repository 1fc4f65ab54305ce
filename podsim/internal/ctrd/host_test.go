//go:build linux

package ctrd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// roles are what the test binary can be run as instead of running tests, by its first argument.
var roles = map[string]func([]string) int{
	KeeperCommand: KeeperMain,
	"__user":      userMain,
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			os.Exit(role(os.Args[2:]))
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir := builtProg.dir; dir != "" {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		os.Exit(code)
	}))
}

// needHost skips a test that needs root and the bundle, or fails it where the host is demanded.
func needHost(t testing.TB) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root is needed"
	} else if _, err := os.Stat(filepath.Join(bundle(), "containerd")); err != nil {
		missing = fmt.Sprintf("the bundle is needed: %v; run make build, or set PODSIM_BUNDLE", err)
	}
	if missing != "" && os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal(missing)
	} else if missing != "" {
		t.Skip(missing)
	}
}

func bundle() string {
	if dir := os.Getenv("PODSIM_BUNDLE"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../../../bin")
	if err != nil {
		panic(err)
	}
	return dir
}

// builtProg is the program in testdata, built once.
var builtProg struct {
	once      sync.Once
	dir, path string
	err       error
}

func prog(t testing.TB) string {
	t.Helper()
	b := &builtProg
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "podsim-prog"); b.err != nil {
			return
		}
		b.path = filepath.Join(b.dir, "prog")
		cmd := exec.Command("go", "build", "-o", b.path, "./testdata/prog")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build testdata/prog: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

// deadline is a context that ends before the test's own time does.
func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// newConfig gives a test a containerd of its own. When the test is over, nothing of it may be left.
func newConfig(t testing.TB) Config {
	t.Helper()
	needHost(t)
	dir, err := os.MkdirTemp("", "ps") // short: it becomes a part of socket paths
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{State: filepath.Join(dir, "s"), Run: filepath.Join(dir, "r"), Bundle: bundle(), Linger: 50 * time.Millisecond,
		Keeper: []string{os.Args[0], KeeperCommand}}
	t.Cleanup(func() {
		if err := Stop(context.Background(), cfg); err != nil {
			t.Errorf("stop the test's containerd: %v", err)
		}
		if t.Failed() {
			t.Logf("the end of containerd's log:\n%s", tail(filepath.Join(cfg.State, "daemon", "containerd.log"), 30))
		}
		if left := leftBelow(t, dir); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return cfg
}

// leftBelow lists mounts below a directory, what is in its run directory, and processes that name it.
func leftBelow(t testing.TB, dir string) string {
	t.Helper()
	var left []string
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		left = append(left, "mount "+m.Mountpoint)
	}
	_ = filepath.WalkDir(filepath.Join(dir, "r"), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			left = append(left, "file "+path)
		}
		return nil
	})
	return strings.Join(append(left, running(dir)...), "\n")
}

// running lists the processes whose command line has a text in it.
func running(text string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(data), text) {
			found = append(found, filepath.Base(filepath.Dir(f))+" "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return found
}

func open(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := Open(deadline(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	ctx := deadline(t)
	for !ask() {
		if err := pauseFor(ctx, 2*time.Millisecond); err != nil {
			t.Fatalf("waited in vain: %s; podsim's processes are\n%s", what, strings.Join(running("/tmp/ps"), "\n"))
		}
	}
}

// A fixture is a client with the image of prog, and the containers of one run.
type fixture struct {
	t     testing.TB
	c     *Client
	cfg   Config
	image Image
	run   string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	cfg := newConfig(t)
	f := &fixture{t: t, cfg: cfg, c: open(t, cfg), run: fmt.Sprintf("r%d", time.Now().UnixNano()%1e9)}
	var err error
	f.image, err = f.c.FromBinary(deadline(t), "test/prog", Binary{Path: prog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := f.c.RemoveRun(ctx, f.run); err != nil {
			t.Errorf("remove the run: %v", err)
		}
		if list, err := f.c.Leftovers(ctx, ""); err != nil || len(list) > 0 {
			t.Errorf("after the removal of the run: containers %v, error %v; want none", list, err)
		}
		if err := RemoveCgroup(ctx, "/podsim-"+f.run); err != nil {
			t.Error(err)
		}
		if dirs, _ := CgroupDirs("/podsim-" + f.run); len(dirs) > 0 {
			t.Errorf("cgroups left: %v", dirs)
		}
	})
	return f
}

// config is a container that runs prog with arguments in namespaces of its own.
func (f *fixture) config(name string, args ...string) ContainerConfig {
	return ContainerConfig{
		ID: f.run + "-" + name, Run: f.run, Pod: f.run, Name: name, Image: f.image,
		Spec: Spec{Args: append([]string{"/prog"}, args...), Cgroup: "/podsim-" + f.run + "/" + name},
	}
}

func (f *fixture) create(cfg ContainerConfig) *Container {
	f.t.Helper()
	k, err := f.c.Create(deadline(f.t), cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := k.Delete(context.Background()); err != nil {
			f.t.Errorf("delete: %v", err)
		}
	})
	return k
}

// start creates and starts a container and returns its lines, which are complete once Wait has returned.
func (f *fixture) start(cfg ContainerConfig) (*Container, *transcript) {
	f.t.Helper()
	var lines transcript
	cfg.Output = lines.add
	k := f.create(cfg)
	if err := k.Start(deadline(f.t)); err != nil {
		f.t.Fatal(err)
	}
	return k, &lines
}

func (f *fixture) wait(k *Container) Exit {
	f.t.Helper()
	exit, err := k.Wait(deadline(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	return exit
}

// A transcript is what a container printed; stderr's lines begin with a "!".
type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (tr *transcript) add(l Line) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	text := string(l.Text)
	if l.Stderr {
		text = "!" + text
	}
	if l.Partial {
		text += "…"
	}
	tr.lines = append(tr.lines, text)
}

func (tr *transcript) all() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return append([]string(nil), tr.lines...)
}

func (tr *transcript) has(line string) bool {
	for _, l := range tr.all() {
		if l == line {
			return true
		}
	}
	return false
}

// userMain is a podsim process: it opens a client, says so, and lives until its standard input ends.
func userMain(args []string) int {
	linger, err := time.ParseDuration(args[3])
	if err != nil {
		panic(err)
	}
	c, err := Open(context.Background(), Config{State: args[0], Run: args[1], Bundle: args[2], Linger: linger, Keeper: []string{os.Args[0], KeeperCommand}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	pid, err := peer(c.Address())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready", pid)
	_, _ = os.Stdin.Read(make([]byte, 1))
	if err := c.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func alive(pid int) bool {
	return !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

const goarch = runtime.GOARCH

func discardLogger() *log.Logger { return log.New(io.Discard, "", 0) }
