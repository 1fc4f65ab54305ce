//go:build linux

package netns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// attachAs joins the machine's network as id and attaches a new namespace to it.
func (m *machine) attachAs(t testing.TB, id string) (Attachment, Result, Bridge) {
	t.Helper()
	n := Network{StateDir: m.state}
	a := Attachment{ContainerID: id, IfName: "eth0", NetNS: newNetns(t)}
	var res Result
	var b Bridge
	inside(t, m.netns, func() (err error) {
		if b, err = n.Join(t.Context(), id); err != nil {
			return err
		}
		a.Conf = b.Conf
		res, err = n.CNI(m.dirs...).Attach(t.Context(), a)
		return err
	})
	return a, res, b
}

// drop undoes attachAs.
func (m *machine) drop(t testing.TB, attached ...Attachment) {
	t.Helper()
	n := Network{StateDir: m.state}
	inside(t, m.netns, func() error {
		var errs []error
		for _, a := range attached {
			errs = append(errs, n.CNI(m.dirs...).Detach(t.Context(), a), n.Leave(t.Context(), a.ContainerID, nil))
		}
		return errors.Join(errs...)
	})
}

// port8080 is an address's port 8080.
func port8080(a netip.Addr) string { return netip.AddrPortFrom(a, 8080).String() }

func TestPodsReachEachOtherAndTheMachineByIPv6AtOnce(t *testing.T) { // NW-14
	m := newMachine(t)
	before := m.describe(t)
	one, oneHas, b := m.attachAs(t, "one")
	two, twoHas, _ := m.attachAs(t, "two")
	// The first thing that happens after the attachment: an address that is being looked into cannot be listened on.
	if got := seenFrom(t, two.NetNS, port8080(twoHas.IPs[1].Addr()), one.NetNS); got != oneHas.IPs[1].Addr() {
		t.Errorf("the second pod saw %s, want the first's %s", got, oneHas.IPs[1])
	}
	if got := seenFrom(t, m.netns, port8080(b.Gateway6), two.NetNS); got != twoHas.IPs[1].Addr() {
		t.Errorf("the machine saw %s, want the second pod's %s", got, twoHas.IPs[1])
	}
	if got := seenFrom(t, one.NetNS, port8080(oneHas.IPs[1].Addr()), m.netns); got != b.Gateway6 {
		t.Errorf("the first pod saw %s, want the machine's %s", got, b.Gateway6)
	}
	m.drop(t, one, two)
	m.wantAs(t, before, "at the end")
}

func TestAPodWhoseSysctlsTurnIPv6OffHasIPv4Alone(t *testing.T) {
	m := newMachine(t)
	a := Attachment{ContainerID: "x", IfName: "eth0", NetNS: newNetns(t)}
	inside(t, a.NetNS, func() error {
		return os.WriteFile(filepath.Join(ipv6Conf, "default", "disable_ipv6"), []byte("1"), 0)
	})
	n := Network{StateDir: m.state}
	inside(t, m.netns, func() error {
		b, err := n.Join(t.Context(), "x")
		if err != nil {
			return err
		}
		a.Conf = b.Conf
		res, err := n.CNI(m.dirs...).Attach(t.Context(), a)
		if len(res.IPs) != 1 || !res.IPs[0].Addr().Is4() {
			t.Errorf("got %v, want an IPv4 address alone", res.IPs)
		}
		return err
	})
	m.drop(t, a)
}

func TestAMachineWithoutIPv6GivesPodsIPv4Alone(t *testing.T) {
	for _, scope := range []string{"all", "default"} {
		t.Run(scope, func(t *testing.T) {
			m := newMachine(t)
			inside(t, m.netns, func() error {
				return os.WriteFile(filepath.Join(ipv6Conf, scope, "disable_ipv6"), []byte("1"), 0)
			})
			before := m.describe(t)
			a, res, b := m.attachAs(t, "x")
			if len(res.IPs) != 1 || b.Subnet6.IsValid() || b.Gateway6.IsValid() {
				t.Errorf("got %v on %+v, want an IPv4 address alone", res.IPs, b)
			}
			if got := seenFrom(t, m.outside, "198.51.100.1:8080", a.NetNS); got != netip.MustParseAddr("198.51.100.2") {
				t.Errorf("the outside saw %s, want the machine's own 198.51.100.2", got)
			}
			m.drop(t, a)
			m.wantAs(t, before, "at the end")
		})
	}
}

func TestANetworkOfIPv4AloneGetsIPv6WithTheNextMemberAndGoesWhole(t *testing.T) {
	m := newMachine(t)
	before := m.describe(t)
	n := Network{StateDir: m.state}
	old := Attachment{ContainerID: "old", IfName: "eth0", NetNS: newNetns(t)}
	inside(t, m.netns, func() error { // as podsim made it before it knew of IPv6
		subnet := netip.MustParsePrefix("10.222.0.0/20")
		b := Bridge{Name: n.BridgeName(), Subnet: subnet, Gateway: subnet.Addr().Next(), MTU: 1400}
		if err := errors.Join(n.writeRecord(record{Subnet: subnet, Members: []string{"old"}}), n.ensureBridge(b, nil), openUplink(b)); err != nil {
			return err
		}
		old.Conf = n.conf(b)
		res, err := n.CNI(m.dirs...).Attach(t.Context(), old)
		if len(res.IPs) != 1 {
			t.Errorf("got %v, want an IPv4 address alone", res.IPs)
		}
		return err
	})
	both, res, b := m.attachAs(t, "new")
	if len(res.IPs) != 2 {
		t.Errorf("got %v, want two addresses", res.IPs)
	}
	seenFrom(t, m.netns, port8080(b.Gateway6), both.NetNS)
	seenFrom(t, m.netns, port8080(b.Gateway), old.NetNS)
	m.drop(t, both, old)
	m.wantAs(t, before, "at the end")
}

// Turning forwarding on would cost the machine the routes that it has from its router, and a link that forwards while
// the others do not its setting.
func TestForwardingLeavesRoutersAdvertisementsAndForwardingLinksAsTheyWere(t *testing.T) {
	m := newMachine(t)
	advertised := func() (n int) {
		inside(t, m.netns, func() error {
			routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
			n = len(routes)
			return err
		})
		return n
	}
	inside(t, m.netns, func() error {
		up, err := netlink.LinkByName("up0")
		if err != nil {
			return err
		}
		return errors.Join(
			netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("2001:db8:1::/48")), Gw: net.ParseIP("2001:db8::1"), Protocol: unix.RTPROT_RA}),
			setting{link: "lo", name: "forwarding"}.write("1"))
	})
	before := m.describe(t)
	one, _, _ := m.attachAs(t, "one")
	two, _, _ := m.attachAs(t, "two") // what it finds is not what was there at first
	inside(t, m.netns, func() error {
		if v, err := readSysctl(filepath.Join(ipv6Conf, "up0", acceptRA)); v != keepAccepting || err != nil {
			t.Errorf("accept_ra of up0 is %s (%v), want %s while forwarding is on", v, err, keepAccepting)
		}
		return nil
	})
	if got := advertised(); got != 1 {
		t.Errorf("the machine has %d advertised routes, want the one it had", got)
	}
	m.drop(t, one, two)
	m.wantAs(t, before, "at the end")
}

func TestChosenSubnet6IsUniqueLocalAndOverlapsNoClaim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := Network{StateDir: "/" + rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "dir")}
		var claims []claim
		taken := rapid.IntRange(0, candidates6).Draw(t, "taken")
		for range taken {
			p, err := n.chooseSubnet6(claims)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range claims {
				if p.Overlaps(c.Prefix) {
					t.Fatalf("chose %s, which overlaps %s", p, c.By)
				}
			}
			if p.Bits() != 64 || p != p.Masked() || !netip.MustParsePrefix("fd00::/8").Overlaps(p) {
				t.Fatalf("%s is no /64 of unique local addresses", p)
			}
			wide, _ := p.Addr().Prefix(rapid.IntRange(48, 64).Draw(t, "bits"))
			claims = append(claims, claim{wide, "route " + wide.String()})
		}
		if _, err := n.chooseSubnet6(claims); taken == candidates6 && err == nil {
			t.Fatal("there is a subnet left where all were taken")
		} else if _, ok := errors.AsType[*ConflictError](err); err != nil && !ok {
			t.Fatalf("got %v, want a ConflictError", err)
		}
	})
}

func TestTheSecondAddressHasTheFirstsNumber(t *testing.T) {
	s := ownConf{Subnet: netip.MustParsePrefix("10.222.16.0/20"), Subnet6: netip.MustParsePrefix("fd01:2:3:4::/64")}
	for v4, want := range map[string]string{
		"10.222.16.2": "fd01:2:3:4::2/64", "10.222.31.254": "fd01:2:3:4::ffe/64", "10.222.17.0": "fd01:2:3:4::100/64",
	} {
		if diff := cmp.Diff(want, s.of(netip.MustParseAddr(v4)).String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", v4, diff)
		}
	}
}
