package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST of its IPv6 sibling.
const soOriginalDst = 80

// originalDestination asks the kernel where a redirected connection was meant to go.
func originalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ask for the original destination: %w", err)
	}
	v4 := addrPort(conn.LocalAddr()).Addr().Is4()
	var meant netip.AddrPort
	if cerr := raw.Control(func(fd uintptr) {
		if v4 {
			meant, err = original4(int(fd))
		} else {
			meant, err = original6(int(fd))
		}
	}); cerr != nil {
		err = cerr
	}
	switch {
	case err == nil:
		return meant, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOPROTOOPT):
		return netip.AddrPort{}, fmt.Errorf("no original destination (%w): no redirect rule sent the connection here", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return netip.AddrPort{}, fmt.Errorf("no original destination (%w): the connection is MPTCP's", err)
	}
	return netip.AddrPort{}, fmt.Errorf("ask for the original destination: %w", err)
}

// original4 borrows a structure of x/sys that is at least as long as the sockaddr_in that the kernel fills in.
func original4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := m.Multiaddr // family 2, port 2, address 4
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// original6 borrows one that begins with a sockaddr_in6.
func original6(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := (*[2]byte)(unsafe.Pointer(&m.Addr.Port)) // in network order
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}
