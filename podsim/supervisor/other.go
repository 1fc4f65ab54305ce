//go:build !linux

package supervisor

import (
	"context"
	"io/fs"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/timeline"
)

// Command is the argument by which podsim's own program is a supervisor, on Linux.
const Command = "__supervisor"

// Main fails: pods run on Linux only.
func Main() int { return 3 }

// A Found is a pod that was applied; here there is none.
type Found struct {
	Run, ID, Dir, Pins string
	Pod                *corev1.Pod
	Lost               bool
}

// List returns a *host.NotReadyError.
func List(context.Context, host.Site) ([]Found, error) { return nil, host.Preflight(host.Config{}) }

// Get returns a *host.NotReadyError.
func Get(context.Context, host.Site, string, string) (Found, error) {
	return Found{}, host.Preflight(host.Config{})
}

// Watch returns a *host.NotReadyError.
func Watch(context.Context, host.Site, string, string, func(Event) error) error {
	return host.Preflight(host.Config{})
}

// Apply returns a *host.NotReadyError.
func Apply(context.Context, string, Request) (Outcome, Found, error) {
	return "", Found{}, host.Preflight(host.Config{})
}

// Timeline has nothing to read.
func (Found) Timeline() (timeline.Header, timeline.View, error) {
	return timeline.Header{}, timeline.View{}, fs.ErrNotExist
}

// Follow has nothing to tell.
func (Found) Follow(context.Context, func(timeline.Header, []timeline.Record) error) error {
	return fs.ErrNotExist
}

// Delete returns a *host.NotReadyError.
func (Found) Delete(context.Context, Host, *int64) error { return host.Preflight(host.Config{}) }

// AwaitGone returns at once.
func (Found) AwaitGone(context.Context) error { return nil }

// AddEphemeral returns a *host.NotReadyError.
func (Found) AddEphemeral(context.Context, corev1.EphemeralContainer) error {
	return host.Preflight(host.Config{})
}
