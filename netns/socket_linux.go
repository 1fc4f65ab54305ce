package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// A Dialer connects from inside a network namespace. Its DialContext suits http.Transport and grpc.
type Dialer struct {
	// Path is where the namespace is pinned; empty: the process's own.
	Path string
	// Dialer holds the timeout, local address and socket options, as in package net.
	Dialer net.Dialer
}

// DialContext connects to address, an IP literal with a port: names are not resolved, since the resolver works
// elsewhere. It holds a thread while the connection is being made. Errors of the connection are *net.OpError, as
// net.Dialer returns them.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Path == "" {
		return d.Dialer.DialContext(ctx, network, address)
	}
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial %s in network namespace %s: want an IP address and a port: %w", address, d.Path, err)
	}
	var conn net.Conn
	err := Do(d.Path, func() (err error) {
		conn, err = d.Dialer.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Listen announces on address (an IP literal or nothing, and a port) in the network namespace pinned at path;
// empty: the process's own. Multipath TCP is off, unlike in package net: with it on, SO_ORIGINAL_DST fails for
// a client that uses it. The caller closes the listener.
func Listen(ctx context.Context, path, network, address string) (net.Listener, error) {
	var l net.Listener
	err := at(path, func() (err error) {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenPacket is Listen for udp.
func ListenPacket(ctx context.Context, path, network, address string) (net.PacketConn, error) {
	var p net.PacketConn
	err := at(path, func() (err error) {
		var c net.ListenConfig
		p, err = c.ListenPacket(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// at runs f in the namespace at path, or right here if there is none.
func at(path string, f func() error) error {
	if path == "" {
		return f()
	}
	return Do(path, f)
}
