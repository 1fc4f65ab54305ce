package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

const (
	// consoleRoom bounds in bytes what waits to be written: beyond it containers' lines are dropped, and counted.
	consoleRoom = 16 << 20
	// consolePiece is about how many bytes are written at once, so that it is seen whether anybody reads.
	consolePiece = 4 << 10
	// consolePatience is how long Close waits for a reader that takes nothing.
	consolePatience = 5 * time.Second
)

// A console is an output of podsim while something runs. Whoever writes to it only appends to a queue, so nobody
// waits for a slow reader, or for one that does not read at all; one goroutine writes. Close it.
//
//	records ──── Write ──┐
//	containers ── line ──┼─► pending text ─┐
//	                     │                 ├─► draw ─► out
//	state ─────── show ──┴─► newest block ─┘
//
// What is said of the run itself is never dropped: it is little, and the timeline in memory has it all too.
type console struct {
	out io.Writer
	// draw makes what is written of text and the block below it, on the goroutine that writes; nil: the text alone.
	draw func(text string, block []string) string
	// kept says where the containers' lines are that are not shown.
	kept string

	wrote   chan struct{} // of one: a piece has been written
	hurried chan struct{} // closed: Close waits no longer
	joined  chan struct{} // closed: nothing is written any more

	mu       sync.Mutex
	changed  sync.Cond
	pending  bytes.Buffer
	block    []string
	repaint  bool
	dropping bool
	dropped  int // containers' lines, since dropping
	closing  bool
	err      error // the first of out; what comes after it is thrown away
}

func newConsole(out io.Writer, kept string, draw func(string, []string) string) *console {
	c := &console{out: out, draw: draw, kept: kept,
		wrote: make(chan struct{}, 1), hurried: make(chan struct{}), joined: make(chan struct{})}
	c.changed.L = &c.mu
	go func() {
		defer close(c.joined)
		c.run()
	}()
	return c
}

// Write takes whole lines that are to be shown whatever happens. It never waits, and never fails: Close tells.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(p)
	return len(p), nil
}

// line takes a line of a container, which is dropped if too much waits already. Once that has begun it goes on until
// half of what waits has been read.
func (c *console) line(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dropping || c.pending.Len()+len(text) > consoleRoom {
		c.dropping = true
		c.dropped++
		return
	}
	c.append([]byte(text))
}

// show takes the block that stands below the text from now on. Of blocks that come faster than they are drawn, the
// newest counts.
func (c *console) show(block []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.block, c.repaint = block, true
	c.changed.Signal()
}

// append adds to what waits. The caller holds mu.
func (c *console) append(p []byte) {
	if c.err != nil {
		return
	}
	c.pending.Write(p)
	c.changed.Signal()
}

// hurry ends the wait of a Close that is under way.
func (c *console) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		return
	}
	select {
	case <-c.hurried:
	default:
		close(c.hurried)
	}
}

// Close takes the block away and waits until all is written. A reader that takes nothing for consolePatience, or a
// hurry, ends the wait: the goroutine is then left in the write that the kernel holds, and the error says how much is
// not shown. That nobody wants to read is no error, but a full disk is one.
func (c *console) Close() error {
	c.mu.Lock()
	c.closing, c.block, c.repaint = true, nil, c.draw != nil
	c.changed.Signal()
	c.mu.Unlock()
	patience := time.NewTimer(consolePatience)
	defer patience.Stop()
	for {
		select {
		case <-c.wrote:
			patience.Reset(consolePatience)
		case <-c.joined:
			if c.err != nil && !errors.Is(c.err, syscall.EPIPE) && !errors.Is(c.err, io.ErrClosedPipe) {
				return fmt.Errorf("write the output: %w", c.err)
			}
			return nil
		case <-patience.C:
			return c.unread()
		case <-c.hurried:
			return c.unread()
		}
	}
}

// unread throws away what waits, and says how much that is.
func (c *console) unread() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := bytes.Count(c.pending.Bytes(), []byte("\n")) + c.dropped
	c.pending, c.err = bytes.Buffer{}, errUnread
	c.changed.Signal()
	return fmt.Errorf("%w: its last lines are not shown, %d and what was being written", errUnread, n)
}

// errUnread says that a reader of our output takes nothing.
var errUnread = errors.New("nobody reads the output")

// run writes until the console is closed and all is written, or cannot be.
func (c *console) run() {
	for {
		text, block, more := c.next()
		if !more {
			return
		}
		if c.draw != nil {
			text = c.draw(text, block)
		}
		if _, err := io.WriteString(c.out, text); err != nil {
			c.fail(err)
			return
		}
		select {
		case c.wrote <- struct{}{}:
		default:
		}
	}
}

// fail throws away what waits and what is still to come, for the first reason that there is.
func (c *console) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = bytes.Buffer{}
	if c.err == nil {
		c.err = err
	}
}

// next waits for something to write, and takes a piece of whole lines. more is false at the end.
func (c *console) next() (text string, block []string, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.pending.Len() == 0 && !c.dropping && !c.repaint {
		if c.closing {
			return "", nil, false
		}
		c.changed.Wait()
	}
	if c.err != nil {
		return "", nil, false
	}
	c.endGap()
	c.repaint = false
	return c.piece(), c.block, true
}

// endGap says what was dropped, once there is room again.
func (c *console) endGap() {
	if !c.dropping || c.pending.Len() > consoleRoom/2 {
		return
	}
	fmt.Fprintf(&c.pending, "[... containers' lines not shown: %d; the reader of this output is slower than the pod. %s]\n", c.dropped, c.kept)
	c.dropping, c.dropped = false, 0
}

// piece takes whole lines of about consolePiece bytes.
func (c *console) piece() string {
	all := c.pending.Bytes()
	n := len(all)
	if n > consolePiece {
		if end := bytes.LastIndexByte(all[:consolePiece], '\n'); end >= 0 {
			n = end + 1
		} else if end := bytes.IndexByte(all, '\n'); end >= 0 {
			n = end + 1
		}
	}
	text := string(c.pending.Next(n))
	if c.pending.Len() == 0 && c.pending.Cap() > 1<<20 {
		c.pending = bytes.Buffer{}
	}
	return text
}

// say writes a last line to an output that perhaps nobody reads.
func say(out io.Writer, line string) {
	c := newConsole(out, "", nil)
	fmt.Fprintln(c, line)
	_ = c.Close() // there is nobody left to tell
}
