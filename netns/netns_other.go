//go:build !linux

package netns

import (
	"context"
	"errors"
	"net"
)

// ErrNotLinux is what everything that needs the kernel's namespaces returns elsewhere.
var ErrNotLinux = errors.New("network namespaces need Linux: run podsim in a Linux machine (see the Vagrantfile)")

// ErrNotPinned says that no namespace is pinned at a path.
var ErrNotPinned = ErrNotLinux

// A Dialer connects from inside a network namespace, on Linux.
type Dialer struct {
	Path   string
	Dialer net.Dialer
}

// DialContext returns ErrNotLinux.
func (d *Dialer) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, ErrNotLinux
}

// Listen returns ErrNotLinux.
func Listen(context.Context, string, string, string) (net.Listener, error) { return nil, ErrNotLinux }

// ListenPacket returns ErrNotLinux.
func ListenPacket(context.Context, string, string, string) (net.PacketConn, error) {
	return nil, ErrNotLinux
}

// Do returns ErrNotLinux.
func Do(string, func() error) error { return ErrNotLinux }

// Pinned is always false.
func Pinned(string) bool { return false }

// Create returns ErrNotLinux.
func (p Pins) Create(PinOptions) error { return ErrNotLinux }

// Remove returns ErrNotLinux.
func (p Pins) Remove() error { return ErrNotLinux }

// Join returns ErrNotLinux.
func (n Network) Join(context.Context, string) (Bridge, error) { return Bridge{}, ErrNotLinux }

// Leave returns ErrNotLinux.
func (n Network) Leave(context.Context, string, func(context.Context) error) error {
	return ErrNotLinux
}

// Leftovers returns ErrNotLinux.
func (n Network) Leftovers(string) ([]Leftover, error) { return nil, ErrNotLinux }

// Findings says that this is not Linux.
func (n Network) Findings(...string) []Finding {
	return []Finding{{Name: "linux", Fatal: true, Detail: ErrNotLinux.Error(), Fix: "vagrant up && vagrant ssh"}}
}

// Attach returns ErrNotLinux.
func (c CNI) Attach(context.Context, Attachment) (Result, error) { return Result{}, ErrNotLinux }

// Detach returns ErrNotLinux.
func (c CNI) Detach(context.Context, Attachment) error { return ErrNotLinux }
