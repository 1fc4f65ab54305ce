//go:build linux

package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A machine is a network namespace that plays the machine, with one link to an outside of its own.
type machine struct {
	netns   string // the machine's
	outside string // 198.51.100.1/24 and 2001:db8::1/64; the machine is 2 there and has its default routes to it
	state   string
	dirs    []string // of CNI plugins
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{netns: newNetns(t), outside: newNetns(t), state: filepath.Join(t.TempDir(), "state"), dirs: []string{pluginDir(t)}}
	out, err := openPin(m.outside)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(out)
	inside(t, m.netns, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "up0", 1400
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "up1", PeerNamespace: netlink.NsFd(out)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		// A new namespace takes over what the real machine's forwarding is at the moment.
		return errors.Join(ip4.setForwarding(false), ip6.setForwarding(false), address("up0", "198.51.100.2/24"), defaultRoute("198.51.100.1"),
			address("up0", "2001:db8::2/64"), defaultRoute("2001:db8::1"))
	})
	inside(t, m.outside, func() error { return errors.Join(address("up1", "198.51.100.1/24"), address("up1", "2001:db8::1/64")) })
	return m
}

// wantAs fails the test unless the machine is as it was described before.
func (m *machine) wantAs(t testing.TB, before, when string) {
	t.Helper()
	if diff := cmp.Diff(before, m.describe(t)); diff != "" {
		t.Errorf("%s the machine is not as it was (-before +after):\n%s", when, diff)
	}
}

// pluginDir is where the CNI plugins were built.
func pluginDir(t testing.TB) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("PODSIM_BUNDLE"), "../bin"} {
		if dir != "" && pluginIn("bridge", []string{dir}) && pluginIn("host-local", []string{dir}) {
			return dir
		}
	}
	if os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal("PODSIM_REQUIRE_HOST=1, but the CNI plugins are not built (go build -o bin/ tool)")
	}
	t.Skip("needs the CNI plugins (go build -o bin/ tool)")
	return ""
}

func address(link, cidr string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	return errors.Join(netlink.AddrAdd(l, addr), netlink.LinkSetUp(l))
}

func defaultRoute(gw string) error {
	return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)})
}

// state describes all that a Network changes in a machine and its state directory.
func (m *machine) describe(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	inside(t, m.netns, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			fmt.Fprintf(&b, "link %s %s\n", l.Attrs().Name, l.Type())
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		if err != nil {
			return err
		}
		for _, c := range chains {
			fmt.Fprintf(&b, "chain %s %s\n", c.Table.Name, c.Name)
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				return err
			}
			for _, r := range rules {
				comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
				fmt.Fprintf(&b, "  rule %s\n", comment)
			}
		}
		for _, f := range []family{ip4, ip6} {
			on, err := f.readForwarding()
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %t\n", f.forwardName(), on)
		}
		return describeSettings(&b, links)
	})
	filepath.WalkDir(m.state, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != m.state {
			fmt.Fprintln(&b, "file", strings.TrimPrefix(path, m.state))
		}
		return nil
	})
	return b.String()
}

// describeSettings describes what turning forwarding on changes of the links.
func describeSettings(b *strings.Builder, links []netlink.Link) error {
	for _, l := range links {
		for _, name := range []string{"forwarding", acceptRA} {
			value, err := readSysctl(filepath.Join(ipv6Conf, l.Attrs().Name, name))
			if err != nil {
				return err
			}
			fmt.Fprintf(b, "%s of %s %s\n", name, l.Attrs().Name, value)
		}
	}
	return nil
}

// seenFrom connects from one namespace to a listener in another and returns the source address that the listener saw.
func seenFrom(t testing.TB, server, address, client string) netip.Addr {
	t.Helper()
	l, err := Listen(t.Context(), server, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := Dialer{Path: client, Dialer: net.Dialer{Timeout: 5 * time.Second}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

// each runs f for 0 to n-1 at once.
func each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
