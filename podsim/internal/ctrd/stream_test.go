//go:build linux

package ctrd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A heard is a writer that can be waited for.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func (h *heard) has(t testing.TB, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q is heard", text), func() bool { return strings.Contains(h.String(), text) })
}

// A conversation is a streamed process, or an attachment, under way.
type conversation struct {
	Streams
	in       *io.PipeWriter
	out, err *heard
	signals  chan syscall.Signal
	sizes    chan Size
	end      chan int
	failed   error
}

// converse begins one. f performs it.
func converse(s Streams, f func(Streams) (int, error)) *conversation {
	c := &conversation{out: &heard{}, err: &heard{}, signals: make(chan syscall.Signal, 1), sizes: make(chan Size, 1), end: make(chan int, 1), Streams: s}
	c.Stdin, c.in = io.Pipe()
	c.Stdout, c.Stderr, c.Signals, c.Sizes = c.out, c.err, c.signals, c.sizes
	go func() {
		code, err := f(c.Streams)
		c.failed = err
		c.end <- code
	}()
	return c
}

func (c *conversation) say(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c.in, text); err != nil {
		t.Fatalf("say %q: %v", text, err)
	}
}

// ends waits for the end with a code.
func (c *conversation) ends(t testing.TB, code int) {
	t.Helper()
	select {
	case got := <-c.end:
		if c.failed != nil || got != code {
			t.Fatalf("it ended with code %d, %v; want %d; it said %q and %q", got, c.failed, code, c.out, c.err)
		}
	case <-deadline(t).Done():
		t.Fatalf("it does not end; it said %q and %q", c.out, c.err)
	}
}

func (f *fixture) attach(k *Container) *Attached {
	f.t.Helper()
	a, err := f.c.Attach(deadline(f.t), k.ID())
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// pipesLeft lists what lies in a container's directory of pipes.
func pipesLeft(a *Attached) string {
	var left []string
	entries, _ := os.ReadDir(a.dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	return strings.Join(left, " ")
}

func TestAProcessIsStreamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := f.config("app", "block")
	cfg.Spec.Env = []string{"GREETING=hello"}
	cfg.Spec.User = User{UID: 5, GID: 6, Groups: []uint32{7}}
	k, _ := f.start(cfg)
	a := f.attach(k)
	ctx := deadline(t)
	stream := func(args ...string) func(Streams) (int, error) {
		return func(s Streams) (int, error) {
			return a.Stream(ctx, Exec{Args: append([]string{"/prog"}, args...)}, s)
		}
	}

	t.Run("its input is passed on, and its end; its output comes back, and its code", func(t *testing.T) {
		c := converse(Streams{}, stream("echo"))
		c.out.has(t, "reading\n")
		c.say(t, "one\n")
		c.out.has(t, "got one\n")
		c.say(t, "two\nthree")
		_ = c.in.Close()
		c.ends(t, 5)
		if got := c.out.String(); got != "reading\ngot one\ngot two\ngot three\n" || c.err.String() != "over\n" {
			t.Errorf("it said %q and %q", got, c.err)
		}
	})
	t.Run("it is the container's in user, groups, directory and environment", func(t *testing.T) {
		c := converse(Streams{}, stream("id"))
		c.ends(t, 0)
		if got := c.out.String(); got != "5 6 [7] / hello\n" {
			t.Errorf("it said %q", got)
		}
	})
	t.Run("its signals reach it", func(t *testing.T) {
		c := converse(Streams{}, stream("block"))
		c.out.has(t, "ready\n")
		c.signals <- unix.SIGTERM
		c.ends(t, 7)
		c = converse(Streams{}, stream("stubborn"))
		c.out.has(t, "ready\n")
		c.signals <- unix.SIGINT
		c.ends(t, 130)
	})
	t.Run("it has a terminal, of the size that it is given", func(t *testing.T) {
		c := converse(Streams{TTY: true, Size: Size{100, 30}}, stream("terminal"))
		c.out.has(t, "size 100 30 xterm\r\n")
		c.sizes <- Size{90, 20}
		c.out.has(t, "size 90 20 xterm\r\n")
		c.say(t, "\x03") // Ctrl-C
		c.ends(t, 9)
	})
	t.Run("the end of its input hangs its terminal up", func(t *testing.T) {
		c := converse(Streams{TTY: true}, stream("terminal"))
		c.out.has(t, "size 0 0")
		_ = c.in.Close()
		c.ends(t, 8)
	})
	t.Run("all of its output is passed on, however slowly it is taken", func(t *testing.T) {
		r, w := io.Pipe()
		begun := make(chan struct{})
		var lines int
		var reader sync.WaitGroup
		reader.Go(func() {
			<-begun
			all, _ := io.ReadAll(r)
			lines = bytes.Count(all, []byte("\n"))
		})
		time.AfterFunc(2*drainTimeout, func() { close(begun) })
		code, err := a.Stream(ctx, Exec{Args: []string{"/prog", "count", "30000"}}, Streams{Stdout: w})
		_ = w.Close()
		reader.Wait()
		if code != 0 || err != nil || lines != 30000 {
			t.Errorf("%d lines came, and code %d, %v", lines, code, err)
		}
	})
	t.Run("it is killed when nobody takes its output any more", func(t *testing.T) {
		r, w := io.Pipe()
		_ = r.Close()
		if _, err := a.Stream(ctx, Exec{Args: []string{"/prog", "stubborn"}}, Streams{Stdout: w}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("it is killed with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(ctx)
		c := converse(Streams{}, func(s Streams) (int, error) { return a.Stream(ctx, Exec{Args: []string{"/prog", "stubborn"}}, s) })
		c.out.has(t, "ready\n")
		why := errors.New("enough")
		cancel(why)
		if <-c.end; !errors.Is(c.failed, why) {
			t.Errorf("got %v", c.failed)
		}
	})
	t.Run("a program that is not there is a RuntimeError", func(t *testing.T) {
		_, err := a.Stream(ctx, Exec{Args: []string{"/nope"}}, Streams{Stdin: io.NopCloser(strings.NewReader(""))})
		var re *RuntimeError
		if !errors.As(err, &re) || !strings.Contains(re.Message, "/nope") {
			t.Errorf("got %v", err)
		}
	})
	if left := pipesLeft(a); left != outputName {
		t.Errorf("there are %s among the pipes, want the output's socket alone", left)
	}
	t.Run("the container's end is its own", func(t *testing.T) {
		c := converse(Streams{}, stream("stubborn"))
		c.out.has(t, "ready\n")
		if err := k.Signal(ctx, "KILL"); err != nil {
			t.Fatal(err)
		}
		c.ends(t, 137)
		f.wait(k)
		if _, err := a.Stream(ctx, Exec{Args: []string{"/prog"}}, Streams{}); err == nil {
			t.Error("a process is started in a container that has ended")
		}
		if _, err := f.c.Attach(ctx, k.ID()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("a container that has ended is found: %v", err)
		}
	})
}

func TestWhoeverRunsAProcessMayBeKilled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	k, _ := f.start(f.config("app", "block"))
	other, err := Open(deadline(t), f.cfg) // as another process has it
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a, err := other.Attach(deadline(t), k.ID())
	if err != nil {
		t.Fatal(err)
	}
	// What the kernel does for a process that is killed: its descriptors are closed, and no more.
	p, err := fillPipes(must(a.makeDir("killed")), pipeOptions{input: true})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan execEnd, 1)
	_ = a.execute(deadline(t), "killed", processOf(a.proc, Exec{Args: []string{"/prog", "echo"}}), p, func(x *execution) error {
		if err := x.closeInput(deadline(t), x.name); err != nil {
			t.Error(err)
		}
		_ = p.in.Close()
		ended <- <-x.end
		return nil
	})
	if e := <-ended; e.code != 5 || e.err != nil {
		t.Errorf("when its input's writer is gone it ends with %+v, want 5", e)
	}
	_ = p.out.Close()
	_ = p.err.Close()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAContainerIsAttachedTo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := f.config("app", "echo")
	cfg.Stdin = true
	k, lines := f.start(cfg)
	eventually(t, "it reads", func() bool { return lines.has("reading") })
	a := f.attach(k)
	attach := func(once bool) func(Streams) (int, error) {
		return func(s Streams) (int, error) { return 0, a.Attach(deadline(t), s, once) }
	}

	first := converse(Streams{}, attach(false))
	first.say(t, "one\n")
	first.out.has(t, "got one\n")
	second := converse(Streams{}, attach(false))
	second.say(t, "two\n")
	second.out.has(t, "got two\n")
	first.out.has(t, "got two\n")
	if strings.Contains(first.out.String(), "reading") || strings.Contains(second.out.String(), "one") {
		t.Errorf("what was printed before the attachment is shown: %q, %q", first.out, second.out)
	}
	_ = second.in.Close() // not the end of the container's input
	third := converse(Streams{}, attach(true))
	third.say(t, "three\n")
	third.out.has(t, "got three\n")
	_ = third.in.Close()
	_ = first.in.Close()
	for _, c := range []*conversation{first, second, third} {
		c.ends(t, 0)
		if got := c.err.String(); got != "over\n" {
			t.Errorf("on stderr came %q", got)
		}
	}
	if exit := f.wait(k); exit.Code != 5 {
		t.Errorf("the container ended with %+v", exit)
	}
	for _, l := range []string{"got one", "got two", "got three", "!over"} {
		if !lines.has(l) {
			t.Errorf("the log has no %q: %q", l, lines.all())
		}
	}
}

func TestAContainersTerminalIsAttachedTo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := f.config("app", "terminal")
	cfg.Stdin, cfg.Spec.TTY = true, true
	k, lines := f.start(cfg)
	eventually(t, "it runs", func() bool { return lines.has("size 0 0 xterm") })
	a := f.attach(k)
	c := converse(Streams{TTY: true}, func(s Streams) (int, error) { return 0, a.Attach(deadline(t), s, false) })
	c.sizes <- Size{80, 25}
	c.out.has(t, "size 80 25 xterm\r\n")
	c.say(t, "\x03")
	c.ends(t, 0)
	if exit := f.wait(k); exit.Code != 9 {
		t.Errorf("the container ended with %+v", exit)
	}
}

func TestAContainerWaitsForNoViewer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := f.config("app", "echo")
	cfg.Stdin = true
	k, _ := f.start(cfg)
	a := f.attach(k)
	if _, err := f.c.Attach(deadline(t), k.ID()+"0"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a container that is not there: %v", err)
	}
	stuck, taken := io.Pipe()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- a.Attach(deadline(t), Streams{Stdin: r, Stdout: taken}, true) }()
	line := strings.Repeat("x", 1000) + "\n"
	for range 2 * viewerRoom / len(line) { // the container takes it all, though nobody takes what it says
		if _, err := io.WriteString(w, line); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	if exit := f.wait(k); exit.Code != 5 {
		t.Errorf("the container ended with %+v", exit)
	}
	var got int64
	go func() { got, _ = io.Copy(io.Discard, stuck) }()
	if err := <-ended; !errors.Is(err, errLate) {
		t.Errorf("after %d bytes the attachment ended with %v, want it dropped", got, err)
	}
	_ = taken.Close()
}

func TestAContainerWithoutInputIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	k, lines := f.start(f.config("app", "block"))
	eventually(t, "it runs", func() bool { return lines.has("ready") })
	a := f.attach(k)
	if err := a.Attach(deadline(t), Streams{Stdin: io.NopCloser(strings.NewReader("x"))}, false); !errors.Is(err, ErrInputClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(a.dir, inputName)); err == nil {
		t.Error("there is a pipe for its input")
	}
	if err := os.Remove(filepath.Join(a.dir, outputName)); err != nil { // as where its creator has died
		t.Fatal(err)
	}
	if err := a.Attach(deadline(t), Streams{}, false); !errors.Is(err, ErrUnattended) {
		t.Errorf("got %v", err)
	}
}
