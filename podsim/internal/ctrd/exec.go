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
	p, err := makePipes(filepath.Join(k.client.pipeDir(k.run, k.id), id), pipeOptions{})
	if err != nil {
		return ExecResult{}, err
	}
	defer func() { err = errors.Join(err, p.attached(), p.close()) }()
	kept := capture{limit: e.Limit}
	if kept.limit == 0 {
		kept.limit = DefaultExecLimit
	}
	pumped := p.pump(kept.take)
	var code int
	var timedOut bool
	err = k.room().execute(ctx, id, processOf(k.proc, e), p, func(x *execution) (err error) {
		code, timedOut, err = x.await(ctx, e.Timeout)
		return err
	})
	if err != nil || !await(pumped) {
		p.interrupt()
		<-pumped
	}
	return ExecResult{Code: code, TimedOut: timedOut, Stdout: kept.stdout, Stderr: kept.stderr}, err
}

// room is the container as a further process in it needs it.
func (k *Container) room() room { return room{client: k.client, id: k.id, over: k.over} }

// A room is a container, whoever created it, for processes to be run in.
type room struct {
	client *Client
	id     string
	over   func() bool // reports whether the container itself has ended, and its processes with it
}

// An execution is a process that was started in a room.
type execution struct {
	room
	name string
	end  chan execEnd
}

// execute adds, awaits, starts and deletes a process, in this order: an exit cannot be missed, and nothing stays. In
// between attend sees to it, and returns when it has ended.
func (r room) execute(ctx context.Context, name string, proc *oruntime.Process, p *pipes, attend func(x *execution) error) (err error) {
	spec, err := typeurl.MarshalAnyToProto(proc)
	if err != nil {
		return fmt.Errorf("encode the process: %w", err)
	}
	tasksService := r.client.tasks()
	add := func() error {
		_, err := tasksService.Exec(ctx, &tasks.ExecProcessRequest{
			ContainerID: r.id, ExecID: name, Stdin: p.stdin(), Stdout: p.stdout(), Stderr: p.stderr(), Terminal: proc.Terminal, Spec: spec,
		})
		return err
	}
	err = add()
	if errors.Is(native(err), ErrDaemonGone) && r.client.Revive(ctx) == nil {
		name += "b" // the shim may know the first one; nothing of it ran
		err = add()
	}
	if err != nil {
		return runtimeError("exec", err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		_, derr := tasksService.DeleteProcess(after, &tasks.DeleteProcessRequest{ContainerID: r.id, ExecID: name})
		if derr = ignoreNotFound(native(derr)); derr != nil && !r.over() {
			err = errors.Join(err, fmt.Errorf("delete the process: %w", derr))
		}
	}()
	life, stop := context.WithCancel(r.client.life)
	var waiter sync.WaitGroup
	defer func() { stop(); waiter.Wait() }()
	x := &execution{room: r, name: name, end: make(chan execEnd, 1)}
	waiter.Go(func() { x.end <- x.wait(life) })
	if err := x.start(ctx); err != nil {
		return err
	}
	if err := errors.Join(p.open(ctx), p.attached()); err != nil {
		return errors.Join(err, x.kill(ctx))
	}
	return attend(x)
}

// start starts the process. It is not broken off: then nobody would know whether something runs that has to be killed.
func (x *execution) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if _, err := x.client.tasks().Start(ctx, &tasks.StartRequest{ContainerID: x.id, ExecID: x.name}); err != nil {
		return runtimeError("exec", err)
	}
	return nil
}

// wait returns how the process has ended, also where containerd dies meanwhile.
func (x *execution) wait(ctx context.Context) execEnd {
	for {
		r, err := x.client.tasks().Wait(ctx, &tasks.WaitRequest{ContainerID: x.id, ExecID: x.name})
		if err = native(err); errors.Is(err, ErrDaemonGone) && x.client.Revive(ctx) == nil {
			continue // the process runs on in its shim
		}
		return execEnd{int(r.GetExitStatus()), err}
	}
}

type execEnd struct {
	code int
	err  error
}

// await waits for the end of the process, which it brings about where ctx ends or the time is over.
func (x *execution) await(ctx context.Context, timeout time.Duration) (code int, timedOut bool, err error) {
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	select {
	case e := <-x.end:
		return e.code, false, e.err
	case <-expired:
		return 128 + int(unix.SIGKILL), true, x.kill(ctx)
	case <-ctx.Done():
		return 0, false, errors.Join(context.Cause(ctx), x.kill(ctx))
	}
}

// kill kills the process and waits for its end, also when ctx has ended.
func (x *execution) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := x.signal(ctx, unix.SIGKILL); err != nil {
		return err
	}
	select {
	case <-x.end:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the killed process: %w", ctx.Err())
	}
}

// signal sends the process a signal. One that has ended is no failure.
func (x *execution) signal(ctx context.Context, n unix.Signal) error {
	_, err := x.client.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: x.id, ExecID: x.name, Signal: uint32(n)})
	if err = ignoreNotFound(native(err)); err != nil && !x.over() {
		return fmt.Errorf("send the process signal %s: %w", unix.SignalName(n), err)
	}
	return nil
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

// processOf is the container's main process, with what the Exec says otherwise.
func processOf(main *oruntime.Process, e Exec) *oruntime.Process {
	proc := *main
	proc.Terminal = false
	proc.Args = e.Args
	proc.Env = append(append([]string(nil), main.Env...), e.Env...)
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
