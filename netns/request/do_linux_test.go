package request

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/flows"
	"github.com/podsim/podsim/netns/lab"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Command {
		os.Exit(Main())
	}
	goleak.VerifyTestMain(m)
}

// serve accepts on an address of a namespace until the test ends.
func serve(t *testing.T, path, address string, attend func(*net.TCPConn)) string {
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
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				attend(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// serveHTTP answers on an address of a namespace until the test ends.
func serveHTTP(t *testing.T, path, address string, h http.HandlerFunc) string {
	t.Helper()
	l, err := netns.Listen(t.Context(), path, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return l.Addr().String()
}

func do(t *testing.T, from Place, r Request) Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	response, err := Do(ctx, from, r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// counting writes rules that count the first packets of connections with each property, and returns the counts.
func counting(t *testing.T, path string, properties map[string][]expr.Any) func() map[string]uint64 {
	t.Helper()
	table := &nftables.Table{Name: "watch", Family: nftables.TableFamilyINet}
	lab.Rules(t, path, func(c *nftables.Conn) {
		c.AddTable(table)
		chain := c.AddChain(&nftables.Chain{Name: "out", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
		for name, match := range properties {
			c.AddObj(&nftables.NamedObj{Table: table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
			var exprs []expr.Any
			exprs = append(exprs, syn()...)
			exprs = append(exprs, match...)
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(exprs, &expr.Objref{Type: 1, Name: name})})
		}
	})
	return func() map[string]uint64 {
		out := make(map[string]uint64)
		lab.Do(t, path, func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			objects, err := c.GetNamedObjects(table)
			for _, o := range objects {
				n := o.(*nftables.NamedObj)
				out[n.Name] = n.Obj.(*expr.Counter).Packets
			}
			return err
		})
		return out
	}
}

// syn matches a TCP connection's first packet.
func syn() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{6}},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1, DestRegister: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x12}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{2}},
	}
}

func metaIs(k expr.MetaKey, v uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: k, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, v)},
	}
}

func TestARequestIsSentByTheUserGroupAndCgroupOfItsPlace(t *testing.T) {
	path := lab.Namespace(t)
	root, err := flows.CgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	group := lab.Cgroup(t, root, "app")
	var st syscall.Stat_t
	if err := syscall.Stat(group, &st); err != nil {
		t.Fatal(err)
	}
	counts := counting(t, path, map[string][]expr.Any{
		"all":  nil,
		"uid":  metaIs(expr.MetaKeySKUID, 4321),
		"gid":  metaIs(expr.MetaKeySKGID, 8765),
		"root": metaIs(expr.MetaKeySKUID, 0),
		"cgroup": {
			&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: 2, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint64(nil, st.Ino)},
		},
	})
	address := serveHTTP(t, path, "127.0.0.1:8080", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	uid, gid := 4321, 8765
	for _, c := range []struct {
		name string
		from Place
		want map[string]uint64
	}{
		{"all of it", Place{Netns: path, Cgroup: group, UID: &uid, GID: &gid},
			map[string]uint64{"all": 1, "uid": 1, "gid": 1, "cgroup": 1, "root": 0}},
		{"the user alone", Place{Netns: path, UID: &uid}, map[string]uint64{"all": 2, "uid": 2, "gid": 1, "cgroup": 1, "root": 0}},
		{"the namespace alone", Place{Netns: path}, map[string]uint64{"all": 3, "uid": 2, "gid": 1, "cgroup": 1, "root": 1}},
	} {
		r := do(t, c.from, Request{Protocol: HTTP, URL: "http://" + address + "/"})
		if r.Error != "" || r.Status != 200 || string(r.Body) != "hello" {
			t.Fatalf("%s: got %+v", c.name, r)
		}
		if got := counts(); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: the kernel counted %v, want %v", c.name, got, c.want)
		}
		if r.Remote != address || !strings.HasPrefix(r.Local, "127.0.0.1:") || r.Elapsed <= 0 {
			t.Errorf("%s: the ends are %s and %s after %s", c.name, r.Local, r.Remote, r.Elapsed)
		}
	}
}

func TestAnHTTPRequestIsSentAsWritten(t *testing.T) {
	path := lab.Namespace(t)
	address := serveHTTP(t, path, "127.0.0.1:8080", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %s %s %q", r.Method, r.URL, r.Host, r.Header.Get("X-A"), body))
		switch r.URL.Path {
		case "/moved":
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		case "/big":
			w.Write(make([]byte, MaxBody+1))
		case "/full":
			w.Write(make([]byte, MaxBody))
		}
	})
	at := Place{Netns: path}
	r := do(t, at, Request{Protocol: HTTP, URL: "http://" + address + "/moved?x=1", Method: "PUT", Host: "api.example.com",
		Header: map[string][]string{"x-a": {"b"}}, Body: "data"})
	if want := `PUT /moved?x=1 api.example.com b "data"`; r.Status != 302 || http.Header(r.Header).Get("X-Saw") != want {
		t.Errorf("got %d %v, want the redirect itself and %s", r.Status, r.Header, want)
	}
	r = do(t, at, Request{Protocol: HTTP, URL: "http://" + address, Header: map[string][]string{"Host": {"h"}}})
	if got := http.Header(r.Header).Get("X-Saw"); got != `GET / h  ""` {
		t.Errorf("the server saw %s", got)
	}
	for _, c := range []struct {
		path      string
		truncated bool
	}{{"/big", true}, {"/full", false}} {
		r := do(t, at, Request{Protocol: HTTP, URL: "http://" + address + c.path})
		if len(r.Body) != MaxBody || r.Truncated != c.truncated || r.Error != "" {
			t.Errorf("%s: got %d bytes, truncated %v, %s %s", c.path, len(r.Body), r.Truncated, r.Error, r.Detail)
		}
	}
}

func TestATCPRequestReadsWhatItExpects(t *testing.T) {
	path := lab.Namespace(t)
	echo := serve(t, path, "127.0.0.1:7", func(c *net.TCPConn) { io.Copy(c, c) })
	banner := serve(t, path, "127.0.0.1:25", func(c *net.TCPConn) { io.WriteString(c, "220 hi") })
	for _, c := range []struct {
		name    string
		request Request
		want    string
	}{
		{"an echo", Request{Address: echo, Send: "abc", Expect: 3}, "abc"},
		{"no more than expected", Request{Address: echo, Send: "abcdef", Expect: 2}, "ab"},
		{"nothing", Request{Address: echo, Send: "abc"}, ""},
		{"up to the end of the stream", Request{Address: banner, Expect: 100}, "220 hi"},
	} {
		c.request.Protocol = TCP
		if r := do(t, Place{Netns: path}, c.request); r.Error != "" || string(r.Body) != c.want {
			t.Errorf("%s: got %q, %s %s; want %q", c.name, r.Body, r.Error, r.Detail, c.want)
		}
	}
}

func TestFailuresHaveTheirClass(t *testing.T) {
	path := lab.Namespace(t)
	slam := serve(t, path, "127.0.0.1:1001", func(c *net.TCPConn) { c.Read(make([]byte, 1)); c.SetLinger(0) })
	shut := serve(t, path, "127.0.0.1:1002", func(c *net.TCPConn) { c.Read(make([]byte, 4096)) })
	mute := serve(t, path, "127.0.0.1:1003", func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	half := serve(t, path, "127.0.0.1:1004", func(c *net.TCPConn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	})
	for _, c := range []struct {
		name, target string
		want         Class
	}{
		{"nobody listens", "127.0.0.1:1", Refused},
		{"a reset", slam, Reset},
		{"closed without an answer", shut, Closed},
		{"closed in mid-answer", half, Closed},
		{"silence", mute, Timeout},
		{"no route", "192.0.2.1:80", Unreachable},
		{"no such name", "nowhere.example.com:80", DNS},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []Request{
				{Protocol: HTTP, URL: "http://" + c.target + "/"},
				{Protocol: TCP, Address: c.target, Send: "x", Expect: 100},
			} {
				if c.target == half && r.Protocol == TCP {
					continue // half an answer is all that a tcp request can want
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				if c.want == Timeout {
					ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
				}
				got, err := Do(ctx, Place{Netns: path}, r)
				cancel()
				if err != nil || got.Error != c.want || got.Detail == "" {
					t.Errorf("%s: got %q (%s), %v; want %s", r.Protocol, got.Error, got.Detail, err, c.want)
				}
			}
		})
	}
}

// nameserver answers for names in a namespace, over udp with a truncated answer where tcp is to be tried.
func nameserver(t *testing.T, path, address string, names map[string]string) *atomic.Int64 {
	t.Helper()
	var asked atomic.Int64
	handler := dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		addr, ok := names[name]
		switch {
		case strings.HasPrefix(name, "servfail."):
			m.Rcode = dns.RcodeServerFailure
		case !ok:
			m.Rcode = dns.RcodeNameError
		case strings.HasPrefix(name, "big.") && rw.LocalAddr().Network() == "udp":
			m.Truncated = true
		case q.Question[0].Qtype == dns.TypeA:
			rr, err := dns.NewRR(name + " 5 IN A " + addr)
			if err != nil {
				panic(err)
			}
			m.Answer = []dns.RR{rr}
		}
		rw.WriteMsg(m)
	})
	pc, err := netns.ListenPacket(t.Context(), path, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := netns.Listen(t.Context(), path, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		started, done := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { server.Shutdown(); <-done })
	}
	return &asked
}

func TestNamesAreResolvedAsInTheContainer(t *testing.T) {
	path := lab.Namespace(t)
	serveHTTP(t, path, "127.0.0.1:80", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	asked := nameserver(t, path, "127.0.0.53:53", map[string]string{
		"web.default.svc.cluster.local.": "127.0.0.1", "api.example.com.": "127.0.0.1", "big.example.com.": "127.0.0.1",
	})
	const conf = "nameserver 127.0.0.53\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:1 attempts:2\n"
	at := Place{Netns: path, ResolvConf: conf, Hosts: "# a comment\n127.0.0.1 pod pod.local # another\n::1 six\n"}
	for _, c := range []struct {
		name  string
		asked int64 // how many queries it takes: 0 proves that hosts came first
		want  Class
	}{
		{"web", 1, ""},                // the search list, at its first name
		{"web.default.svc", 3, ""},    // at its third
		{"api.example.com", 4, ""},    // as it is, last of all by ndots
		{"api.example.com.", 1, ""},   // as it is, at once
		{"big.example.com.", 2, ""},   // once more over tcp
		{"pod.LOCAL", 0, ""},          // from hosts
		{"none", 4, DNS},              // nowhere
		{"servfail.example.", 2, DNS}, // tried twice
		{"six", 0, Refused},           // from hosts: nobody listens at ::1
		{"127.0.0.1", 0, ""},          // no name at all
	} {
		before := asked.Load()
		r := do(t, at, Request{Protocol: HTTP, URL: "http://" + c.name + "/"})
		if r.Error != c.want {
			t.Errorf("%s: got %q (%s), want %q", c.name, r.Error, r.Detail, c.want)
		}
		if got := asked.Load() - before; got != c.asked {
			t.Errorf("%s: took %d queries, want %d", c.name, got, c.asked)
		}
		if c.want == DNS && (!strings.Contains(r.Detail, strings.TrimSuffix(c.name, ".")) || r.Remote != "") {
			t.Errorf("%s: the detail is %q, the far end %q", c.name, r.Detail, r.Remote)
		}
	}
}

func TestFromTheHostNoHelperIsNeeded(t *testing.T) {
	address := serveHTTP(t, "", "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "host") })
	for _, url := range []string{"http://" + address, "http://localhost:" + netip.MustParseAddrPort(address).String()[len("127.0.0.1:"):]} {
		r := do(t, Place{}, Request{Protocol: HTTP, URL: url})
		if string(r.Body) != "host" || r.Remote != address || r.Error != "" {
			t.Errorf("%s: got %+v", url, r)
		}
	}
}

func TestACancelledRequestEndsItsHelper(t *testing.T) {
	path := lab.Namespace(t)
	arrived := make(chan struct{}, 1)
	gone := make(chan struct{}, 1)
	address := serve(t, path, "127.0.0.1:1000", func(c *net.TCPConn) {
		arrived <- struct{}{}
		io.Copy(io.Discard, c)
		gone <- struct{}{}
	})
	for _, timeout := range []time.Duration{0, time.Hour} {
		ctx, cancel := context.WithCancel(t.Context())
		if timeout > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, timeout)
			defer stop()
		}
		go func() { <-arrived; cancel() }()
		_, err := Do(ctx, Place{Netns: path}, Request{Protocol: TCP, Address: address, Send: "x", Expect: 1})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a timeout of %s: got %v, want that it was cancelled", timeout, err)
		}
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Error("the helper's connection was still open after 10 s")
		}
	}
}

func TestTheHelperEndsWithWhoeverStartedIt(t *testing.T) {
	path := lab.Namespace(t)
	arrived := make(chan struct{}, 1)
	address := serve(t, path, "127.0.0.1:1000", func(c *net.TCPConn) { arrived <- struct{}{}; io.Copy(io.Discard, c) })
	cmd := exec.Command("/proc/self/exe", Command)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	lab.Do(t, path, cmd.Start)
	if err := json.NewEncoder(stdin).Encode(task{Request: Request{Protocol: TCP, Address: address, Expect: 1}}); err != nil {
		t.Fatal(err)
	}
	<-arrived
	stdin.Close() // as when the process is killed
	killed := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	defer killed.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got %v, want that it ends itself with 1", err)
	}
}

func TestARequestThatCannotBeTriedIsAnError(t *testing.T) {
	lab.RequireRoot(t)
	good := Request{Protocol: TCP, Address: "127.0.0.1:1"}
	uid := -1
	for _, c := range []struct {
		name    string
		from    Place
		request Request
		want    string
	}{
		{"no protocol", Place{}, Request{}, "protocol"},
		{"another scheme", Place{}, Request{Protocol: HTTP, URL: "ftp://x/"}, "no http URL"},
		{"no port", Place{}, Request{Protocol: TCP, Address: "x"}, "missing port"},
		{"a port that is none", Place{}, Request{Protocol: TCP, Address: "x:99999"}, "port"},
		{"too much", Place{}, Request{Protocol: TCP, Address: "x:1", Expect: MaxBody + 1}, "at most"},
		{"no namespace", Place{Netns: t.TempDir() + "/none"}, good, "no namespace is pinned there"},
		{"no cgroup", Place{Cgroup: t.TempDir() + "/none"}, good, "enter cgroup"},
		{"no cgroup v2", Place{Cgroup: t.TempDir()}, good, "in cgroup"},
		{"no user", Place{UID: &uid}, good, "-1 is no uid"},
	} {
		if r, err := Do(t.Context(), c.from, c.request); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v; want an error that says %q", c.name, r, err, c.want)
		}
	}
}
