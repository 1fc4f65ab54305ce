package flows

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// receiveBuffer is the socket's, in bytes. An event occupies about 1 KiB of it, and a connection has about six.
const receiveBuffer = 32 << 20

const (
	arenaSize  = 1 << 20
	largestMsg = 64 << 10
)

// Netlink's multicast groups of conntrack.
const (
	groupNew     = 1
	groupUpdate  = 2
	groupDestroy = 3
)

// A raw is one datagram as it was read: one conntrack event.
type raw struct {
	at   time.Time
	data []byte
}

// A stream reads conntrack's events and keeps them raw: decoding as one reads is too slow in a storm, and a buffer
// that runs over loses events for good.
type stream struct {
	conn *netlink.Conn // kept: its finalizer would close the socket
	done chan struct{}
	grew chan struct{} // has a token when something was read since the last take

	mu       sync.Mutex
	pending  []raw
	arena    []byte
	overruns int
	err      error
	closing  bool
}

// dialNetfilter reaches the netfilter of the namespace at path. The caller closes the connection.
func dialNetfilter(path string) (conn *netlink.Conn, err error) {
	err = netns.Do(path, func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	return conn, err
}

// newStream joins conntrack's events in the namespace at path. The caller closes it.
func newStream(path string) (*stream, error) {
	conn, err := dialNetfilter(path)
	if err != nil {
		return nil, err
	}
	s := &stream{conn: conn, done: make(chan struct{}), grew: make(chan struct{}, 1)}
	rc, err := s.join()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		defer close(s.done)
		s.read(rc)
	}()
	return s, nil
}

func (s *stream) join() (syscall.RawConn, error) {
	if err := s.conn.SetReadBuffer(receiveBuffer); err != nil {
		return nil, fmt.Errorf("set its receive buffer: %w", err)
	}
	if size, err := s.conn.ReadBuffer(); err != nil || size < receiveBuffer {
		return nil, fmt.Errorf("set its receive buffer to %d bytes: it is %d: %w", receiveBuffer, size, errors.Join(err, os.ErrPermission))
	}
	for _, group := range []uint32{groupNew, groupUpdate, groupDestroy} {
		if err := s.conn.JoinGroup(group); err != nil {
			return nil, fmt.Errorf("join group %d: %w", group, err)
		}
	}
	return s.conn.SyscallConn()
}

// read goes on until the socket is closed or fails.
func (s *stream) read(rc syscall.RawConn) {
	err := rc.Read(func(fd uintptr) bool {
		for {
			switch err := s.receive(int(fd)); {
			case err == nil, errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.ENOBUFS):
				s.mu.Lock()
				s.overruns++
				s.mu.Unlock()
			default:
				s.fail(err)
				return true
			}
		}
	})
	if err != nil {
		s.fail(err)
	}
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.closing {
		s.err = fmt.Errorf("read conntrack events: %w", err)
	}
}

// receive reads one datagram into the arena. It does not block.
func (s *stream) receive(fd int) error {
	if len(s.arena) < largestMsg {
		s.arena = make([]byte, arenaSize)
	}
	n, _, err := unix.Recvfrom(fd, s.arena[:largestMsg], unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	r := raw{at: time.Now(), data: s.arena[:n:n]}
	s.arena = s.arena[n:]
	s.mu.Lock()
	s.pending = append(s.pending, r)
	s.mu.Unlock()
	select {
	case s.grew <- struct{}{}:
	default:
	}
	return nil
}

// take returns what was read since the last call, how often the kernel has lost events since the beginning, and
// what ended the reading, if anything did.
func (s *stream) take() ([]raw, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.pending
	s.pending = nil
	return out, s.overruns, s.err
}

// close ends the reading and waits for its end. Once only.
func (s *stream) close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	err := s.conn.Close()
	<-s.done
	return err
}

// existing lists the entries that conntrack has in the namespace at path.
func existing(path string) ([]message, error) {
	conn, err := dialNetfilter(path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const msgGet = 1
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: subsysConntrack<<8 | msgGet, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, sizeofNfgenmsg), // every family
	})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := make([]message, 0, len(replies))
	for _, r := range replies {
		if r.Header.Type != subsysConntrack<<8|msgNew || len(r.Data) < sizeofNfgenmsg {
			continue
		}
		m := message{kind: changed, at: now}
		if err := m.decode(r.Data[sizeofNfgenmsg:]); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}
