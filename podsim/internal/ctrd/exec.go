//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/typeurl/v2"
	oruntime "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// DefaultExecLimit is how much of each output stream is kept of a process that says nothing else.
const DefaultExecLimit = 64 << 10

// An Exec is a further process in a running container.
type Exec struct {
	Args []string // needed
	Env  []string // added to the container's
	Cwd  string   // empty: the container's
	User *User    // nil: the container's
	// Timeout kills the process when it has run for that long. Zero: never.
	Timeout time.Duration
	// Limit is how many bytes of each stream are kept, the first; zero: DefaultExecLimit. The rest is read and
	// thrown away.
	Limit int
}

// An ExecResult is how it ended.
type ExecResult struct {
	Code           int // 128+n for signal n
	TimedOut       bool
	Stdout, Stderr []byte
}

// Exec runs a process in the container and waits for its end. When the timeout is over or ctx ends, it is killed, and
// that awaited. A *RuntimeError says that it could not be started. The container's end ends it too.
func (k *Container) Exec(ctx context.Context, e Exec) (ExecResult, error) {
	r, err := k.exec(ctx, e)
	if err != nil {
		return ExecResult{}, fmt.Errorf("exec in container %s: %w", k.id, err)
	}
	return r, nil
}

func (k *Container) exec(ctx context.Context, e Exec) (_ ExecResult, err error) {
	id := fmt.Sprintf("x%d", k.execs.Add(1))
	p, err := makePipes(filepath.Join(k.client.pipeDir(k.run, k.id), id), false)
	if err != nil {
		return ExecResult{}, err
	}
	defer func() { err = errors.Join(err, p.attached(), p.close()) }()
	kept := capture{limit: e.Limit}
	if kept.limit == 0 {
		kept.limit = DefaultExecLimit
	}
	pumped := p.pump(kept.take)
	code, timedOut, err := k.runExec(ctx, id, e, p)
	if err != nil || !await(pumped) {
		p.interrupt()
		<-pumped
	}
	return ExecResult{Code: code, TimedOut: timedOut, Stdout: kept.stdout, Stderr: kept.stderr}, err
}

// runExec adds, awaits, starts and deletes the process, in this order: an exit cannot be missed, and nothing stays.
func (k *Container) runExec(ctx context.Context, id string, e Exec, p *pipes) (code int, timedOut bool, err error) {
	spec, err := typeurl.MarshalAnyToProto(k.process(e))
	if err != nil {
		return 0, false, fmt.Errorf("encode the process: %w", err)
	}
	add := func() error {
		_, err := k.client.tasks().Exec(ctx, &tasks.ExecProcessRequest{ContainerID: k.id, ExecID: id, Stdout: p.stdout(), Stderr: p.stderr(false), Spec: spec})
		return err
	}
	err = add()
	if errors.Is(native(err), ErrDaemonGone) && k.client.Revive(ctx) == nil {
		id += "b" // the shim may know the first one; nothing of it ran
		err = add()
	}
	if err != nil {
		return 0, false, runtimeError("exec", err)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	defer func() {
		_, derr := k.client.tasks().DeleteProcess(after, &tasks.DeleteProcessRequest{ContainerID: k.id, ExecID: id})
		if derr = ignoreNotFound(native(derr)); derr != nil && !k.over() {
			err = errors.Join(err, fmt.Errorf("delete the process: %w", derr))
		}
	}()
	life, stop := context.WithCancel(k.client.life)
	var waiter sync.WaitGroup
	defer func() { stop(); waiter.Wait() }()
	end := make(chan execEnd, 1)
	waiter.Go(func() {
		wait := func() (*tasks.WaitResponse, error) {
			return k.client.tasks().Wait(life, &tasks.WaitRequest{ContainerID: k.id, ExecID: id})
		}
		r, err := wait()
		for errors.Is(native(err), ErrDaemonGone) && k.client.Revive(life) == nil {
			r, err = wait() // the process runs on in its shim
		}
		end <- execEnd{int(r.GetExitStatus()), native(err)}
	})
	if _, err := k.client.tasks().Start(ctx, &tasks.StartRequest{ContainerID: k.id, ExecID: id}); err != nil {
		return 0, false, runtimeError("exec", err)
	}
	if err := p.attached(); err != nil {
		return 0, false, errors.Join(err, k.killExec(after, id, end))
	}
	return k.awaitExec(ctx, after, id, e.Timeout, end)
}

type execEnd struct {
	code int
	err  error
}

func (k *Container) awaitExec(ctx, after context.Context, id string, timeout time.Duration, end chan execEnd) (code int, timedOut bool, err error) {
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	select {
	case x := <-end:
		return x.code, false, x.err
	case <-expired:
		return 128 + int(unix.SIGKILL), true, k.killExec(after, id, end)
	case <-ctx.Done():
		return 0, false, errors.Join(context.Cause(ctx), k.killExec(after, id, end))
	}
}

// killExec kills a process and waits for its end.
func (k *Container) killExec(ctx context.Context, id string, end chan execEnd) error {
	_, err := k.client.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: k.id, ExecID: id, Signal: uint32(unix.SIGKILL)})
	if err = ignoreNotFound(native(err)); err != nil && !k.over() {
		return fmt.Errorf("kill the process: %w", err)
	}
	select {
	case <-end:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the killed process: %w", ctx.Err())
	}
}

// over reports whether the container itself has ended, and its processes with it.
func (k *Container) over() bool {
	select {
	case <-k.exited:
		return true
	default:
		return false
	}
}

// process is the container's, with what the Exec says otherwise.
func (k *Container) process(e Exec) *oruntime.Process {
	proc := *k.proc
	proc.Terminal = false
	proc.Args = e.Args
	proc.Env = append(append([]string(nil), k.proc.Env...), e.Env...)
	if e.Cwd != "" {
		proc.Cwd = e.Cwd
	}
	if e.User != nil {
		proc.User = oruntime.User{UID: e.User.UID, GID: e.User.GID, AdditionalGids: e.User.Groups}
	}
	return &proc
}

// capture keeps the first bytes of each stream. Each is written by its own goroutine.
type capture struct {
	limit          int
	stdout, stderr []byte
}

func (c *capture) take(stderr bool, data []byte) {
	kept := &c.stdout
	if stderr {
		kept = &c.stderr
	}
	*kept = append(*kept, data[:min(len(data), c.limit-len(*kept))]...)
}
