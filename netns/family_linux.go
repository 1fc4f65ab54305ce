package netns

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
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

// destinationAt is the same of the destination address.
func (f family) destinationAt() (offset, size uint32) {
	if f == ip6 {
		return 24, 16
	}
	return 16, 4
}

// header loads an address of the header.
func (f family) header(at func() (offset, size uint32)) expr.Any {
	offset, size := at()
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

// inPrefix matches an address of the header that is in p.
func (f family) inPrefix(at func() (offset, size uint32), p netip.Prefix) []expr.Any {
	_, size := at()
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		f.header(at),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

// compareLink matches a link by its whole name.
func compareLink(key expr.MetaKey, link string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: paddedName(link)}}
}
