//go:build linux

package ctrd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is the longest piece of a line that is passed on whole; the kubelet's runtimes cut there too.
const maxLine = 16 << 10

// drainTimeout bounds the wait for output after a process has ended: a child that it left behind may hold its
// streams open for ever.
const drainTimeout = 500 * time.Millisecond

// A Line is one line of a container's output, without its newline, or a piece of a long one.
type Line struct {
	Time    time.Time // when it was read
	Stderr  bool
	Partial bool   // no newline: the line goes on in the next Line of the same stream, or the stream ended
	Text    []byte // valid during the call only
}

// pipes are the named pipes through which a process's output comes from its shim, and its input gets there.
//
// Both ends of the output's are opened here before the shim opens its own, and the writing ends are closed again, and
// the names removed, when it has. So no open blocks, the readers see the end exactly when the shim and its process are
// done with the pipe, and nothing is left on disk while the process runs.
type pipes struct {
	pipeOptions
	dir    string
	out    *os.File
	err    *os.File // nil with a terminal, which has one stream
	in     *os.File // nil unless there is input, and until the shim reads it
	unused []*os.File
}

type pipeOptions struct {
	tty   bool
	input bool
}

func makePipes(dir string, o pipeOptions) (_ *pipes, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	return fillPipes(dir, o)
}

// fillPipes makes the pipes in a directory that is there, and that goes with them.
func fillPipes(dir string, o pipeOptions) (_ *pipes, err error) {
	p := &pipes{pipeOptions: o, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.attached(), p.close())
		}
	}()
	if p.out, err = p.reader(p.stdout()); err != nil {
		return nil, err
	}
	if !o.tty {
		if p.err, err = p.reader(p.stderr()); err != nil {
			return nil, err
		}
	}
	if o.input {
		err = makePipe(p.stdin())
	}
	return p, err
}

func (p *pipes) stdout() string { return filepath.Join(p.dir, "stdout") }

// stderr is empty with a terminal, as stdin is without input: the shim then knows.
func (p *pipes) stderr() string {
	if p.tty {
		return ""
	}
	return filepath.Join(p.dir, "stderr")
}

func (p *pipes) stdin() string {
	if !p.input {
		return ""
	}
	return filepath.Join(p.dir, "stdin")
}

// makePipe makes a named pipe. A leftover of the same name is replaced.
func makePipe(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make pipe: %w", err)
	}
	if err := unix.Mkfifo(name, 0o600); err != nil {
		return fmt.Errorf("make pipe %s: %w", name, err)
	}
	return nil
}

// reader makes a pipe and opens both its ends.
func (p *pipes) reader(name string) (*os.File, error) {
	if err := makePipe(name); err != nil {
		return nil, err
	}
	r, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open output pipe: %w", err)
	}
	w, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open output pipe: %w", err), r.Close())
	}
	p.unused = append(p.unused, w)
	return r, nil
}

// open opens the input, if there is one, when the process was started.
func (p *pipes) open(ctx context.Context) (err error) {
	if p.input {
		p.in, err = openWriter(ctx, p.stdin())
	}
	return err
}

// openWriter opens a pipe to write to it, as soon as its shim has opened it to read: within microseconds of its answer.
func openWriter(ctx context.Context, name string) (*os.File, error) {
	for {
		w, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if !errors.Is(err, unix.ENXIO) {
			return w, err
		}
		if perr := pauseFor(ctx, 100*time.Microsecond); perr != nil {
			return nil, fmt.Errorf("open input pipe: %w", errors.Join(err, perr))
		}
	}
}

// attached is called when the shim has opened the pipes, or will not.
func (p *pipes) attached() error {
	var errs []error
	for _, w := range p.unused {
		errs = append(errs, w.Close())
	}
	p.unused = nil
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// interrupt makes the readers return, with what they have.
func (p *pipes) interrupt() {
	past := time.Unix(1, 0)
	for _, f := range []*os.File{p.out, p.err} {
		if f != nil {
			_ = f.SetReadDeadline(past)
		}
	}
}

func (p *pipes) close() error {
	var errs []error
	for _, f := range []*os.File{p.out, p.err, p.in} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// pump starts a reader for each pipe, which hands on what it reads until the end. done is closed when all have
// ended.
func (p *pipes) pump(take func(stderr bool, data []byte)) (done chan struct{}) {
	var readers sync.WaitGroup
	for _, f := range []*os.File{p.out, p.err} {
		if f == nil {
			continue
		}
		readers.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := f.Read(buf)
				if n > 0 {
					take(f == p.err, buf[:n])
				}
				if err != nil {
					return
				}
			}
		})
	}
	done = make(chan struct{})
	go func() {
		readers.Wait()
		close(done)
	}()
	return done
}

// await waits for done, at most for drainTimeout, and reports whether it came.
func await(done <-chan struct{}) bool {
	t := time.NewTimer(drainTimeout)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// A splitter cuts a stream into lines.
type splitter struct {
	stderr bool
	rest   []byte
}

func (s *splitter) write(data []byte, emit func(Line)) {
	now := time.Now()
	s.rest = append(s.rest, data...)
	for {
		i := bytes.IndexByte(s.rest, '\n')
		switch {
		case i >= 0 && i <= maxLine:
			emit(Line{Time: now, Stderr: s.stderr, Text: bytes.TrimSuffix(s.rest[:i], []byte("\r"))}) // as the kubelet's runtimes do
			s.rest = s.rest[i+1:]
		case len(s.rest) > maxLine:
			emit(Line{Time: now, Stderr: s.stderr, Text: s.rest[:maxLine], Partial: true})
			s.rest = s.rest[maxLine:]
		default:
			s.rest = append([]byte(nil), s.rest...)
			return
		}
	}
}

// flush emits a last line that has no newline.
func (s *splitter) flush(emit func(Line)) {
	if len(s.rest) > 0 {
		emit(Line{Time: time.Now(), Stderr: s.stderr, Text: s.rest, Partial: true})
		s.rest = nil
	}
}

// lines turns the output of pipes into calls of a sink, one at a time.
type lines struct {
	mu   sync.Mutex
	sink func(Line)
	out  splitter
	err  splitter
}

func newLines(sink func(Line)) *lines {
	return &lines{sink: sink, err: splitter{stderr: true}}
}

func (l *lines) take(stderr bool, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil {
		return
	}
	if stderr {
		l.err.write(data, l.sink)
	} else {
		l.out.write(data, l.sink)
	}
}

func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink != nil {
		l.out.flush(l.sink)
		l.err.flush(l.sink)
	}
}
