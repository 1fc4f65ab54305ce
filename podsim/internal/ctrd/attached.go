//go:build linux

package ctrd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	oruntime "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrNotRunning says that there is no such container, or that its main process does not run.
var ErrNotRunning = errors.New("the container does not run")

// ErrInputClosed says that a container has no standard input, or none any more.
var ErrInputClosed = errors.New("the container's standard input is closed")

// ErrUnattended says that nobody passes a container's output on: its creator is gone.
var ErrUnattended = errors.New("nobody passes the container's output on: the podsim that ran it has died")

// An Attached is a running container that some other process has created, and looks after. It holds nothing.
type Attached struct {
	room
	dir  string // of its pipes
	proc *oruntime.Process
	pid  int
}

// Attach finds a running container by its ID in containerd. ErrNotRunning says that there is none.
func (c *Client) Attach(ctx context.Context, id string) (*Attached, error) {
	record, err := c.ctr.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("find container %s: %w", id, ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("find container %s: %w", id, native(err))
	}
	var spec oruntime.Spec
	if err := json.Unmarshal(record.Spec.GetValue(), &spec); err != nil || spec.Process == nil {
		return nil, fmt.Errorf("read the specification of container %s: %w", id, err)
	}
	a := &Attached{dir: c.pipeDir(record.Labels[labelRun], id), proc: spec.Process}
	a.room = room{client: c, id: id, over: func() bool {
		pid, err := c.runningTask(context.WithoutCancel(ctx), id)
		return err == nil && pid == 0
	}}
	if a.pid, err = c.runningTask(ctx, id); err != nil {
		return nil, fmt.Errorf("find container %s: %w", id, err)
	}
	if a.pid == 0 {
		return nil, fmt.Errorf("find container %s: %w", id, ErrNotRunning)
	}
	return a, nil
}

// runningTask is the process ID of a container's task, 0 if it does not run.
func (c *Client) runningTask(ctx context.Context, id string) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	r, err := c.tasks().Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err = ignoreNotFound(native(err)); err != nil {
		return 0, err
	}
	if r.GetProcess().GetStatus() != tasktypes.Status_RUNNING {
		return 0, nil
	}
	return int(r.Process.Pid), nil
}

// PID is the main process's.
func (a *Attached) PID() int { return a.pid }

// User is who the main process was started as, and Cwd where.
func (a *Attached) User() User {
	return User{UID: a.proc.User.UID, GID: a.proc.User.GID, Groups: a.proc.User.AdditionalGids}
}

// Cwd is the main process's first working directory.
func (a *Attached) Cwd() string { return a.proc.Cwd }

// makeDir makes a directory for the pipes of one more process. That of the container is made by its creator alone, and is
// gone with it: so nothing is left where nobody would look for it.
func (a *Attached) makeDir(name string) (string, error) {
	dir := filepath.Join(a.dir, name)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotRunning
	}
	if err != nil {
		return "", fmt.Errorf("make pipes: %w", err)
	}
	return dir, nil
}

// Attach connects streams to the main process: its output goes to them from now on, Stdin is its input, and Sizes are those
// of its terminal; TTY, Size and Signals have no meaning. Where once is true, its input ends with this one, however that ends.
// It returns when the container has ended, or with ctx. ErrInputClosed says that there is a Stdin and nobody
// reads it, ErrUnattended that the container's creator is gone.
func (a *Attached) Attach(ctx context.Context, s Streams, once bool) error {
	if s.Stdin != nil {
		defer func() { _ = s.Stdin.Close() }() // only a reader's: it loses nothing
	}
	if err := a.attach(ctx, newOutlet(s), s, once); err != nil {
		return fmt.Errorf("attach to container %s: %w", a.id, err)
	}
	return nil
}

func (a *Attached) attach(ctx context.Context, out *outlet, s Streams, once bool) error {
	in, err := a.openInput(ctx, s.Stdin, once)
	if err != nil {
		return err
	}
	over, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer func() {
		end()
		if in != nil {
			_ = in.Close()
			_ = s.Stdin.Close()
		}
	}()
	err = view(ctx, a.dir, out.stdout, out.stderr, func() { // what these two bring about is seen
		all.Go(func() { a.follow(over, s.Sizes) })
		if in != nil {
			all.Go(func() {
				_, _ = io.Copy(in, s.Stdin) // whichever of the two ends first
				_ = in.Close()
			})
		}
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return a.unattended()
	}
	return err
}

// unattended tells why there is no output to be had.
func (a *Attached) unattended() error {
	if a.over() {
		return ErrNotRunning
	}
	return ErrUnattended
}

// follow keeps the terminal's size.
func (a *Attached) follow(ctx context.Context, sizes <-chan Size) {
	for {
		select {
		case size := <-sizes:
			a.resize(ctx, "", size)
		case <-ctx.Done():
			return
		}
	}
}

// openInput opens the container's input for a reader of ours; nil for none.
func (a *Attached) openInput(ctx context.Context, from io.Reader, once bool) (*os.File, error) {
	if from == nil {
		return nil, nil
	}
	in, err := os.OpenFile(filepath.Join(a.dir, inputName), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil, ErrInputClosed
	}
	if err != nil {
		return nil, fmt.Errorf("open the container's input: %w", err)
	}
	if once { // from here on the pipe has no writers but those that are attached
		if err := a.closeInput(ctx, ""); err != nil {
			return nil, errors.Join(err, in.Close())
		}
	}
	return in, nil
}

// Root opens the root of the container's file system, as its processes see it, for openat2 with RESOLVE_IN_ROOT. The
// caller closes it.
func (a *Attached) Root() (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/root", a.pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("open the root of container %s: %w", a.id, ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("open the root of container %s: %w", a.id, err)
	}
	root := os.NewFile(uintptr(fd), "/")
	if a.over() { // and the number may have been another process's
		return nil, errors.Join(fmt.Errorf("open the root of container %s: %w", a.id, ErrNotRunning), root.Close())
	}
	return root, nil
}
