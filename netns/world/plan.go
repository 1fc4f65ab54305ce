package world

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Prefix is what worlds take their addresses from: RFC 2544's, which is routed nowhere.
var Prefix = netip.MustParsePrefix("198.18.0.0/15")

// DNSAddress is where a world's resolver listens.
var DNSAddress = netip.MustParseAddr("198.18.0.53")

// StubAddress is the address of the i-th stub, from 0: 198.18.0.10, .11 and so on, without the resolver's.
func StubAddress(i int) (netip.Addr, error) {
	first := binary.BigEndian.Uint32([]byte{198, 18, 0, 10})
	dns := int(binary.BigEndian.Uint32(DNSAddress.AsSlice()) - first)
	offset := i
	if i >= dns {
		offset++
	}
	a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first+uint32(max(offset, 0)))))
	if i < 0 || offset > 1<<17 || !Prefix.Contains(a) {
		return netip.Addr{}, fmt.Errorf("no address is left in %s for stub %d", Prefix, i)
	}
	return a, nil
}
