package host

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/flows"
)

// onOwnThread runs f on a thread that ends with it: f may leave it with other capabilities, or in other namespaces.
func onOwnThread(t *testing.T, f func() error) {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		result <- f()
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// inOwnMounts runs f on a thread whose mounts nobody else sees.
func inOwnMounts(t *testing.T, f func() error) {
	t.Helper()
	here(t)
	onOwnThread(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare the mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		return f()
	})
}

// on mounts a tmpfs in a directory of the test's own, of the mount namespace that it is called in.
func on(dir string, flags uintptr, data string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// finds fails the test unless a finding has its level, and its texts in what it says and in its fix; an empty fix is none.
func finds(t *testing.T, f Finding, level Level, detail, fix string) {
	t.Helper()
	if f.Name == "" || f.Level != level || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Fix, fix) || (fix == "") != (f.Fix == "") {
		t.Errorf("got %+v\nwant level %s, %q in its detail and %q in its fix", f, level, detail, fix)
	}
}

func TestDoctorFindsNothingBrokenHereAndNamesTheFixOfTheRest(t *testing.T) {
	m := here(t)
	t.Parallel()
	for _, f := range Doctor(Config{Site: m.site, Bundle: testBundle()}) {
		if f.Level == Broken || f.Name == "" || f.Detail == "" || f.Level == Weaker && f.Fix == "" {
			t.Errorf("%+v: on a machine on which the other tests run", f)
		}
	}
	if left, err := filepath.Glob(m.site.StateDir + "/podsim-doctor-*"); err != nil || len(left) > 0 {
		t.Errorf("looking left %v, %v", left, err)
	}
}

func TestABundleIsCompleteAndCanBeExecuted(t *testing.T) {
	here(t)
	dir := t.TempDir()
	c := Config{Bundle: dir}
	finds(t, findBundle(c), Broken, "no containerd, containerd-shim-runc-v2, runc", "make build")
	finds(t, findInit(dir), Weaker, "shareProcessNamespace", "make build")
	for _, name := range bundled {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no program\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	finds(t, findBundle(c), OK, "complete in "+dir, "")
	f := findPrograms(c)
	finds(t, f, Broken, "runc: ", "make bundle")
	contains(t, "the finding", f.Detail, "bridge: ", "exec format error")
	if err := os.Chmod(filepath.Join(dir, "runc"), 0o644); err != nil {
		t.Fatal(err)
	}
	finds(t, findBundle(c), Broken, "runc cannot be executed", "chmod a+rx runc")
	// Programs that end with an error say why.
	if err := os.WriteFile(filepath.Join(dir, "containerd"), []byte("#!/bin/sh\necho too old a libc\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	contains(t, "the finding", findPrograms(c).Detail, "containerd: exit status 3: too old a libc")
	finds(t, findPrograms(Config{Bundle: testBundle()}), OK, "run here", "")
}

func TestABundleOnANoexecFileSystem(t *testing.T) {
	dir := t.TempDir()
	inOwnMounts(t, func() error {
		if err := on(dir, unix.MS_NOEXEC, ""); err != nil {
			return err
		}
		for _, name := range bundled {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
				return err
			}
		}
		finds(t, findBundle(Config{Bundle: dir}), Broken, "mounted noexec", "remount,exec")
		return nil
	})
}

func TestAContainerdThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "c.sock")
	c := Config{Site: Site{StateDir: dir, RunDir: dir}, Bundle: dir, Containerd: socket}
	finds(t, findContainerd(c), Broken, socket, "--containerd")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	finds(t, findContainerd(c), Broken, socket, "systemctl start containerd")
}

func TestMissingCapabilitiesAreNamed(t *testing.T) {
	here(t)
	for _, c := range []struct {
		bit         uint
		level       Level
		detail, fix string
	}{
		{unix.CAP_SYS_RESOURCE, Weaker, "no CAP_SYS_RESOURCE: oom_score_adj", "docker run --cap-add CAP_SYS_RESOURCE"},
		{unix.CAP_NET_ADMIN, Broken, "no CAP_NET_ADMIN: links", "--privileged"},
		{unix.CAP_SYS_ADMIN, Broken, "no CAP_SYS_ADMIN: namespaces", "--privileged"},
	} {
		onOwnThread(t, func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&header, &data[0]); err != nil {
				return err
			}
			data[c.bit/32].Effective &^= 1 << (c.bit % 32)
			if err := unix.Capset(&header, &data[0]); err != nil {
				return err
			}
			finds(t, findCapabilities(), c.level, c.detail, c.fix)
			return nil
		})
	}
}

func TestCgroupsThatAreMissingOrReadOnly(t *testing.T) {
	dir := t.TempDir()
	finds(t, findCgroups(dir), Broken, "not mounted", "mount -t cgroup2 none "+dir)
	finds(t, findCgroups(cgroupRoot), OK, "v", "")
	inOwnMounts(t, func() error {
		if err := unix.Mount("none", dir, "cgroup2", 0, ""); err != nil {
			return fmt.Errorf("mount cgroup2: %w", err)
		}
		finds(t, findCgroups(dir), OK, "v2", "")
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("remount cgroup2 read-only: %w", err)
		}
		finds(t, findCgroups(dir), Broken, "v2, mounted read-only", "docker run --privileged")
		return nil
	})
}

func TestCgroupsOfVersionOneAlone(t *testing.T) {
	dir := t.TempDir()
	inOwnMounts(t, func() error {
		if err := on(dir, 0, ""); err != nil {
			return err
		}
		one := filepath.Join(dir, "podsim-test")
		if err := os.Mkdir(one, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("none", one, "cgroup", 0, "none,name=podsim-test"); err != nil {
			return fmt.Errorf("mount a cgroup v1 hierarchy: %w", err)
		}
		finds(t, findCgroups(dir), Weaker, "v1 alone", "mount -t cgroup2 none "+dir+"/unified")
		return unix.Unmount(one, 0)
	})
}

func TestAStateDirectoryThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	finds(t, findState(file), Broken, file+" is no directory", "--state-dir")
	finds(t, findState(filepath.Join(dir, "not", "yet", "there")), OK, "there", "")
	small := filepath.Join(dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	inOwnMounts(t, func() error {
		if err := on(small, 0, "size=64k,nr_inodes=8"); err != nil {
			return err
		}
		finds(t, findDisk(filepath.Join(small, "state")), Broken, "full: 64 KiB", "--state-dir")
		if err := unix.Mount("", small, "", unix.MS_REMOUNT, "size=64m,nr_inodes=8"); err != nil {
			return err
		}
		finds(t, findDisk(small), Weaker, "0.1 GiB", "--state-dir")
		for i := range 7 { // one of the eight is the root's
			if err := os.WriteFile(filepath.Join(small, fmt.Sprint(i)), nil, 0o644); err != nil {
				return err
			}
		}
		finds(t, findDisk(small), Broken, "no inode is free", "--state-dir")
		if err := unix.Mount("", small, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return err
		}
		finds(t, findState(filepath.Join(small, "state")), Broken, "mounted read-only", "--state-dir")
		return nil
	})
}

func TestARunDirectoryThatCannotBeUsed(t *testing.T) {
	finds(t, findRunDir(Site{RunDir: "/" + strings.Repeat("x", maxRunDir-1)}), OK, "/xxx", "")
	finds(t, findRunDir(Site{RunDir: "/" + strings.Repeat("x", maxRunDir+1)}), Broken, "by 2 characters", "--run-dir")
	dir, err := os.MkdirTemp("", "pd") // short
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	inOwnMounts(t, func() error {
		if err := on(dir, unix.MS_RDONLY, ""); err != nil {
			return err
		}
		finds(t, findRunDir(Site{RunDir: dir}), Broken, "mounted read-only", "--run-dir")
		return nil
	})
}

func TestOverlayfsThatDoesNotWorkInTheStateDirectory(t *testing.T) {
	lower, upper, merged, noexec := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	finds(t, findOverlay(lower), OK, "works in "+lower, "")
	if left, err := os.ReadDir(lower); err != nil || len(left) > 0 {
		t.Errorf("trying it left %v, %v", left, err)
	}
	inOwnMounts(t, func() error {
		// An overlay cannot have its upper directory on an overlay, as in a container's own root.
		if err := on(upper, 0, ""); err != nil {
			return err
		}
		for _, dir := range []string{"up", "work"} {
			if err := os.Mkdir(filepath.Join(upper, dir), 0o755); err != nil {
				return err
			}
		}
		data := fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%[2]s/work", lower, upper)
		if err := unix.Mount("overlay", merged, "overlay", 0, data); err != nil {
			return fmt.Errorf("mount an overlay: %w", err)
		}
		finds(t, findOverlay(merged), Weaker, "images are copied", "--state-dir")
		if err := unix.Mount("", merged, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOEXEC, ""); err != nil {
			return err
		}
		finds(t, findOverlay(merged), Broken, "mounted noexec nothing runs", "--state-dir")
		// Where overlays work, programs run from them all the same.
		if err := on(noexec, unix.MS_NOEXEC, ""); err != nil {
			return err
		}
		finds(t, findOverlay(noexec), OK, "works", "")
		return nil
	})
}

func TestLowLimitsAreFound(t *testing.T) {
	sys := t.TempDir()
	finds(t, findInotify(sys), Weaker, "no such file", "")
	if err := os.MkdirAll(filepath.Join(sys, "fs/inotify"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"max_user_instances": "16\n", "max_user_watches": "100000\n"} {
		if err := os.WriteFile(filepath.Join(sys, "fs/inotify", name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	finds(t, findInotify(sys), Weaker, "fs.inotify.max_user_instances is 16: ", "sysctl -w fs.inotify.max_user_instances=1024")
	finds(t, findInotify(procSys), OK, "as usual", "")
}

func TestALedgerThatMissesConnectionsIsFound(t *testing.T) {
	here(t)
	t.Parallel()
	finds(t, findLedger(), OK, "every connection", "")
	mount, err := flows.CgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	cgroup, err := os.MkdirTemp(mount, "podsim-doctor-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Rmdir(cgroup); err != nil {
			t.Error(err)
		}
	})
	// The ledger asks for its events by rule, which the kernel minds more than the setting.
	if err := tryLedger(newNamespace(t, map[string]string{"net.netfilter.nf_conntrack_events": "0"}), cgroup); err != nil {
		t.Errorf("with conntrack's events switched off: got error %v", err)
	}
	if err := tryLedger(newNamespace(t, nil), t.TempDir()); err == nil || !strings.Contains(err.Error(), "not in a cgroup v2 hierarchy") {
		t.Errorf("with a cgroup that is none: got error %v", err)
	}
	blind := newNamespace(t, nil)
	if err := netns.Do(blind, trackNothing); err != nil {
		t.Fatal(err)
	}
	if err := tryLedger(blind, cgroup); err == nil || !strings.Contains(err.Error(), "one connection was made, and the ledger has 0") {
		t.Errorf("where conntrack sees nothing: got error %v", err)
	}
}

// trackNothing takes what the namespace sends from conntrack.
func trackNothing() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "blind"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "output", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Notrack{}}})
	return conn.Flush()
}

// newNamespace pins a network namespace for the time of the test.
func newNamespace(t *testing.T, sysctls map[string]string) string {
	t.Helper()
	pins := netns.Pins{Net: filepath.Join(t.TempDir(), "net")}
	if err := pins.Create(netns.PinOptions{Sysctls: sysctls}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pins.Remove(); err != nil {
			t.Error(err)
		}
	})
	return pins.Net
}

func TestAForeignRouteToTheStubsAddressesIsFound(t *testing.T) {
	here(t)
	err := netns.Do(newNamespace(t, nil), func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "tun0"
		link := &netlink.Bridge{LinkAttrs: attrs}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		add := func(to string) error {
			dst, err := netlink.ParseIPNet(to)
			if err != nil {
				return err
			}
			return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Index, Dst: dst, Scope: netlink.SCOPE_LINK})
		}
		for _, other := range []string{"0.0.0.0/0", "198.20.0.0/15"} {
			if err := add(other); err != nil {
				return err
			}
		}
		finds(t, findStubRange(), OK, "198.18.0.0/15 is free", "")
		if err := add("198.18.0.0/16"); err != nil {
			return err
		}
		finds(t, findStubRange(), Weaker, "198.18.0.0/16 dev tun0", "ip route delete 198.18.0.0/16 dev tun0")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
