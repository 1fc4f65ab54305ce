package flows

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/lab"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "__container" {
		serveContainer()
		return
	}
	goleak.VerifyTestMain(m)
}

// An order is one thing a test asks of a container's process.
type order struct {
	Do      string // listen, transparent, proxy, dial, hold, say, udp, storm
	Address string
	Count   int           // storm: connections. proxy: how many it passes on before it gives up.
	Timeout time.Duration // dial; zero: 5 s
}

// A reply is what came of an order.
type reply struct {
	Local string `json:",omitempty"`
	Read  string `json:",omitempty"`
	Error string `json:",omitempty"`
	Class string `json:",omitempty"` // refused, timeout or reset
	Count int    `json:",omitempty"`
}

// A container is a process in a namespace and a cgroup, under a uid: this test binary again.
type container struct {
	name   string
	cgroup string
	in     *json.Encoder
	out    *json.Decoder
}

func start(t testing.TB, path, name string, uid uint32) *container {
	t.Helper()
	root, err := CgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	return startIn(t, path, name, uid, lab.Cgroup(t, root, name))
}

func startIn(t testing.TB, path, name string, uid uint32, dir string) *container {
	t.Helper()
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := exec.Command("/proc/self/exe", "__container")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(group.Fd()), Credential: lab.Credential(uid, uid), Pdeathsig: syscall.SIGKILL,
	}
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lab.Do(t, path, cmd.Start)
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("container %s: %v", name, err)
		}
	})
	return &container{name: name, cgroup: dir, in: json.NewEncoder(stdin), out: json.NewDecoder(stdout)}
}

func (c *container) do(t testing.TB, o order) reply {
	t.Helper()
	if err := c.in.Encode(o); err != nil {
		t.Fatalf("container %s: %+v: %v", c.name, o, err)
	}
	var r reply
	if err := c.out.Decode(&r); err != nil {
		t.Fatalf("container %s: %+v: %v", c.name, o, err)
	}
	return r
}

// must does what has to succeed.
func (c *container) must(t testing.TB, o order) reply {
	t.Helper()
	r := c.do(t, o)
	if r.Error != "" {
		t.Fatalf("container %s: %+v: %s", c.name, o, r.Error)
	}
	return r
}

// serveContainer is the process in a container: it carries out orders until its input ends.
func serveContainer() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	held := map[string]net.Conn{}
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return
		}
		var r reply
		if err := carryOut(o, &r, held); err != nil {
			r.Error = err.Error()
			switch {
			case errors.Is(err, unix.ECONNREFUSED):
				r.Class = "refused"
			case errors.Is(err, unix.ECONNRESET):
				r.Class = "reset"
			case errors.Is(err, os.ErrDeadlineExceeded):
				r.Class = "timeout"
			}
		}
		if err := out.Encode(r); err != nil {
			return
		}
	}
}

func carryOut(o order, r *reply, held map[string]net.Conn) error {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	switch o.Do {
	case "listen":
		return listen(o.Address, nil, func(c net.Conn) { io.Copy(c, c) })
	case "transparent":
		return listen(o.Address, transparent, func(c net.Conn) { io.Copy(c, c) })
	case "proxy":
		left := atomic.Int64{}
		left.Store(int64(o.Count))
		return listen(o.Address, nil, func(c net.Conn) {
			if left.Add(-1) >= 0 {
				passOn(c)
			}
		})
	case "dial", "hold":
		c, err := net.DialTimeout("tcp", o.Address, o.Timeout)
		if err != nil {
			return err
		}
		r.Local = c.LocalAddr().String()
		if o.Do == "hold" {
			held[o.Address] = c
			return nil
		}
		defer c.Close()
		r.Read, err = exchange(c)
		return err
	case "say":
		var err error
		r.Read, err = exchange(held[o.Address])
		return err
	case "udp":
		c, err := net.Dial("udp", o.Address)
		if err != nil {
			return err
		}
		defer c.Close()
		r.Local = c.LocalAddr().String()
		_, err = c.Write([]byte("x"))
		return err
	case "storm":
		return storm(o, r)
	}
	return fmt.Errorf("no such order: %s", o.Do)
}

func exchange(c net.Conn) (string, error) {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		return "", err
	}
	b := make([]byte, 4)
	n, err := io.ReadFull(c, b)
	return string(b[:n]), err
}

// transparent lets a socket take what is not for its address.
func transparent(_, _ string, rc syscall.RawConn) error {
	var err error
	err2 := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) })
	return errors.Join(err, err2)
}

func listen(address string, control func(string, string, syscall.RawConn) error, serve func(net.Conn)) error {
	lc := net.ListenConfig{Control: control}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return nil
}

// passOn is a transparent proxy: it dials what the client asked for.
func passOn(c net.Conn) {
	target, err := originalDestination(c.(*net.TCPConn))
	if err != nil {
		return
	}
	up, err := net.DialTimeout("tcp", target.String(), 5*time.Second)
	if err != nil {
		return
	}
	defer up.Close()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(up, c); up.(*net.TCPConn).CloseWrite() })
	io.Copy(c, up)
	c.(*net.TCPConn).CloseWrite()
	wg.Wait()
}

func originalDestination(c *net.TCPConn) (addr netip.AddrPort, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return addr, err
	}
	const soOriginalDst = 80
	err2 := rc.Control(func(fd uintptr) {
		var mreq *unix.IPv6Mreq // has the room of a sockaddr_in
		if mreq, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); err == nil {
			b := mreq.Multiaddr[:]
			addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
		}
	})
	return addr, errors.Join(err, err2)
}

// storm opens connections one after the other from a few workers, and closes each at once.
func storm(o order, r *reply) error {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for done.Add(1) <= int64(o.Count) {
				c, err := net.Dial("tcp", o.Address)
				if err != nil {
					failed.Store(&err)
					return
				}
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	r.Count = o.Count
	return nil
}

// serveWorld answers on an address of the world until the test ends.
func serveWorld(t testing.TB, path, address string) {
	t.Helper()
	l, err := netns.Listen(t.Context(), path, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); io.Copy(c, c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}
