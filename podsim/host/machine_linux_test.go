package host

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/request"
	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// A machine is what the package's tests share: one site, with a private containerd and the images of two programs.
type machine struct {
	why      string // why there is none
	dir      string
	programs string // the directory of the images' programs
	site     Site
	sidekick string // references
	prog     string
}

var theMachine machine

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case request.Command:
			os.Exit(request.Main())
		case KeeperCommand:
			os.Exit(KeeperMain(os.Args[2:]))
		}
	}
	flag.Parse()
	// Most of these tests wait most of their time.
	if err := flag.Set("test.parallel", "10"); err != nil {
		panic(err)
	}
	os.Exit(testMain(m))
}

// testMain runs the tests and then looks for what they left.
func testMain(m *testing.M) int {
	fds := openFiles()
	if theMachine.why = whyNotHere(); theMachine.why == "" {
		if err := theMachine.open(); err != nil {
			fmt.Fprintln(os.Stderr, errors.Join(err, theMachine.close()))
			return 1
		}
	}
	code := m.Run()
	if theMachine.why != "" {
		return code
	}
	err := theMachine.close()
	left := theMachine.left()
	if n := openFiles(); len(n) > len(fds) {
		left = append(left, fmt.Sprintf("file descriptors: %d before, %d after: %v", len(fds), len(n), n))
	}
	if leak := goleak.Find(); leak != nil {
		left = append(left, leak.Error())
	}
	if err = errors.Join(err, os.RemoveAll(theMachine.dir)); err != nil || len(left) > 0 {
		fmt.Fprintf(os.Stderr, "after all tests: error %v; left behind:\n%s\n", err, strings.Join(left, "\n"))
		return 1
	}
	return code
}

func whyNotHere() string {
	if os.Geteuid() != 0 {
		return "root is needed"
	}
	for _, name := range append(slices.Clip(bundled), initProgram) {
		if _, err := os.Stat(filepath.Join(testBundle(), name)); err != nil {
			return fmt.Sprintf("the bundle is needed: %v; run make build, or set PODSIM_BUNDLE", err)
		}
	}
	return ""
}

// here is the shared machine. Without one the test is skipped, or fails where one is demanded.
func here(t testing.TB) *machine {
	t.Helper()
	if theMachine.why != "" && os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal(theMachine.why)
	} else if theMachine.why != "" {
		t.Skip(theMachine.why)
	}
	return &theMachine
}

func testBundle() string {
	if dir := os.Getenv("PODSIM_BUNDLE"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../../bin")
	if err != nil {
		panic(err)
	}
	return dir
}

func (m *machine) open() (err error) {
	if m.dir, err = os.MkdirTemp("", "ph"); err != nil { // short: it becomes a part of sockets' paths
		return err
	}
	m.site = Site{StateDir: filepath.Join(m.dir, "s"), RunDir: filepath.Join(m.dir, "r")}
	if m.programs == "" {
		m.programs = m.dir
		if err := m.build(); err != nil {
			return err
		}
	}
	m.sidekick, m.prog, err = m.images(Config{Site: m.site, Bundle: testBundle()})
	return err
}

func (m *machine) build() error {
	for _, p := range []struct{ source, name string }{{"../../cmd/sidekick", "sidekick"}, {"./testdata/prog", "prog"}} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(m.programs, p.name), p.source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p.source, err, out)
		}
	}
	return nil
}

// ownMachine is a machine with a site, and a containerd, that the test has for itself. It must leave nothing.
func ownMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{programs: here(t).programs}
	t.Cleanup(func() {
		err := m.close()
		if left := m.left(); len(left) > 0 || err != nil {
			t.Errorf("after the test: error %v; left behind:\n%s", err, strings.Join(left, "\n"))
		}
		if err := os.RemoveAll(m.dir); err != nil {
			t.Error(err)
		}
	})
	if err := m.open(); err != nil {
		t.Fatal(err)
	}
	return m
}

// images makes the two images in a config's containerd.
func (m *machine) images(c Config) (sidekick, prog string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	images, err := OpenImages(ctx, c)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	if sidekick, err = images.FromBinary(ctx, filepath.Join(m.programs, "sidekick")); err != nil {
		return "", "", err
	}
	prog, err = images.FromBinary(ctx, filepath.Join(m.programs, "prog"))
	return sidekick, prog, err
}

// close stops the site's containerd. No run may be left for Clean to take away.
func (m *machine) close() error { return closeSite(m.site) }

func closeSite(s Site) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := Config{Site: s, Bundle: testBundle()}
	runs, err := List(ctx, c)
	if err == nil && len(runs) > 0 {
		err = fmt.Errorf("runs are left: %+v", runs)
	}
	_, cleanErr := Clean(ctx, c)
	// A child of another test holds our locks too, from its fork to its exec.
	for errors.Is(cleanErr, ctrd.ErrInUse) && ctx.Err() == nil {
		_, cleanErr = Clean(ctx, c)
	}
	return errors.Join(err, cleanErr)
}

func (m *machine) left() []string { return leftOf(m.dir, m.site) }

// leftOf lists what a site has on the machine beside the files of its image store, when its containerd has stopped.
func leftOf(dir string, s Site) []string {
	left := processesOf(dir, s)
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		left = append(left, err.Error())
	}
	for _, m := range mounts {
		left = append(left, "mount "+m.Mountpoint)
	}
	if l, err := netlink.LinkByName(netns.Network{StateDir: s.StateDir}.BridgeName()); err == nil {
		left = append(left, "link "+l.Attrs().Name)
	}
	dirs, err := ctrd.CgroupDirs(s.cgroupRoot())
	if err != nil {
		left = append(left, err.Error())
	}
	for _, d := range dirs {
		left = append(left, "cgroup "+d)
	}
	members, err := netns.Network{StateDir: s.StateDir}.Leftovers(s.run(""))
	if err != nil {
		left = append(left, err.Error())
	}
	for _, l := range members {
		if l.Kind != "link" { // any site's
			left = append(left, fmt.Sprintf("%s %s of %s", l.Kind, l.Name, l.ID))
		}
	}
	return append(left, filesOf(s)...)
}

// filesOf lists the files of runs and of the network.
func filesOf(s Site) []string {
	var left []string
	for _, root := range []string{filepath.Join(s.StateDir, "runs"), filepath.Join(s.StateDir, "network"), s.RunDir} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				left = append(left, "file "+path)
			}
			return nil
		})
	}
	return left
}

// processesOf lists the processes that name a directory on their command line, or are in a site's cgroups.
func processesOf(dir string, s Site) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		command, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		cgroup, _ := os.ReadFile(filepath.Join(p, "cgroup"))
		pid := filepath.Base(p)
		if pid == fmt.Sprint(os.Getpid()) || len(command) == 0 {
			continue
		}
		if strings.Contains(string(command), dir+"/") || strings.Contains(string(cgroup), ":"+s.cgroupRoot()+"/") {
			found = append(found, fmt.Sprintf("process %s %s", pid, strings.ReplaceAll(string(command), "\x00", " ")))
		}
	}
	return found
}

// openFiles lists what this process has open.
func openFiles() []string {
	var out []string
	all, _ := os.ReadDir("/proc/self/fd")
	for _, e := range all {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			out = append(out, to)
		}
	}
	return out
}
