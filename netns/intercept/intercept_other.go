//go:build !linux

package intercept

import (
	"context"

	"github.com/podsim/podsim/netns"
)

// A Count is how many packets a rule has met.
type Count struct {
	Table, Chain string
	Family       Family
	Rule         int
	Packets      uint64
}

// Apply returns netns.ErrNotLinux.
func Apply(context.Context, string, Ruleset) (Ruleset, error) { return Ruleset{}, netns.ErrNotLinux }

// Withdraw returns netns.ErrNotLinux.
func Withdraw(context.Context, string, Ruleset) error { return netns.ErrNotLinux }

// ReadBack returns netns.ErrNotLinux.
func ReadBack(context.Context, string) (Ruleset, []Count, error) {
	return Ruleset{}, nil, netns.ErrNotLinux
}

// Detect returns netns.ErrNotLinux.
func Detect(context.Context, string) (Found, error) { return Found{}, netns.ErrNotLinux }
