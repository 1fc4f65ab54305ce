//go:build linux

package ctrd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What a container has in its directory of pipes for other processes, as long as it is there.
const (
	inputName  = "stdin"  // a pipe, where it has a standard input
	outputName = "output" // a socket that passes its output on
)

// viewerRoom bounds in bytes what waits for one who is attached. Who is further behind is dropped: the container
// waits for nobody.
const viewerRoom = 4 << 20

// A broadcast passes a container's output on to whoever is attached to it, as it comes: pieces of lines too, and
// from the moment of the attachment on.
//
//	pump ── take ──┬─► viewer: pending bytes ─► its goroutine ─► socket ─► podsim attach
//	               └─► viewer: ...
//
// On the socket each piece is a frame: the kind, the length in four bytes, the bytes. The first one is frameHello, which
// says that nothing is missed from here on.
type broadcast struct {
	client   *Client
	listener *net.UnixListener

	mu      sync.Mutex
	viewers map[*viewer]bool
	over    bool
}

// The kinds of frames.
const (
	frameHello = iota
	frameStdout
	frameStderr
	frameLate // the last one: the viewer is too far behind
)

const frameHead = 5

// newBroadcast listens in a container's directory. Its goroutines end with finish, or with the client.
func newBroadcast(c *Client, dir string) (*broadcast, error) {
	b := &broadcast{client: c, viewers: map[*viewer]bool{}}
	err := inDirectory(dir, func(short string) (err error) {
		b.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, outputName), Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make the socket of the container's output: %w", err)
	}
	b.listener.SetUnlinkOnClose(false) // by another name than it has now; it goes with its directory
	c.watchers.Go(func() {
		defer context.AfterFunc(c.life, b.finish)()
		b.serve()
	})
	return b, nil
}

// inDirectory gives f a short name of a directory, for a socket's name in it: those have at most 107 characters.
func inDirectory(dir string, f func(short string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f("/proc/self/fd/" + strconv.Itoa(fd))
}

func (b *broadcast) serve() {
	for {
		conn, err := b.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files: some may be closed soon
			if pauseFor(b.client.life, 10*time.Millisecond) != nil {
				return
			}
			continue
		}
		b.admit(conn)
	}
}

// admit begins to pass the output on to a viewer.
func (b *broadcast) admit(conn *net.UnixConn) {
	v := &viewer{conn: conn}
	v.changed.L = &v.mu
	v.put(frameHello, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		v.end()
	} else {
		b.viewers[v] = true
	}
	b.client.watchers.Go(func() {
		defer context.AfterFunc(b.client.life, func() { _ = conn.Close() })()
		v.write()
		b.leave(v)
	})
	b.client.watchers.Go(func() {
		_, _ = io.Copy(io.Discard, conn) // until the viewer goes
		b.leave(v)
	})
}

func (b *broadcast) leave(v *viewer) {
	b.mu.Lock()
	delete(b.viewers, v)
	b.mu.Unlock()
	v.end()
	_ = v.conn.Close()
}

// take passes a piece of output on. It does not block.
func (b *broadcast) take(stderr bool, data []byte) {
	kind := byte(frameStdout)
	if stderr {
		kind = frameStderr
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for v := range b.viewers {
		if !v.put(kind, data) {
			delete(b.viewers, v)
		}
	}
}

// finish says that no output will come any more. Viewers still get what waits for them. It is idempotent.
func (b *broadcast) finish() {
	_ = b.listener.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	for v := range b.viewers {
		v.end()
	}
}

// A viewer is one who is attached.
type viewer struct {
	conn *net.UnixConn

	mu      sync.Mutex
	changed sync.Cond
	pending []byte
	ended   bool
}

// put appends a frame. It reports whether more may come.
func (v *viewer) put(kind byte, data []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return false
	}
	if len(v.pending)+len(data) > viewerRoom {
		kind, data, v.ended = frameLate, nil, true
	}
	v.pending = append(v.pending, kind)
	v.pending = binary.BigEndian.AppendUint32(v.pending, uint32(len(data)))
	v.pending = append(v.pending, data...)
	v.changed.Signal()
	return !v.ended
}

func (v *viewer) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	v.changed.Signal()
}

// next waits for what is to be written; nil is the end.
func (v *viewer) next() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.pending) == 0 && !v.ended {
		v.changed.Wait()
	}
	next := v.pending
	v.pending = nil
	return next
}

// write writes until the end, or until nobody reads any more.
func (v *viewer) write() {
	for data := v.next(); data != nil; data = v.next() {
		if _, err := v.conn.Write(data); err != nil {
			return
		}
	}
}

// errLate says that a viewer was dropped.
var errLate = errors.New("the output is read more slowly than the container prints it, and the rest is not shown")

// view connects to a container's output. ready is called when nothing is missed any more; then its pieces go to the
// two writers until the container has ended, or ctx.
func view(ctx context.Context, dir string, stdout, stderr io.Writer, ready func()) error {
	var conn net.Conn
	err := inDirectory(dir, func(short string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(short, outputName))
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	from := bufio.NewReaderSize(conn, 64<<10)
	var head [frameHead]byte
	for {
		_, err := io.ReadFull(from, head[:])
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the container's output: %w", err)
		}
		to := io.Discard
		switch head[0] {
		case frameHello:
			ready()
		case frameStdout:
			to = stdout
		case frameStderr:
			to = stderr
		case frameLate:
			return errLate
		}
		if _, err := io.CopyN(to, from, int64(binary.BigEndian.Uint32(head[1:]))); err != nil {
			return fmt.Errorf("pass the container's output on: %w", err)
		}
	}
}
