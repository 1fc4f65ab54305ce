//go:build !linux

package host

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/podsim/podsim/podsim/pod"
)

// Doctor has one finding where there is no Linux.
func Doctor(Config) []Finding {
	return []Finding{{
		Name: "operating system", Level: Broken,
		Detail: "podsim runs pods on Linux only, and this is " + runtime.GOOS + "; podsim plan and podsim check work here",
		Fix:    "vagrant up (in podsim's checkout: it makes a Linux machine)",
	}}
}

// Preflight returns a *NotReadyError.
func Preflight(c Config) error { return &NotReadyError{Doctor(c)} }

// A Host performs one run's actions, on Linux; here none can be opened.
type Host struct{}

// Open returns a *NotReadyError.
func Open(_ context.Context, c Config) (*Host, error) { return nil, Preflight(c) }

// ID is empty.
func (*Host) ID() string { return "" }

// Notes is a channel that never has any.
func (*Host) Notes() <-chan pod.Event { return nil }

// Timeline returns a *NotReadyError.
func (*Host) Timeline() (*os.File, error) { return nil, Preflight(Config{}) }

// Do returns a *NotReadyError.
func (*Host) Do(context.Context, pod.Action) (pod.Event, error) {
	return pod.Event{}, Preflight(Config{})
}

// Reap has nothing to take away.
func (*Host) Reap(context.Context) error { return nil }

// Close has nothing to let go of.
func (*Host) Close() error { return nil }

// List returns a *NotReadyError.
func List(_ context.Context, c Config) ([]RunInfo, error) { return nil, Preflight(c) }

// Clean returns a *NotReadyError.
func Clean(_ context.Context, c Config, _ ...string) ([]string, error) { return nil, Preflight(c) }

// Images are those of a site's containerd, on Linux.
type Images struct{}

// OpenImages returns a *NotReadyError.
func OpenImages(_ context.Context, c Config) (*Images, error) { return nil, Preflight(c) }

// Close has nothing to let go of.
func (*Images) Close() error { return nil }

// An Image is one that is present.
type Image struct {
	Ref     string
	ID      string
	Size    int64 // bytes, compressed
	Created time.Time
}

// List returns a *NotReadyError.
func (*Images) List(context.Context) ([]Image, error) { return nil, Preflight(Config{}) }

// Load returns a *NotReadyError.
func (*Images) Load(context.Context, string) ([]string, error) { return nil, Preflight(Config{}) }

// Make returns a *NotReadyError.
func (*Images) Make(context.Context, string, string) (string, error) {
	return "", Preflight(Config{})
}

// FromBinary returns a *NotReadyError.
func (*Images) FromBinary(context.Context, string) (string, error) { return "", Preflight(Config{}) }

// Remove returns a *NotReadyError.
func (*Images) Remove(context.Context, ...string) ([]string, error) {
	return nil, Preflight(Config{})
}

// Prune returns a *NotReadyError.
func (*Images) Prune(context.Context, bool) ([]string, error) { return nil, Preflight(Config{}) }

// ErrNotRunning, ErrInputClosed and ErrUnattended are what Attach and Attached tell of a container on Linux.
var (
	ErrNotRunning  = errors.New("the container does not run")
	ErrInputClosed = errors.New("the container's standard input is closed")
	ErrUnattended  = errors.New("nobody passes the container's output on")
)

// An Attached is a running container of some run, on Linux; here none can be found.
type Attached struct{}

// Attach returns a *NotReadyError.
func Attach(_ context.Context, c Config, _ Instance) (*Attached, error) { return nil, Preflight(c) }

// Close has nothing to let go of.
func (*Attached) Close() error { return nil }

// Exec returns a *NotReadyError.
func (*Attached) Exec(context.Context, []string, Streams) (int, error) {
	return 0, Preflight(Config{})
}

// Attach returns a *NotReadyError.
func (*Attached) Attach(context.Context, Streams, bool) error { return Preflight(Config{}) }

// CopyIn returns a *NotReadyError.
func (*Attached) CopyIn(context.Context, string, string, func(string)) error {
	return Preflight(Config{})
}

// CopyOut returns a *NotReadyError.
func (*Attached) CopyOut(context.Context, string, string, func(string)) error {
	return Preflight(Config{})
}
