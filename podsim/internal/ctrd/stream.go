//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	oruntime "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Streams are what somebody is connected to a process by. Signals and Sizes may be nil; they need not be closed.
type Streams struct {
	// Stdin is the process's input: its end is the process's end of input. It is closed when the process has ended, and
	// a Read that is under way must then return. Nil: the process has none.
	Stdin io.ReadCloser
	// Stdout and Stderr get the output. With a TTY all of it comes on Stdout.
	Stdout, Stderr io.Writer
	// TTY gives the process a terminal of a size, which is then what Sizes gave last.
	TTY  bool
	Size Size
	// Signals are passed on to the process.
	Signals <-chan syscall.Signal
	Sizes   <-chan Size
}

// A Size is that of a terminal, in characters. It has no name of its own, so that callers need not name this package.
type Size = struct{ Columns, Rows uint16 }

// Stream runs a process in the container, connected to streams, and returns its exit code, 128+n for signal n, when it has
// ended and its output was passed on. When ctx ends, or the output cannot be passed on, the process is killed, and that
// awaited. The container's end is the process's, with code 137. A *RuntimeError says that it could not be started. Of
// e the timeout and the limit have no meaning here.
//
// When this process is killed, the other one's input ends, and its terminal hangs up; where it has neither, it runs on,
// and waits where its output is not read. All goes with the container.
func (a *Attached) Stream(ctx context.Context, e Exec, s Streams) (int, error) {
	code, err := a.stream(ctx, e, s)
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", a.id, err)
	}
	return code, nil
}

func (a *Attached) stream(ctx context.Context, e Exec, s Streams) (code int, err error) {
	if s.Stdin != nil {
		defer func() { _ = s.Stdin.Close() }() // only a reader's: it loses nothing
	}
	id := "e" + leaseName()
	dir, err := a.makeDir(id)
	if err != nil {
		return 0, err
	}
	p, err := fillPipes(dir, pipeOptions{tty: s.TTY, input: s.Stdin != nil})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.attached(), p.close()) }()
	out := newOutlet(s)
	pumped := p.pump(out.take)
	err = a.room.execute(ctx, id, streamed(processOf(a.proc, e), s), p, func(x *execution) (err error) {
		if code, err = x.converse(ctx, s, p, out); err == nil {
			out.drain(ctx, pumped)
		}
		return err
	})
	p.interrupt()
	<-pumped
	return code, errors.Join(err, out.err())
}

// streamed is a process with the terminal, if it is to have one.
func streamed(proc *oruntime.Process, s Streams) *oruntime.Process {
	if s.TTY {
		proc.Terminal = true
		proc.Env = withTerm(proc.Env)
		proc.ConsoleSize = &oruntime.Box{Width: uint(s.Size.Columns), Height: uint(s.Size.Rows)}
	}
	return proc
}

// converse passes input, signals and sizes on until the process ends.
func (x *execution) converse(ctx context.Context, s Streams, p *pipes, out *outlet) (int, error) {
	if s.Stdin != nil {
		// From here on the pipe has no writer but this process: when that is gone, however it ends, the input has ended.
		if err := x.closeInput(ctx, x.name); err != nil && ctx.Err() == nil && !x.over() {
			return 0, errors.Join(err, x.kill(ctx))
		}
		var feeder sync.WaitGroup
		defer feeder.Wait()
		defer func() { _ = s.Stdin.Close() }()
		in := p.in
		p.in = nil
		defer in.Close()
		feeder.Go(func() {
			_, _ = io.Copy(in, s.Stdin) // whichever of the two ends first
			_ = in.Close()
		})
	}
	for {
		select {
		case e := <-x.end:
			if e.err != nil && x.over() {
				return 128 + int(unix.SIGKILL), nil
			}
			return e.code, e.err
		case n := <-s.Signals:
			if err := x.signal(ctx, n); err != nil {
				return 0, errors.Join(err, x.kill(ctx))
			}
		case size := <-s.Sizes:
			x.resize(ctx, x.name, size)
		case <-out.broken:
			return 0, x.kill(ctx)
		case <-ctx.Done():
			return 0, errors.Join(context.Cause(ctx), x.kill(ctx))
		}
	}
}

// closeInput ends the shim's own hold on the input of a process; empty: of the main one.
func (r room) closeInput(ctx context.Context, process string) error {
	_, err := r.client.tasks().CloseIO(ctx, &tasks.CloseIORequest{ContainerID: r.id, ExecID: process, Stdin: true})
	if err != nil {
		return fmt.Errorf("let go of the process's input: %w", native(err))
	}
	return nil
}

// resize tells a process's terminal its size. A process that is just ending does not mind.
func (r room) resize(ctx context.Context, process string, s Size) {
	_, _ = r.client.tasks().ResizePty(ctx, &tasks.ResizePtyRequest{ContainerID: r.id, ExecID: process, Width: uint32(s.Columns), Height: uint32(s.Rows)})
}

// An outlet writes a process's output for somebody.
type outlet struct {
	stdout, stderr io.Writer

	moves  atomic.Int64 // writes that are over
	busy   atomic.Int64 // writes under way
	broken chan struct{}
	once   sync.Once
	why    error
}

func newOutlet(s Streams) *outlet {
	o := &outlet{stdout: s.Stdout, stderr: s.Stderr, broken: make(chan struct{})}
	for _, w := range []*io.Writer{&o.stdout, &o.stderr} {
		if *w == nil {
			*w = io.Discard
		}
	}
	return o
}

func (o *outlet) take(stderr bool, data []byte) {
	w := o.stdout
	if stderr {
		w = o.stderr
	}
	o.busy.Add(1)
	_, err := w.Write(data)
	o.moves.Add(1)
	o.busy.Add(-1)
	if err != nil {
		o.once.Do(func() {
			o.why = fmt.Errorf("pass its output on: %w", err)
			close(o.broken)
		})
	}
}

// drain waits, when the process has ended, for what is left of its output: as long as there is some, however slowly it
// is taken. A child that was left behind may hold the streams open without saying anything.
func (o *outlet) drain(ctx context.Context, pumped <-chan struct{}) {
	t := time.NewTicker(drainTimeout)
	defer t.Stop()
	for last := o.moves.Load(); ; last = o.moves.Load() {
		select {
		case <-pumped:
			return
		case <-o.broken:
			return
		case <-ctx.Done():
			return
		case <-t.C:
			if o.busy.Load() == 0 && o.moves.Load() == last {
				return
			}
		}
	}
}

// err is why the output could not be passed on; nil while it can.
func (o *outlet) err() error {
	select {
	case <-o.broken:
		return o.why
	default:
		return nil
	}
}
