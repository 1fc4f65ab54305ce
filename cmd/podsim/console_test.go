package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A slowReader reads what a console writes when it is told to.
type slowReader struct {
	*io.PipeReader
	w *io.PipeWriter
}

func newSlowReader() slowReader {
	r, w := io.Pipe()
	return slowReader{r, w}
}

// rest reads to the end, in the background; text waits for it.
func (s slowReader) rest() (text func() string) {
	var b strings.Builder
	var joined sync.WaitGroup
	joined.Go(func() { _, _ = io.Copy(&b, s) })
	return func() string { _ = s.w.Close(); joined.Wait(); return b.String() }
}

func TestNobodyWaitsForAReaderAndRecordsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newSlowReader()
		c := newConsole(out.w, "They are kept.", nil)
		begun := time.Now()
		line := strings.Repeat("x", 1023) + "\n"
		const lines = 20 << 10 // 20 MiB
		for i := range lines {
			c.line(line)
			if i%1024 == 0 {
				fmt.Fprintf(c, "record %d\n", i/1024)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("writing took %s of virtual time; it is to wait for nobody", took)
		}
		c.mu.Lock()
		if n := c.pending.Len(); n > consoleRoom+1<<10 {
			t.Errorf("%d bytes wait, more than the room of %d", n, consoleRoom)
		}
		c.mu.Unlock()
		text := out.rest()
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		got := text()
		for i := range lines / 1024 {
			if n := strings.Count(got, fmt.Sprintf("record %d\n", i)); n != 1 {
				t.Errorf("record %d is there %d times, want once", i, n)
			}
		}
		shown := strings.Count(got, line)
		if want := fmt.Sprintf("[... containers' lines not shown: %d; the reader of this output is slower than the pod. They are kept.]\n", lines-shown); strings.Count(got, want) != 1 || strings.Count(got, "not shown") != 1 {
			t.Errorf("%d lines of %d are there, and not once %q", shown, lines, want)
		}
		if shown < 15<<10 || shown == lines {
			t.Errorf("%d lines of %d are there; 16 MiB of them fit", shown, lines)
		}
	})
}

func TestTheEndWaitsForAReaderOnlyAsLongAsItReads(t *testing.T) {
	for _, c := range []struct {
		name string
		read func(slowReader)
		want time.Duration
		err  string
	}{
		{"nobody reads", func(slowReader) {}, consolePatience, "nobody reads the output: its last lines are not shown, 96"},
		{"a reader that has gone", func(r slowReader) { _ = r.Close() }, 0, ""},
		{"a reader that is slow, but reads", func(r slowReader) {
			for {
				<-time.After(consolePatience - time.Second)
				if _, err := r.Read(make([]byte, consolePiece)); err != nil {
					return
				}
			}
		}, 4 * (consolePatience - time.Second), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := newSlowReader()
				var reader sync.WaitGroup
				defer reader.Wait()
				defer out.Close()
				console := newConsole(out.w, "", nil)
				// At once, so that the pieces that are written are whole: four of 32 lines.
				if _, err := io.WriteString(console, strings.Repeat(strings.Repeat("x", 127)+"\n", 128)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				reader.Go(func() { c.read(out) })
				begun := time.Now()
				err := console.Close()
				if took := time.Since(begun); took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
					t.Errorf("close: %v, want %q", err, c.err)
				}
			})
		})
	}
}

func TestAnInterruptEndsTheWaitForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newSlowReader()
		defer out.Close()
		c := newConsole(out.w, "", nil)
		fmt.Fprintln(c, "a record")
		c.hurry() // before the end it is of no effect
		begun := time.Now()
		time.AfterFunc(time.Second, func() { c.hurry(); c.hurry() })
		if err := c.Close(); !errors.Is(err, errUnread) || time.Since(begun) != time.Second {
			t.Errorf("close: %v after %s, want %v after a second", err, time.Since(begun), errUnread)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestAFullDiskIsToldAtTheEndAndAClosedPipeIsNot(t *testing.T) {
	for err, want := range map[error]string{syscall.ENOSPC: "write the output: no space left on device", syscall.EPIPE: "<nil>"} {
		c := newConsole(failingWriter{err}, "", nil)
		fmt.Fprintln(c, "a record")
		c.line("a line\n")
		if got := fmt.Sprint(c.Close()); got != want {
			t.Errorf("after %v, Close said %q, want %q", err, got, want)
		}
	}
}
