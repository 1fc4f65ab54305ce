package host

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
)

// ErrNotRunning says that a container does not run, or not any more.
var ErrNotRunning = ctrd.ErrNotRunning

// ErrInputClosed says that a container has no standard input, or none any more.
var ErrInputClosed = ctrd.ErrInputClosed

// ErrUnattended says that nobody passes a container's output on: whoever ran its pod has died.
var ErrUnattended = ctrd.ErrUnattended

// An Attached is a running container of some run of the site, whichever process that run is of. Close it.
type Attached struct {
	runtime   *ctrd.Client
	container *ctrd.Attached
}

// Attach finds a running container; ErrNotRunning says that there is none. Only the site and the bundle of c count: the
// run's record tells which containerd it is in.
func Attach(ctx context.Context, c Config, i Instance) (*Attached, error) {
	c = c.withDefaults()
	if err := Preflight(c); err != nil {
		return nil, err
	}
	runs, err := rundir.List(c.Site.StateDir)
	if err != nil {
		return nil, err
	}
	if n := slices.IndexFunc(runs, func(e rundir.Entry) bool { return e.ID == i.Run }); n >= 0 {
		c.Containerd = runs[n].Containerd
	}
	runtime, err := ctrd.Open(ctx, c.runtime())
	if err != nil {
		return nil, err
	}
	container, err := runtime.Attach(ctx, containerID(i.Pod, i.Container, i.Number))
	if err != nil {
		return nil, errors.Join(err, runtime.Close())
	}
	return &Attached{runtime: runtime, container: container}, nil
}

// Close lets go of containerd; the container runs on.
func (a *Attached) Close() error { return a.runtime.Close() }

// Exec runs a command in the container as the container's user, and returns its exit code, 128+n for signal n, when it has
// ended and its output was passed on. When ctx ends it is killed. A *CommandError says that it could not be started.
func (a *Attached) Exec(ctx context.Context, command []string, s Streams) (int, error) {
	code, err := a.container.Stream(ctx, ctrd.Exec{Args: command}, ctrd.Streams(s))
	refused, isRefused := errors.AsType[*ctrd.RuntimeError](err)
	if !isRefused {
		return code, err
	}
	code = 126
	if strings.Contains(refused.Message, "executable file not found") || strings.Contains(refused.Message, "no such file or directory") {
		code = 127
	}
	return 0, &CommandError{Message: refused.Message, Code: code}
}

// Attach connects streams to the container's main process: its output from now on, its input, which ends with this one if
// once is true, and its terminal's size. It returns when the container has ended, or with ctx. ErrInputClosed says
// that there is a Stdin and nobody reads it.
func (a *Attached) Attach(ctx context.Context, s Streams, once bool) error {
	return a.container.Attach(ctx, ctrd.Streams(s), once)
}
