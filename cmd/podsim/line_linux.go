package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/podsim/podsim/podsim/host"
)

// A line is this process's own streams, terminal and signals, for a process in a container. Close it: that puts the
// terminal back as it was.
type line struct {
	host.Streams
	once   sync.Once
	undo   []func()
	joined sync.WaitGroup
}

// connect makes a line. A terminal that is asked for where there is none is said to be none, in kubectl's words. giveUp is
// called at the third interrupt, or its like.
func (v *visit) connect(stdin, tty bool, giveUp func()) (*line, error) {
	l := &line{Streams: host.Streams{Stdout: v.out, Stderr: v.err}}
	fd := -1
	if f, ok := v.in.(*os.File); ok {
		fd = int(f.Fd())
	}
	if tty && !term.IsTerminal(fd) {
		tty = false
		if !v.quiet {
			fmt.Fprintln(v.err, "Unable to use a TTY - input is not a terminal or the right kind of file")
		}
	}
	l.relaySignals(giveUp)
	if tty {
		if err := l.takeTerminal(fd); err != nil {
			l.close()
			return nil, err
		}
	}
	if stdin && fd >= 0 {
		in, err := newKeyboard(fd)
		if err != nil {
			l.close()
			return nil, err
		}
		l.Stdin = in
		l.undo = append(l.undo, in.release)
	} else if stdin {
		l.Stdin = io.NopCloser(v.in)
	}
	return l, nil
}

// close puts everything back. It is idempotent.
func (l *line) close() {
	l.once.Do(func() {
		for i := range l.undo {
			l.undo[len(l.undo)-1-i]()
		}
		l.joined.Wait()
	})
}

// patience is how many interrupts are passed on before the command is killed.
const patience = 2

// relaySignals passes on the signals by which programs are asked to end. Meanwhile a reader of our output that goes away
// does not end this process: the command is to end first.
func (l *line) relaySignals(giveUp func()) {
	caught, relayed, done := make(chan os.Signal, 4), make(chan syscall.Signal), make(chan struct{})
	signal.Notify(caught, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	signal.Ignore(unix.SIGPIPE)
	l.Signals = relayed
	l.undo = append(l.undo, func() {
		signal.Stop(caught)
		signal.Reset(unix.SIGPIPE)
		close(done)
	})
	l.joined.Go(func() {
		var waiting []syscall.Signal
		for n := 0; ; {
			next, to := syscall.Signal(0), chan<- syscall.Signal(nil)
			if len(waiting) > 0 {
				next, to = waiting[0], relayed
			}
			select {
			case s := <-caught:
				if n++; n <= patience {
					waiting = append(waiting, s.(syscall.Signal))
					continue
				}
				giveUp()
				signal.Stop(caught) // whoever asks once more does not want to wait
			case to <- next:
				waiting = waiting[1:]
			case <-done:
				return
			}
		}
	})
}

// takeTerminal makes the terminal the command's: what is typed goes there as it is, and its size is told.
func (l *line) takeTerminal(fd int) error {
	before, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	changed, sizes, done := make(chan os.Signal, 1), make(chan host.Size), make(chan struct{})
	signal.Notify(changed, unix.SIGWINCH)
	l.undo = append(l.undo, func() {
		signal.Stop(changed)
		close(done)
		_ = term.Restore(fd, before) // a terminal that is gone minds no more
	})
	size := func() host.Size {
		s, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err != nil {
			return host.Size{}
		}
		return host.Size{Columns: s.Col, Rows: s.Row}
	}
	l.TTY, l.Size, l.Sizes = true, size(), sizes
	l.joined.Go(func() {
		for next := l.Size; ; {
			select {
			case sizes <- next:
			case <-done:
				return
			}
			select {
			case <-changed:
				next = size()
			case <-done:
				return
			}
		}
	})
	return nil
}

// A keyboard reads a file descriptor until it is closed: a read that waits returns then, which those of package os do only
// for files that the kernel can tell of.
type keyboard struct {
	fd   int
	stop int // an event
	once sync.Once
}

func newKeyboard(fd int) (*keyboard, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	return &keyboard{fd: fd, stop: stop}, nil
}

// Read reads what there is, or waits for it.
func (k *keyboard) Read(p []byte) (int, error) {
	for {
		ready := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}, {Fd: int32(k.stop), Events: unix.POLLIN}}
		switch _, err := unix.Poll(ready, -1); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("wait for the standard input: %w", err)
		case ready[1].Revents != 0:
			return 0, io.EOF
		}
		n, err := unix.Read(k.fd, p)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil && !errors.Is(err, unix.EIO): // that of a terminal that has hung up
			return 0, fmt.Errorf("read the standard input: %w", err)
		case n <= 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Close ends a Read that waits, and all that come.
func (k *keyboard) Close() error {
	_, err := unix.Write(k.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return err
}

// release gives the event back, when nobody reads any more.
func (k *keyboard) release() { k.once.Do(func() { _ = unix.Close(k.stop) }) }
