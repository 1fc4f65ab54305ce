//go:build !linux

package main

import "github.com/podsim/podsim/podsim/host"

// A line connects to a process in a container, on Linux.
type line struct{ host.Streams }

// connect returns a *host.NotReadyError.
func (v *visit) connect(bool, bool, func()) (*line, error) {
	return nil, hostError(host.Preflight(v.config()))
}

func (*line) close() {}
