//go:build !linux

package flows

import (
	"context"
	"fmt"

	"github.com/podsim/podsim/netns"
)

var errLinuxOnly = fmt.Errorf("observe flows: %w", netns.ErrNotLinux)

// A Recorder keeps the ledger of one network namespace. It exists on Linux only.
type Recorder struct{}

// Load is an error outside Linux.
func Load(Config) (*Recorder, error) { return nil, errLinuxOnly }

// Track is an error outside Linux.
func (*Recorder) Track(name, dir string) error { return errLinuxOnly }

// Snapshot is an error outside Linux.
func (*Recorder) Snapshot(context.Context) (Ledger, error) { return Ledger{}, errLinuxOnly }

// Close does nothing outside Linux.
func (*Recorder) Close() error { return nil }

// CgroupMount is an error outside Linux.
func CgroupMount() (string, error) { return "", errLinuxOnly }
