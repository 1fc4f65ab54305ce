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

func (d *Dialer) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, ErrNotLinux
}

func Listen(context.Context, string, string, string) (net.Listener, error) { return nil, ErrNotLinux }

func ListenPacket(context.Context, string, string, string) (net.PacketConn, error) {
	return nil, ErrNotLinux
}

func Do(string, func() error) error { return ErrNotLinux }

func Pinned(string) bool { return false }

func (p Pins) Create(PinOptions) error { return ErrNotLinux }

func (p Pins) Remove() error { return ErrNotLinux }

func (n Network) Join(context.Context, string) (Bridge, error) { return Bridge{}, ErrNotLinux }

func (n Network) Leave(context.Context, string, func(context.Context) error) error {
	return ErrNotLinux
}

func (n Network) Leftovers(string) ([]Leftover, error) { return nil, ErrNotLinux }

func (n Network) Findings(...string) []Finding {
	return []Finding{{Name: "linux", Fatal: true, Detail: ErrNotLinux.Error(), Fix: "vagrant up && vagrant ssh"}}
}

func (c CNI) Attach(context.Context, Attachment) (Result, error) { return Result{}, ErrNotLinux }

func (c CNI) Detach(context.Context, Attachment) error { return ErrNotLinux }
