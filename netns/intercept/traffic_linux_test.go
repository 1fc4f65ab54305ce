package intercept_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/netns/lab"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Addresses of the pair: the pod's own, and the world's on the same link. Behind the world is everything else.
const (
	pod4, pod6     = "10.9.0.2", "fd09::2"
	world4, world6 = "10.9.0.1", "fd09::1"
)

// A pair is a pod and a world, joined by a veth. All servers answer a connection with one line that says who they
// are and what was asked of them, and close it.
type pair struct {
	t          *testing.T
	pod, world string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, pod: lab.Namespace(t), world: lab.Namespace(t)}
	lab.Link(t, p.pod, pod4+"/24", p.world, world4+"/24")
	lab.AddRoute(t, p.pod, "", world4)
	p.ipv6(p.pod, pod6+"/64", world6)
	p.ipv6(p.world, world6+"/64", "")
	for _, cidr := range []string{"203.0.113.1/32", "203.0.113.2/32", "198.51.100.1/32"} {
		lab.AddAddress(t, p.world, cidr)
	}
	p.onLo6(p.world, "2001:db8::1/128")
	p.serve(p.world, "world", "80", "443", "9090")
	p.serve(p.pod, "app", "8080", "9090", "15008", "15020", "15021", "15090")
	return p
}

// ipv6 gives eth0 an address that is usable at once, and a default route if there's a gateway.
func (p *pair) ipv6(ns, cidr, gateway string) {
	p.t.Helper()
	lab.Do(p.t, ns, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
		if gateway == "" {
			return nil
		}
		_, all, _ := net.ParseCIDR("::/0")
		return netlink.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP(gateway), LinkIndex: link.Attrs().Index})
	})
}

func (p *pair) onLo6(ns, cidr string) {
	p.t.Helper()
	lab.Do(p.t, ns, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		return netlink.AddrAdd(lo, addr)
	})
}

// serve answers on ports, on every address, as "NAME asked-for-address".
func (p *pair) serve(ns, name string, ports ...string) {
	for _, port := range ports {
		p.answer(ns, port, func(c *net.TCPConn) string { return name + " " + c.LocalAddr().String() })
	}
}

// proxy answers on the two ports as "outbound ORIGINAL-DESTINATION" and "inbound ORIGINAL-DESTINATION".
func (p *pair) proxy(outbound, inbound string) {
	for name, port := range map[string]string{"outbound": outbound, "inbound": inbound} {
		p.answer(p.pod, port, func(c *net.TCPConn) string {
			dst, err := originalDestination(c)
			if err != nil {
				return name + " " + err.Error()
			}
			return name + " " + dst.String()
		})
	}
}

// answer sends every connection to a port one line. It ends with the test.
func (p *pair) answer(ns, port string, line func(*net.TCPConn) string) {
	p.t.Helper()
	l, err := netns.Listen(p.t.Context(), ns, "tcp", ":"+port)
	if err != nil {
		p.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				fmt.Fprintln(c, line(c.(*net.TCPConn)))
			})
		}
	})
	p.t.Cleanup(func() { l.Close(); wg.Wait() })
}

// originalDestination asks the kernel what a redirected connection was for.
func originalDestination(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var sa unix.RawSockaddrInet6 // holds an IPv4 one too
	level := unix.SOL_IPV6
	if c.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
		level = unix.SOL_IP
	}
	size := uint32(unsafe.Sizeof(sa))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), unix.SO_ORIGINAL_DST,
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil || errno != 0 {
		return netip.AddrPort{}, errors.Join(err, errno)
	}
	port := sa.Port>>8 | sa.Port<<8
	if level == unix.SOL_IPV6 {
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port), nil
	}
	four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
	return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port), nil
}

// A client is where a connection is opened from, and as whom.
type client struct {
	ns       string
	uid, gid int
	from     string // a local address, if it matters
}

// ask connects and returns the line that comes back, or the class of the error.
func (c client) ask(ctx context.Context, address string) string {
	conn, err := c.dial(ctx, address)
	if err != nil {
		return class(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return class(err)
	}
	return strings.TrimSpace(line)
}

// dial opens the connection as the client's user: a socket belongs to its thread's filesystem identity.
func (c client) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := net.Dialer{}
	if c.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.from)}
	}
	var conn net.Conn
	err := netns.Do(c.ns, func() (err error) {
		if err := errors.Join(unix.Setfsgid(c.gid), unix.Setfsuid(c.uid)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.Setfsuid(0), unix.Setfsgid(0)) }()
		conn, err = d.DialContext(ctx, "tcp", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn, nil
}

func class(err error) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

// apply installs a profile as annotations change it.
func (p *pair) apply(profile intercept.Profile, annotations map[string]string) intercept.Ruleset {
	p.t.Helper()
	c, err := intercept.Annotated(profile, annotations)
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := intercept.Render(c)
	if err != nil {
		p.t.Fatal(err)
	}
	if s, err = intercept.Apply(p.t.Context(), p.pod, s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// A connection is one that a test makes, and what must answer it.
type connection struct {
	name string
	from client
	to   string
	want string
}

func (p *pair) check(connections []connection) {
	p.t.Helper()
	for _, c := range connections {
		p.t.Run(c.name, func(t *testing.T) {
			if got := c.from.ask(t.Context(), c.to); got != c.want {
				t.Errorf("a connection to %s got %q, want %q", c.to, got, c.want)
			}
		})
	}
}

func TestIstioProfile(t *testing.T) {
	p := newPair(t)
	p.proxy("15001", "15006")
	p.apply(intercept.Istio, nil)
	p.check(istioChecks(p))
}

// istioChecks are connections under the istio profile as it is by default.
func istioChecks(p *pair) []connection {
	app, world := client{ns: p.pod, uid: 1000, gid: 1000}, client{ns: p.world}
	root := client{ns: p.pod}
	byUID, byGID := client{ns: p.pod, uid: 1337}, client{ns: p.pod, uid: 1000, gid: 1337}
	return []connection{
		{"T01 T02 an app's connection is captured, with its destination", app, "203.0.113.1:80", "outbound 203.0.113.1:80"},
		{"T01 T02 a port that nobody listens on is captured all the same", app, "203.0.113.1:81", "outbound 203.0.113.1:81"},
		{"T01 root's connection is captured", root, "203.0.113.2:443", "outbound 203.0.113.2:443"},
		{"T01 a neighbour on the link is captured", app, world4 + ":80", "outbound " + world4 + ":80"},
		{"T16 T01 T02 IPv6 is captured, with its destination", app, "[2001:db8::1]:80", "outbound [2001:db8::1]:80"},
		{"T16 T01 IPv4 in an IPv6 address is captured as IPv4", app, "[::ffff:203.0.113.1]:80", "outbound 203.0.113.1:80"},

		{"T11 T05 the proxy's uid alone is exempt", byUID, "203.0.113.1:80", "world 203.0.113.1:80"},
		{"T11 T05 the proxy's gid alone is exempt", byGID, "203.0.113.1:80", "world 203.0.113.1:80"},
		{"T11 T16 the proxy's uid is exempt with IPv6", byUID, "[2001:db8::1]:80", "world [2001:db8::1]:80"},
		{"T11 uid 1336 is not", client{ns: p.pod, uid: 1336, gid: 1338}, "203.0.113.1:80", "outbound 203.0.113.1:80"},

		{"T07 127.0.0.1 is direct", app, "127.0.0.1:8080", "app 127.0.0.1:8080"},
		{"T07 127.0.0.2 is direct", app, "127.0.0.2:8080", "app 127.0.0.2:8080"},
		{"T07 T16 ::1 is direct", app, "[::1]:8080", "app [::1]:8080"},
		{"T07 127.0.0.1 is refused by the app, not the proxy", app, "127.0.0.1:8081", "refused"},
		{"T08 the pod's own address is direct", app, pod4 + ":8080", "app " + pod4 + ":8080"},
		{"T08 T16 the pod's own IPv6 address is direct", app, "[" + pod6 + "]:8080", "app [" + pod6 + "]:8080"},
		{"T10 the proxy to the pod's own address comes in through the inbound listener", byUID, pod4 + ":8080", "inbound " + pod4 + ":8080"},
		{"T10 T16 and with IPv6", byUID, "[" + pod6 + "]:8080", "inbound [" + pod6 + "]:8080"},
		{"T10 T11 the proxy's gid alone does not", byGID, pod4 + ":8080", "app " + pod4 + ":8080"},
		{"T10 the proxy to the tunnel port is direct", byUID, pod4 + ":15008", "app " + pod4 + ":15008"},
		{"T10 the proxy to 127.0.0.1 is direct", byUID, "127.0.0.1:8080", "app 127.0.0.1:8080"},
		{"T10 the proxy from 127.0.0.6 reaches the app", client{ns: p.pod, uid: 1337, from: "127.0.0.6"}, pod4 + ":8080", "app " + pod4 + ":8080"},

		{"T03 T02 inbound is captured, with its destination", world, pod4 + ":8080", "inbound " + pod4 + ":8080"},
		{"T03 inbound to a port that nobody listens on is captured", world, pod4 + ":8081", "inbound " + pod4 + ":8081"},
		{"T03 T16 inbound IPv6 is captured", world, "[" + pod6 + "]:8080", "inbound [" + pod6 + "]:8080"},
		{"T03 T13 inbound 15008 is direct", world, pod4 + ":15008", "app " + pod4 + ":15008"},
		{"T03 T13 inbound 15020 is direct", world, pod4 + ":15020", "app " + pod4 + ":15020"},
		{"T03 T13 inbound 15021 is direct", world, pod4 + ":15021", "app " + pod4 + ":15021"},
		{"T03 T13 inbound 15090 is direct", world, pod4 + ":15090", "app " + pod4 + ":15090"},
		{"T03 T13 T16 inbound 15021 is direct with IPv6", world, "[" + pod6 + "]:15021", "app [" + pod6 + "]:15021"},
	}
}

func TestIstioExclusionsAndInclusions(t *testing.T) {
	const traffic = "traffic.sidecar.istio.io/"
	p := newPair(t)
	p.proxy("15001", "15006")
	app, world := client{ns: p.pod, uid: 1000, gid: 1000}, client{ns: p.world}
	t.Run("excluded", func(t *testing.T) {
		p := &pair{t: t, pod: p.pod, world: p.world}
		p.apply(intercept.Istio, map[string]string{traffic + "excludeOutboundPorts": "443", traffic + "excludeInboundPorts": "9090",
			traffic + "excludeOutboundIPRanges": "203.0.113.2/32,2001:db8::/32"})
		p.check([]connection{
			{"T13 an excluded port bypasses", app, "203.0.113.1:443", "world 203.0.113.1:443"},
			{"T13 its neighbour does not", app, "203.0.113.1:442", "outbound 203.0.113.1:442"},
			{"T13 an excluded address bypasses", app, "203.0.113.2:80", "world 203.0.113.2:80"},
			{"T13 T14 its neighbour does not", app, "203.0.113.1:80", "outbound 203.0.113.1:80"},
			{"T13 T16 an excluded IPv6 range bypasses", app, "[2001:db8::1]:80", "world [2001:db8::1]:80"},
			{"T13 an excluded inbound port bypasses", world, pod4 + ":9090", "app " + pod4 + ":9090"},
			{"T13 its inbound neighbour does not", world, pod4 + ":8080", "inbound " + pod4 + ":8080"},
			{"T13 15090 stays excluded beside it", world, pod4 + ":15090", "app " + pod4 + ":15090"},
		})
	})
	t.Run("included", func(t *testing.T) {
		p := &pair{t: t, pod: p.pod, world: p.world}
		p.apply(intercept.Istio, map[string]string{traffic + "includeOutboundIPRanges": "203.0.113.0/31", traffic + "includeOutboundPorts": "9090",
			traffic + "includeInboundPorts": "8080"})
		p.check([]connection{
			{"T14 an included address is captured", app, "203.0.113.1:80", "outbound 203.0.113.1:80"},
			{"T14 the address just outside is not", app, "203.0.113.2:80", "world 203.0.113.2:80"},
			{"T14 an included port is captured wherever it is", app, "198.51.100.1:9090", "outbound 198.51.100.1:9090"},
			{"T14 T16 and with IPv6", app, "[2001:db8::1]:9090", "outbound [2001:db8::1]:9090"},
			{"T14 T16 IPv6 outside of the ranges is not", app, "[2001:db8::1]:80", "world [2001:db8::1]:80"},
			{"T14 an included inbound port is captured", world, pod4 + ":8080", "inbound " + pod4 + ":8080"},
			{"T14 its neighbour is not", world, pod4 + ":9090", "app " + pod4 + ":9090"},
		})
	})
	t.Run("both", func(t *testing.T) {
		p := &pair{t: t, pod: p.pod, world: p.world}
		p.apply(intercept.Istio, map[string]string{traffic + "includeOutboundIPRanges": "203.0.113.0/24", traffic + "excludeOutboundIPRanges": "203.0.113.2/32",
			traffic + "includeOutboundPorts": "443", traffic + "excludeOutboundPorts": "443"})
		p.check([]connection{
			{"T15 an address excluded from an included range bypasses", app, "203.0.113.2:80", "world 203.0.113.2:80"},
			{"T15 a port both included and excluded bypasses", app, "203.0.113.1:443", "world 203.0.113.1:443"},
			{"T15 the rest of the range is captured", app, "203.0.113.1:80", "outbound 203.0.113.1:80"},
		})
	})
}

func TestLinkerdProfile(t *testing.T) {
	p := newPair(t)
	p.proxy("4140", "4143")
	p.apply(intercept.Linkerd, map[string]string{"config.linkerd.io/skip-inbound-ports": "9000-9099", "config.linkerd.io/skip-outbound-ports": "443"})
	app, world, proxy := client{ns: p.pod, uid: 1000, gid: 1000}, client{ns: p.world}, client{ns: p.pod, uid: 2102}
	p.check([]connection{
		{"T01 T02 an app's connection is captured, with its destination", app, "203.0.113.1:80", "outbound 203.0.113.1:80"},
		{"T16 T01 IPv6 is captured", app, "[2001:db8::1]:80", "outbound [2001:db8::1]:80"},
		{"T11 T05 the proxy's uid is exempt", proxy, "203.0.113.1:80", "world 203.0.113.1:80"},
		{"T07 127.0.0.1 is direct", app, "127.0.0.1:8080", "app 127.0.0.1:8080"},
		{"T08 the pod's own address is direct", app, pod4 + ":8080", "app " + pod4 + ":8080"},
		{"T10 the proxy to the pod's own address is direct", proxy, pod4 + ":8080", "app " + pod4 + ":8080"},
		{"T13 a skipped outbound port bypasses", app, "203.0.113.1:443", "world 203.0.113.1:443"},
		{"T03 inbound is captured", world, pod4 + ":8080", "inbound " + pod4 + ":8080"},
		{"T13 a skipped range of inbound ports bypasses", world, pod4 + ":9090", "app " + pod4 + ":9090"},
	})
}

func TestT04T05AProxyThatForwardsIsEnteredOnce(t *testing.T) {
	p := newPair(t)
	p.apply(intercept.Istio, nil)
	var mu sync.Mutex
	var taken []string
	p.answer(p.pod, "15001", func(c *net.TCPConn) string {
		dst, err := originalDestination(c)
		if err != nil {
			return err.Error()
		}
		mu.Lock()
		taken = append(taken, dst.String())
		n := len(taken)
		mu.Unlock()
		if n > 3 {
			return "looped"
		}
		return client{ns: p.pod, uid: 1337, gid: 1337}.ask(t.Context(), dst.String())
	})
	got := client{ns: p.pod, uid: 1000}.ask(t.Context(), "203.0.113.1:80")
	if got != "world 203.0.113.1:80" {
		t.Errorf("got %q through the proxy, want the world's own answer", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"203.0.113.1:80"}, taken); diff != "" {
		t.Errorf("the proxy's connections (-want +got):\n%s", diff)
	}
}

func TestT31WithoutAProxyConnectionsAreRefused(t *testing.T) {
	p := newPair(t)
	p.apply(intercept.Istio, nil)
	p.check([]connection{
		{"outbound", client{ns: p.pod, uid: 1000}, "203.0.113.1:80", "refused"},
		{"outbound IPv6", client{ns: p.pod, uid: 1000}, "[2001:db8::1]:80", "refused"},
		{"inbound", client{ns: p.world}, pod4 + ":8080", "refused"},
	})
}

func TestT16IPv6BypassLeavesIPv6Alone(t *testing.T) {
	p := newPair(t)
	p.proxy("15001", "15006")
	c, err := intercept.Default(intercept.Istio)
	if err != nil {
		t.Fatal(err)
	}
	c.IPv6 = intercept.IPv6Bypass
	s, err := intercept.Render(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := intercept.Apply(t.Context(), p.pod, s); err != nil {
		t.Fatal(err)
	}
	p.check([]connection{
		{"IPv4 is captured", client{ns: p.pod, uid: 1000}, "203.0.113.1:80", "outbound 203.0.113.1:80"},
		{"IPv6 is not", client{ns: p.pod, uid: 1000}, "[2001:db8::1]:80", "world [2001:db8::1]:80"},
		{"inbound IPv6 is not", client{ns: p.world}, "[" + pod6 + "]:8080", "app [" + pod6 + "]:8080"},
	})
}

func TestT17UDPIsNotRedirected(t *testing.T) {
	p := newPair(t)
	p.apply(intercept.Istio, nil)
	l, err := netns.ListenPacket(t.Context(), p.world, "udp", "203.0.113.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&netns.Dialer{Path: p.pod}).DialContext(t.Context(), "udp", "203.0.113.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("query")); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 16)
	if n, _, err := l.ReadFrom(buf); err != nil || string(buf[:n]) != "query" {
		t.Errorf("the world got %q, %v, want the query", buf[:n], err)
	}
}
