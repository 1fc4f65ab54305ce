package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/flows"
	"github.com/podsim/podsim/netns/world"
)

// cgroupRoot is where every distribution mounts cgroups.
const cgroupRoot = "/sys/fs/cgroup"

func findCgroups(root string) Finding {
	f := Finding{Name: "cgroups"}
	v1, writable := controllersIn(root)
	switch {
	case isCgroup2(root):
		f.Detail, writable = "v2", unix.Access(root, unix.W_OK) == nil
	case v1 == 0:
		f.Level, f.Detail = Broken, "not mounted: containers need them"
		f.Fix = "mount -t cgroup2 none " + root
		return f
	case isCgroup2(filepath.Join(root, "unified")):
		f.Detail = "v1 with a v2 hierarchy beside it"
	default:
		f.Level, f.Detail = Weaker, "v1 alone: flows cannot be told apart by container, and checks of them are inconclusive"
		f.Fix = fmt.Sprintf("mkdir -p %[1]s/unified && mount -t cgroup2 none %[1]s/unified", root)
	}
	if !writable && os.Geteuid() == 0 {
		f.Level, f.Detail = Broken, f.Detail+", mounted read-only: containers need one of their own"
		f.Fix = "docker run --privileged ... (podman the same), or mount -o remount,rw " + root
	}
	return f
}

// controllersIn counts the hierarchies of cgroup v1 below root, and tells whether they can be written.
func controllersIn(root string) (count int, writable bool) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return 0, false
	}
	writable = true
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if isCgroup1(dir) {
			count++
			writable = writable && unix.Access(dir, unix.W_OK) == nil
		}
	}
	return count, writable
}

// isCgroup2 reports whether a path is on a cgroup v2 hierarchy.
func isCgroup2(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// isCgroup1 reports whether a path is on a hierarchy of cgroup v1.
func isCgroup1(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP_SUPER_MAGIC
}

// ledgerFix loads what a kernel has as modules. The sysctl nf_conntrack_events is none of the causes: the ledger's rules
// ask for their events themselves.
const ledgerFix = "modprobe -a nf_tables nf_conntrack nf_conntrack_netlink nft_ct nft_socket nft_objref (on the machine itself, where podsim runs in a container)"

// findLedger records one connection in a namespace of its own, as a run does: that takes nftables' ct labels, event masks
// and socket cgroupv2, and conntrack's events.
func findLedger() Finding {
	f := Finding{Name: "flow ledger", Detail: "conntrack reports every connection, with labels"}
	weaker := func(err error, fix string) Finding {
		f.Level, f.Detail, f.Fix = Weaker, fmt.Sprintf("cannot be kept: %v: checks of flows are inconclusive", err), fix
		return f
	}
	if os.Geteuid() != 0 {
		f.Level, f.Detail, f.Fix = Weaker, "cannot be tried without root", "sudo podsim doctor"
		return f
	}
	mount, err := flows.CgroupMount()
	if err != nil {
		return weaker(err, "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified")
	}
	cgroup, err := os.MkdirTemp(mount, "podsim-doctor-")
	if err != nil {
		return weaker(err, "docker run --privileged ... (podman the same), or mount -o remount,rw "+mount)
	}
	defer func() { _ = unix.Rmdir(cgroup) }()
	dir, err := os.MkdirTemp("", "podsim-doctor-")
	if err != nil {
		return weaker(err, "make "+os.TempDir()+" writable")
	}
	defer os.Remove(dir)
	pins := netns.Pins{Net: filepath.Join(dir, "net")}
	if err := pins.Create(netns.PinOptions{}); err != nil {
		return weaker(err, "see the finding namespaces")
	}
	if err := errors.Join(tryLedger(pins.Net, cgroup), pins.Remove()); err != nil {
		return weaker(err, ledgerFix)
	}
	return f
}

// tryLedger makes one connection in the namespace at path and looks for it in a ledger.
func tryLedger(path, cgroup string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ledger, err := flows.Load(flows.Config{Netns: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	if err := ledger.Track("doctor", cgroup); err != nil {
		return err
	}
	if err := connectIn(ctx, path); err != nil {
		return fmt.Errorf("connect within a namespace: %w", err)
	}
	snap, err := ledger.Snapshot(ctx)
	switch {
	case err != nil:
		return err
	case !snap.Complete:
		return errors.New(snap.Why)
	case len(snap.Flows) != 1:
		return fmt.Errorf("one connection was made, and the ledger has %d", len(snap.Flows))
	}
	return nil
}

// connectIn makes one connection by loopback.
func connectIn(ctx context.Context, path string) (err error) {
	l, err := netns.Listen(ctx, path, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	d := netns.Dialer{Path: path}
	c, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return err
	}
	taken, err := l.Accept()
	if err != nil {
		return errors.Join(err, c.Close())
	}
	for _, end := range []io.Closer{c, taken} {
		err = errors.Join(err, end.Close())
	}
	return err
}

// findStubRange looks for another system that has the addresses of scenarios' stubs.
func findStubRange() Finding {
	f := Finding{Name: "stub addresses", Detail: fmt.Sprintf("%s is free for scenarios' stubs", world.Prefix)}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		f.Level, f.Detail = Weaker, "routes cannot be listed: "+err.Error()
		return f
	}
	var taken, fix []string
	for _, r := range routes {
		if r.Dst == nil || !overlapsStubs(r.Dst) {
			continue
		}
		dev := fmt.Sprintf("link %d", r.LinkIndex)
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			dev = l.Attrs().Name
		}
		taken = append(taken, fmt.Sprintf("%s dev %s", r.Dst, dev))
		fix = append(fix, fmt.Sprintf("ip route delete %s dev %s", r.Dst, dev))
	}
	if len(taken) > 0 {
		f.Level, f.Fix = Weaker, strings.Join(fix, " && ")
		f.Detail = fmt.Sprintf("this machine has the route %s, and scenarios' stubs have addresses of %s: a pod with stubs reaches them, and not what is there",
			strings.Join(taken, ", "), world.Prefix)
	}
	return f
}

// overlapsStubs leaves out default routes: they lead everywhere.
func overlapsStubs(n *net.IPNet) bool {
	p, err := netip.ParsePrefix(n.String())
	return err == nil && p.Bits() > 0 && p.Overlaps(world.Prefix)
}
