package world

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// Prepare gives a world's namespace its addresses, on lo. Offline, every other address that the namespace has
// no nearer route to becomes local as well, of IPv4 and, where there is any, of IPv6: as nothing listens there, whoever
// tries is reset at once, and no packet leaves the machine. It is idempotent. The addresses go with the namespace.
func Prepare(path string, addresses []netip.Addr, offline bool) error {
	err := netns.Do(path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo: %w", err)
		}
		for _, a := range addresses {
			if err := netlink.AddrReplace(lo, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, a.BitLen()))}); err != nil {
				return fmt.Errorf("add address %s: %w", a, err)
			}
		}
		// Only an interface's own addresses are answered for on a link that other worlds share.
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("1"), 0); err != nil {
			return fmt.Errorf("set sysctl net.ipv4.conf.all.arp_ignore: %w", err)
		}
		if !offline {
			return nil
		}
		return closeRest(lo)
	})
	if err != nil {
		return fmt.Errorf("prepare world in %s: %w", path, err)
	}
	return nil
}

// closeRest replaces the default routes by ones to lo.
func closeRest(lo netlink.Link) error {
	rest := []netip.Prefix{anywhere}
	if hasIPv6(lo) {
		rest = append(rest, anywhere6)
	}
	for _, dst := range rest {
		route := netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: network(dst),
			Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Table: unix.RT_TABLE_MAIN,
		}
		if err := netlink.RouteReplace(&route); err != nil {
			return fmt.Errorf("make every other address of %s local: %w", dst, err)
		}
	}
	return nil
}

// hasIPv6 reports whether IPv6 is on for a link of the calling thread's namespace.
func hasIPv6(link netlink.Link) bool {
	data, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link.Attrs().Name + "/disable_ipv6")
	return err == nil && strings.TrimSpace(string(data)) == "0"
}

var (
	anywhere  = netip.MustParsePrefix("0.0.0.0/0")
	anywhere6 = netip.MustParsePrefix("::/0")
)

// Lead leads a namespace's packets for the given prefixes to the world at via, an address on a link of the
// namespace. all makes it the default route too, in place of the one that is there: an offline world. It is
// idempotent. The routes go with the namespace.
func Lead(path string, via netip.Addr, prefixes []netip.Prefix, all bool) error {
	if all {
		prefixes = append(prefixes[:len(prefixes):len(prefixes)], anywhere)
	}
	err := netns.Do(path, func() error {
		for _, p := range prefixes {
			if err := netlink.RouteReplace(&netlink.Route{Dst: network(p), Gw: net.IP(via.AsSlice())}); err != nil {
				return fmt.Errorf("add route to %s via %s: %w", p, via, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("lead %s to the world: %w", path, err)
	}
	return nil
}

// CloseIPv6 is Lead's all for IPv6, of which a world has no stubs: every address that the namespace has no nearer route to
// is refused at once, by the world at via or, where that is not valid, by the namespace itself. It is idempotent.
func CloseIPv6(path string, via netip.Addr) error {
	route := netlink.Route{Dst: network(anywhere6), Gw: net.IP(via.AsSlice())}
	if !via.IsValid() {
		route.Type = unix.RTN_UNREACHABLE
	}
	if err := netns.Do(path, func() error { return netlink.RouteReplace(&route) }); err != nil {
		return fmt.Errorf("lead the IPv6 of %s to the world: %w", path, err)
	}
	return nil
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: net.IP(p.Addr().AsSlice()), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
