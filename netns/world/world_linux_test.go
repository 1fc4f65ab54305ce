package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A site is a pod's namespace joined to a world.
type site struct {
	pod, world string

	mu   sync.Mutex
	seen []Connection
}

func newSite(t *testing.T, offline bool, stubs ...Stub) *site {
	t.Helper()
	s := &site{pod: lab.Namespace(t), world: lab.Namespace(t)}
	lab.Link(t, s.pod, "10.78.0.2/24", s.world, "10.78.0.1/24")
	for _, path := range []string{s.pod, s.world} {
		lab.AddRoute(t, path, "", "10.78.0.254") // as CNI leaves it
	}
	addresses := []netip.Addr{DNSAddress}
	for _, stub := range stubs {
		addresses = append(addresses, stub.Addresses...)
	}
	for range 2 { // idempotent
		if err := Prepare(s.world, addresses, offline); err != nil {
			t.Fatal(err)
		}
		if err := Lead(s.pod, netip.MustParseAddr("10.78.0.1"), []netip.Prefix{Prefix}, offline); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) open(t *testing.T, c Config) *World {
	t.Helper()
	c.Netns, c.OnConnection = s.world, func(c Connection) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, c)
	}
	w, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// connections is what was reported so far.
func (s *site) connections() []Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Connection(nil), s.seen...)
}

func (s *site) dial(t *testing.T, address string) net.Conn {
	t.Helper()
	d := netns.Dialer{Path: s.pod}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

func stub(name string, i int) Stub {
	a, err := StubAddress(i)
	if err != nil {
		panic(err)
	}
	return Stub{Name: name, Addresses: []netip.Addr{a}}
}

func httpStub(name string, i int, routes ...Route) Stub {
	s := stub(name, i)
	s.HTTP = &HTTP{Port: 80, Routes: routes}
	return s
}

func tcpStub(name string, i int, p TCP) Stub {
	s := stub(name, i)
	s.TCP = &p
	return s
}

func TestAnHTTPStubAnswersByItsRoutesAndReportsFirst(t *testing.T) {
	api := httpStub("api", 0,
		Route{Path: "/v1", Body: "ok"},
		Route{Path: "/made", Method: "POST", Status: 201, Header: map[string][]string{"x-made": {"yes"}}},
		Route{Path: "/under/*", Body: "below"})
	s := newSite(t, false, api)
	s.open(t, Config{Stubs: []Stub{api}})
	d := netns.Dialer{Path: s.pod}
	client := http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	defer client.CloseIdleConnections()
	for i, c := range []struct {
		method, path, header, body string
		status                     int
	}{
		{"GET", "/v1?x=1", "", "ok", 200},
		{"GET", "/made", "", "this stub has no route for GET /made\n", 404},
		{"POST", "/made", "yes", "", 201},
		{"GET", "/under/a/b", "", "below", 200},
		{"GET", "/v1/other", "", "this stub has no route for GET /v1/other\n", 404},
	} {
		request, _ := http.NewRequestWithContext(t.Context(), c.method, "http://198.18.0.10"+c.path, nil)
		request.Host = "api.example.com"
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != c.status || string(body) != c.body || response.Header.Get("X-Made") != c.header {
			t.Errorf("%s %s: got %d %q %v, %v; want %d %q", c.method, c.path, response.StatusCode, body, response.Header, err, c.status, c.body)
		}
		seen := s.connections()
		if len(seen) != i+1 {
			t.Fatalf("%s %s: answered with %d reports made, want %d", c.method, c.path, len(seen), i+1)
		}
		got := seen[i]
		if got.Request != i+1 || got.Method != c.method || got.Path != c.path || got.Host != "api.example.com" || got.Stub != "api" {
			t.Errorf("%s %s: reported as %+v", c.method, c.path, got)
		}
	}
	got := s.connections()[0]
	if got.Source.Addr() != netip.MustParseAddr("10.78.0.2") || got.Target.String() != "198.18.0.10:80" ||
		!strings.HasPrefix(string(got.First), "GET /v1?x=1 HTTP/1.1\r\n") || len(got.First) > firstBytes || got.Time.IsZero() {
		t.Errorf("the first request was reported as %+v, %q", got, got.First)
	}
}

func TestAConnectionThatIsNoRequestIsReported(t *testing.T) {
	api := httpStub("api", 0)
	s := newSite(t, false, api)
	s.open(t, Config{Stubs: []Stub{api}})
	c := s.dial(t, "198.18.0.10:80")
	if _, err := io.WriteString(c, "what is this\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Errorf("got %q, want a 400", b)
	}
	seen := s.connections()
	if len(seen) != 1 || seen[0].Request != 0 || string(seen[0].First) != "what is this\r\n\r\n" {
		t.Errorf("got %+v, want one report without a request", seen)
	}
}

func TestPlainStubsBehaveByTheirMode(t *testing.T) {
	modes := []Stub{
		tcpStub("echo", 0, TCP{Port: 9, Mode: Echo}),
		tcpStub("banner", 1, TCP{Port: 9, Mode: Banner, Banner: "220 hello\r\n"}),
		tcpStub("silent", 2, TCP{Port: 9, Mode: Silent}),
		tcpStub("hang", 3, TCP{Port: 9, Mode: Hang}),
		tcpStub("reset", 4, TCP{Port: 9, Mode: Reset}),
	}
	s := newSite(t, false, modes...)
	s.open(t, Config{Stubs: modes})

	t.Run("echo sends back what it reads", func(t *testing.T) {
		c := s.dial(t, "198.18.0.10:9")
		for _, said := range []string{"one", "two"} {
			io.WriteString(c, said)
			b := make([]byte, 3)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != said {
				t.Errorf("said %q, got %q, %v", said, b, err)
			}
		}
	})
	t.Run("banner speaks first", func(t *testing.T) {
		c := s.dial(t, "198.18.0.11:9")
		b := make([]byte, 11)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "220 hello\r\n" {
			t.Errorf("got %q, %v", b, err)
		}
	})
	t.Run("silent and hang say nothing", func(t *testing.T) {
		for _, address := range []string{"198.18.0.12:9", "198.18.0.13:9"} {
			c := s.dial(t, address)
			io.WriteString(c, "hello?")
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: got %d bytes, %v; want silence", address, n, err)
			}
		}
	})
	t.Run("reset resets", func(t *testing.T) {
		d := netns.Dialer{Path: s.pod}
		c, err := d.DialContext(t.Context(), "tcp", "198.18.0.14:9")
		if err == nil { // the reset may come while dialling, or after it
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
		}
		if !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	})
	t.Run("each was reported once", func(t *testing.T) {
		got := map[string]int{}
		for _, c := range s.connections() {
			got[c.Stub]++
		}
		want := map[string]int{"echo": 1, "banner": 1, "silent": 1, "hang": 1, "reset": 1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAConnectionThatShowsNothingIsReportedInTheEnd(t *testing.T) {
	quiet := tcpStub("quiet", 0, TCP{Port: 9, Mode: Echo})
	s := newSite(t, false, quiet)
	told := make(chan Connection, 1)
	w, err := Open(t.Context(), Config{Netns: s.world, Stubs: []Stub{quiet}, OnConnection: func(c Connection) { told <- c }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.dial(t, "198.18.0.10:9")
	select {
	case c := <-told:
		if c.Stub != "quiet" || len(c.First) != 0 {
			t.Errorf("got %+v", c)
		}
	case <-time.After(10 * time.Second):
		t.Error("it was not reported within 10 s")
	}
}

func TestADelayHoldsTheAnswerAndEndsWithTheWorld(t *testing.T) {
	slow := httpStub("slow", 0, Route{Delay: time.Hour})
	s := newSite(t, false, slow)
	w := s.open(t, Config{Stubs: []Stub{slow}})
	c := s.dial(t, "198.18.0.10:80")
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: slow\r\n\r\n")
	deadline := time.Now().Add(5 * time.Second)
	for len(s.connections()) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the request was not reported within 5 s")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); len(b) != 0 {
		t.Errorf("got %q, %v; want no answer", b, err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestAPortInUseNamesTheStub(t *testing.T) {
	a, b := httpStub("a", 0), httpStub("b", 0)
	s := newSite(t, false, a)
	_, err := Open(t.Context(), Config{Netns: s.world, Stubs: []Stub{a, b}})
	if err == nil || !strings.Contains(err.Error(), "stub b: ") || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want stub b's address in use", err)
	}
	for _, bad := range []Stub{
		{Name: "x"}, stub("x", 0), {HTTP: &HTTP{Port: 1}, Addresses: a.Addresses},
		tcpStub("x", 0, TCP{Port: 9}), tcpStub("x", 0, TCP{Mode: Echo}),
		httpStub("x", 0, Route{Status: 99}),
	} {
		if w, err := Open(t.Context(), Config{Netns: s.world, Stubs: []Stub{bad}}); err == nil {
			w.Close()
			t.Errorf("the stub %+v was accepted", bad)
		}
	}
}

// query asks the world's resolver from the pod.
func (s *site) query(t *testing.T, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	d := netns.Dialer{Path: s.pod}
	c, err := d.DialContext(t.Context(), network, "198.18.0.53:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	co := &dns.Conn{Conn: c}
	co.SetDeadline(time.Now().Add(5 * time.Second))
	if err := co.WriteMsg(new(dns.Msg).SetQuestion(name, kind)); err != nil {
		t.Fatal(err)
	}
	m, err := co.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func answers(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String())[3:], " "))
	}
	return strings.Join(out, ", ")
}

func TestTheResolverKnowsTheWorldAndNothingElse(t *testing.T) {
	api := httpStub("api", 0)
	api.Hosts = []string{"API.example.com"}
	s := newSite(t, true, api)
	var many []netip.Addr
	for i := range 60 {
		a, _ := StubAddress(i)
		many = append(many, a)
	}
	s.open(t, Config{Stubs: []Stub{api}, DNS: DNSAddress, Names: map[string][]netip.Addr{
		"web.default.svc.cluster.local": {netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00::1")},
		"many.example.com":              many,
	}})
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"api.", dns.TypeA, "NOERROR, A 198.18.0.10"},
		{"api.EXAMPLE.com.", dns.TypeA, "NOERROR, A 198.18.0.10"},
		{"api.example.com.", dns.TypeAAAA, "NOERROR"},
		{"api.example.com.", dns.TypeMX, "NOERROR"},
		{"web.default.svc.cluster.local.", dns.TypeA, "NOERROR, A 10.96.0.1"},
		{"web.default.svc.cluster.local.", dns.TypeAAAA, "NOERROR, AAAA fd00::1"},
		{"no.default.svc.cluster.local.", dns.TypeA, "NXDOMAIN"},
		{"example.org.", dns.TypeA, "NXDOMAIN"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := answers(s.query(t, network, c.name, c.kind)); got != c.want {
				t.Errorf("%s %s over %s: got %s, want %s", c.name, dns.TypeToString[c.kind], network, got, c.want)
			}
		}
	}
	if m := s.query(t, "udp", "many.example.com.", dns.TypeA); !m.Truncated {
		t.Errorf("60 addresses over udp are not truncated, with %d answers", len(m.Answer))
	}
	if m := s.query(t, "tcp", "many.example.com.", dns.TypeA); m.Truncated || len(m.Answer) != 60 {
		t.Errorf("60 addresses over tcp: %d answers, truncated %v", len(m.Answer), m.Truncated)
	}
}

func TestTheResolverForwardsOnlyWhatItDoesNotKnow(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	upstream := upstreamServer(t, func(name string) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, name)
	})
	api := httpStub("api", 0)
	s := newSite(t, false, api)
	s.open(t, Config{Stubs: []Stub{api}, DNS: DNSAddress, Forward: []string{upstream}})
	for name, want := range map[string]string{
		"api.": "NOERROR, A 198.18.0.10", "example.org.": "NOERROR, A 192.0.2.1", "x.svc.cluster.local.": "NXDOMAIN",
	} {
		if got := answers(s.query(t, "udp", name, dns.TypeA)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"example.org."}, asked); diff != "" {
		t.Errorf("the upstream was asked (-want +got):\n%s", diff)
	}
}

// upstreamServer answers every name with 192.0.2.1, on the process's own loopback.
func upstreamServer(t *testing.T, asked func(name string)) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan struct{})
	server := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) },
		Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
			asked(q.Question[0].Name)
			m := new(dns.Msg).SetReply(q)
			rr, err := dns.NewRR(q.Question[0].Name + " 5 IN A 192.0.2.1")
			if err != nil {
				panic(err)
			}
			m.Answer = []dns.RR{rr}
			rw.WriteMsg(m)
		})}
	go func() { defer close(done); server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { server.Shutdown(); <-done })
	return pc.LocalAddr().String()
}

func TestHostResolversReadsAResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := HostResolvers(file)
	if diff := cmp.Diff([]string{"192.0.2.1:53", "[2001:db8::1]:53"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := HostResolvers(file + ".none"); err == nil {
		t.Error("a missing file is no error")
	}
}

// No packet for an address that is no stub may leave an offline world; a counter on its way out proves it.
func TestAnOfflineWorldResetsWhatIsNoStub(t *testing.T) {
	api := httpStub("api", 0)
	s := newSite(t, true, api)
	s.open(t, Config{Stubs: []Stub{api}})
	s.dial(t, "198.18.0.10:80")
	forwarded := countForwarded(t, s.world)
	for _, address := range []string{"198.18.0.10:81", "198.18.7.7:80", "192.0.2.1:443", "203.0.113.5:80"} {
		d := netns.Dialer{Path: s.pod, Dialer: net.Dialer{Timeout: 5 * time.Second}}
		began := time.Now()
		c, err := d.DialContext(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: got %v after %s, want a reset", address, err, time.Since(began))
		}
	}
	if n := forwarded(); n != 0 {
		t.Errorf("%d packets were forwarded out of the world", n)
	}
}

func TestAnOfflineWorldRefusesIPv6AtOnce(t *testing.T) {
	for _, test := range []struct {
		by   string
		via  netip.Addr
		want error
	}{
		{"the world", netip.MustParseAddr("fd00:78::1"), unix.ECONNREFUSED},
		{"the pod itself", netip.Addr{}, unix.EHOSTUNREACH},
	} {
		t.Run("by "+test.by, func(t *testing.T) {
			s := newSite(t, true)
			addAddress6(t, s.pod, "fd00:78::2/64")
			addAddress6(t, s.world, "fd00:78::1/64")
			lab.AddRoute(t, s.pod, "::/0", "fd00:78::fe") // as CNI leaves it
			for range 2 {                                 // idempotent
				if err := CloseIPv6(s.pod, test.via); err != nil {
					t.Fatal(err)
				}
			}
			forwarded := countForwarded(t, s.world)
			d := netns.Dialer{Path: s.pod, Dialer: net.Dialer{Timeout: 5 * time.Second}}
			for _, address := range []string{"[2001:db8::1]:443", "[fd12:3456::1]:80", "[64:ff9b::1]:80"} {
				began := time.Now()
				c, err := d.DialContext(t.Context(), "tcp", address)
				if err == nil {
					c.Close()
				}
				if !errors.Is(err, test.want) {
					t.Errorf("%s: got %v after %s, want %v", address, err, time.Since(began), test.want)
				}
			}
			if n := forwarded(); n != 0 {
				t.Errorf("%d packets were forwarded out of the world", n)
			}
			if c, err := d.DialContext(t.Context(), "tcp", "[fd00:78::1]:80"); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("the world's own address, on the link: got %v, %v, want a reset", c, err)
			}
		})
	}
}

// addAddress6 gives eth0 an address that is usable at once.
func addAddress6(t *testing.T, path, address string) {
	t.Helper()
	lab.Do(t, path, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		return netlink.AddrAdd(link, addr)
	})
}

// countForwarded counts what passes a namespace's forward hook.
func countForwarded(t *testing.T, path string) func() uint64 {
	t.Helper()
	table := &nftables.Table{Name: "watch", Family: nftables.TableFamilyINet}
	lab.Rules(t, path, func(c *nftables.Conn) {
		c.AddTable(table)
		chain := c.AddChain(&nftables.Chain{Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
		c.AddObj(&nftables.NamedObj{Table: table, Name: "n", Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Objref{Type: 1, Name: "n"}}})
	})
	return func() (n uint64) {
		lab.Do(t, path, func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			objects, err := c.GetNamedObjects(table)
			if err != nil {
				return err
			}
			for _, o := range objects {
				n += o.(*nftables.NamedObj).Obj.(*expr.Counter).Packets
			}
			return nil
		})
		return n
	}
}

func TestStubAddressesAreApartAndLeaveTheResolverOut(t *testing.T) {
	seen := map[netip.Addr]bool{DNSAddress: true}
	for i := range 1000 {
		a, err := StubAddress(i)
		if err != nil || seen[a] || !Prefix.Contains(a) {
			t.Fatalf("stub %d: got %s, %v", i, a, err)
		}
		seen[a] = true
	}
	for _, i := range []int{-1, 1 << 17, 1 << 40} {
		if a, err := StubAddress(i); err == nil {
			t.Errorf("stub %d has the address %s", i, a)
		}
	}
}

func TestModesRoundTrip(t *testing.T) {
	for _, m := range Modes() {
		b, err := m.MarshalText()
		var back Mode
		if err := errors.Join(err, back.UnmarshalText(b)); err != nil || back != m || string(b) != m.String() {
			t.Errorf("%v: %q, %v, %v", m, b, back, err)
		}
	}
	var m Mode
	if err := m.UnmarshalText([]byte("")); err == nil {
		t.Error("the empty mode is no error")
	}
	if _, err := Mode(99).MarshalText(); err == nil || fmt.Sprint(Mode(99)) != "Mode(99)" {
		t.Error("an unknown mode has a text")
	}
}
