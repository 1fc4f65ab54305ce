package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// onward dials where a connection that was meant for an address is to go.
func (p *proxy) onward(ctx context.Context, l leg, down *net.TCPConn, meant netip.AddrPort) (*net.TCPConn, error) {
	if peer := addrPort(down.RemoteAddr()); p.own.has(peer.Port()) && local(peer.Addr()) {
		return nil, fmt.Errorf("%w: the proxy opened this connection itself; is its user exempt from the rules?", errLoop)
	}
	target := meant
	if l == inward && p.inboundTo == "localhost" {
		target = netip.AddrPortFrom(loopback(meant.Addr()), meant.Port())
	}
	if p.mine(target.Port()) && local(target.Addr()) {
		return nil, fmt.Errorf("%w: %s is the proxy's own port; was it dialled directly, without a redirect?", errLoop, target)
	}
	var source netip.Addr
	if l == inward && p.source.Is4() == target.Addr().Is4() {
		source = p.source
	}
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout)
	defer cancel()
	var port uint16
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		p.own.remove(port) // of an attempt before this one
		port, err = p.own.bind(c, target.Addr().Is4(), source)
		return err
	}}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", target.String())
	if err != nil {
		p.own.remove(port)
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// mine reports whether port is one of the proxy's own.
func (p *proxy) mine(port uint16) bool {
	return int(port) == p.outbound || int(port) == p.inbound
}

// local reports whether addr is an address of this network namespace.
func local(addr netip.Addr) bool {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(addr.AsSlice())
	})
}

func loopback(family netip.Addr) netip.Addr {
	if family.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// ownPorts are the local ports of the connections that the proxy has opened. Each is known before its connection
// is made, so that one that comes back is recognised, however fast. The kernel gives a port that was bound like
// this to nobody else in the namespace. Its zero value is empty.
type ownPorts struct {
	mu   sync.Mutex
	used map[uint16]struct{}
}

// bind gives the socket the source, if that is valid, and a port, which it remembers and returns.
func (o *ownPorts) bind(c syscall.RawConn, v4 bool, source netip.Addr) (uint16, error) {
	if !source.IsValid() {
		source = netip.IPv6Unspecified()
		if v4 {
			source = netip.IPv4Unspecified()
		}
	}
	var at unix.Sockaddr = &unix.SockaddrInet6{Addr: source.As16()}
	if v4 {
		at = &unix.SockaddrInet4{Addr: source.As4()}
	}
	var bound unix.Sockaddr
	var err error
	if cerr := c.Control(func(fd uintptr) {
		if err = unix.Bind(int(fd), at); err == nil {
			bound, err = unix.Getsockname(int(fd))
		}
	}); cerr != nil || err != nil {
		return 0, fmt.Errorf("bind to %v: %w", source, errors.Join(cerr, err))
	}
	var port uint16
	switch b := bound.(type) {
	case *unix.SockaddrInet4:
		port = uint16(b.Port)
	case *unix.SockaddrInet6:
		port = uint16(b.Port)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.used == nil {
		o.used = map[uint16]struct{}{}
	}
	o.used[port] = struct{}{}
	return port, nil
}

func (o *ownPorts) has(port uint16) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, used := o.used[port]
	return used
}

// remove forgets a port, which may be 0 for none.
func (o *ownPorts) remove(port uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.used, port)
}

// noIPv6 reports whether err says that the machine or the namespace has no IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
