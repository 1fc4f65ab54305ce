package netns

import (
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// A family is IPv4 or IPv6: what is done for both, and how it is called in the kernel's interfaces.
type family uint8

const (
	ip4 family = iota
	ip6
)

// links is the family's number among links, addresses and routes.
func (f family) links() int {
	if f == ip6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// tables is the family's number among nftables.
func (f family) tables() nftables.TableFamily {
	if f == ip6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

// widest is the length up to which a route says nothing of who uses its addresses: default routes, the two halves of
// one that VPNs set, and in IPv6 the routes for all unique local addresses there are (fd00::/8).
func (f family) widest() int {
	if f == ip6 {
		return 8
	}
	return 1
}

// sourceAt is where the source address is in the family's header, and how long it is, in bytes.
func (f family) sourceAt() (offset, size uint32) {
	if f == ip6 {
		return 8, 16
	}
	return 12, 4
}
