//go:build !linux

package world

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/podsim/podsim/netns"
)

var errLinuxOnly = fmt.Errorf("stand up a world: %w", netns.ErrNotLinux)

// A World is the running servers. It exists on Linux only.
type World struct{}

// Open is an error outside Linux.
func Open(context.Context, Config) (*World, error) { return nil, errLinuxOnly }

// Close does nothing outside Linux.
func (*World) Close() error { return nil }

// Prepare is an error outside Linux.
func Prepare(path string, addresses []netip.Addr, offline bool) error { return errLinuxOnly }

// Lead is an error outside Linux.
func Lead(path string, via netip.Addr, prefixes []netip.Prefix, all bool) error { return errLinuxOnly }

// CloseIPv6 is an error outside Linux.
func CloseIPv6(path string, via netip.Addr) error { return errLinuxOnly }

// HostResolvers is an error outside Linux.
func HostResolvers(file string) ([]string, error) { return nil, errLinuxOnly }
