//go:build !linux

package main

import (
	"errors"
	"net"
	"net/netip"
)

// originalDestination is the kernel's to tell, and only Linux's does.
func originalDestination(*net.TCPConn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("no original destination: transparent proxying needs Linux")
}
