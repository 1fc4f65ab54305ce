package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// RequireRoot skips a test that is not run as root, or fails it where the real host is demanded.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal("this test needs root, and PODSIM_REQUIRE_HOST=1 demands that it runs")
	}
	t.Skip("this test needs root")
}

// Namespace makes a network namespace with lo up and returns its path.
func Namespace(t testing.TB) string {
	t.Helper()
	RequireRoot(t)
	pins := netns.Pins{Net: filepath.Join(t.TempDir(), "net")}
	if err := pins.Create(netns.PinOptions{}); err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := pins.Remove(); err != nil {
			t.Errorf("remove a namespace: %v", err)
		}
	})
	return pins.Net
}

// Link joins two namespaces: eth0 in a has the first address, eth0 in b the second, both as CIDRs.
func Link(t testing.TB, a, addressA, b, addressB string) {
	t.Helper()
	fd, err := os.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	Do(t, a, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(fd.Fd()),
		})
	})
	up(t, a, addressA)
	up(t, b, addressB)
}

func up(t testing.TB, path, address string) {
	t.Helper()
	Do(t, path, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	})
}

// AddAddress puts an address (a CIDR) on lo.
func AddAddress(t testing.TB, path, address string) {
	t.Helper()
	Do(t, path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, addr)
	})
}

// AddRoute adds a route by way of a gateway; an empty prefix is the default route.
func AddRoute(t testing.TB, path, prefix, gateway string) {
	t.Helper()
	Do(t, path, func() error {
		if prefix == "" {
			prefix = "0.0.0.0/0"
		}
		_, dst, err := net.ParseCIDR(prefix)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(gateway)})
	})
}

// Do runs f in a namespace and fails the test on an error.
func Do(t testing.TB, path string, f func() error) {
	t.Helper()
	if err := netns.Do(path, f); err != nil {
		t.Fatalf("in namespace %s: %v", path, err)
	}
}

// Rules writes nftables rules in a namespace, in one transaction.
func Rules(t testing.TB, path string, write func(*nftables.Conn)) {
	t.Helper()
	Do(t, path, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		write(c)
		return c.Flush()
	})
}

// Cgroup makes a cgroup below the hierarchy mounted at root, in a directory of the test's own, and returns its
// directory. It is removed after the test, when the processes in it have ended.
func Cgroup(t testing.TB, root, name string) string {
	t.Helper()
	RequireRoot(t)
	parent, err := os.MkdirTemp(root, "podsim-test-")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(removeCgroup(dir), removeCgroup(parent)); err != nil {
			t.Errorf("remove a cgroup: %v", err)
		}
	})
	return dir
}

// removeCgroup waits out the moment in which a process that has ended still counts.
func removeCgroup(dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := unix.Rmdir(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			return nil
		}
		<-time.After(time.Millisecond)
	}
}

// Credential is a process's identity without further groups.
func Credential(uid, gid uint32) *syscall.Credential { return &syscall.Credential{Uid: uid, Gid: gid} }
