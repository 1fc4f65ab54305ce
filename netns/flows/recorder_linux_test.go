package flows

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/lab"
)

func TestEveryFlowHasItsOpenerTakerAndVerdict(t *testing.T) {
	s := newSite(t, meshPolicy())
	s.intercept()
	defer s.tape("mesh")()
	agent := s.container("agent", agentUID)
	for _, address := range []string{apiAddr, "198.18.0.20:80", "198.18.0.10:9000", "198.18.0.10:9999"} {
		serveWorld(t, s.world, address)
	}
	s.proxy.must(t, order{Do: "proxy", Address: "0.0.0.0:15001", Count: 100})
	s.proxy.must(t, order{Do: "proxy", Address: "0.0.0.0:15006", Count: 100})
	s.app.must(t, order{Do: "listen", Address: "0.0.0.0:8080"})
	s.app.must(t, order{Do: "listen", Address: "0.0.0.0:15020"})
	s.app.must(t, order{Do: "listen", Address: "[::]:8086"})

	cases := []struct {
		name    string
		who     *container
		address string
		want    want
	}{
		{"what the app opens is captured (T01)", s.app, apiAddr, want{"app", Captured, "proxy", 15001, "api"}},
		{"loopback is direct (T07)", agent, "127.0.0.1:8080", want{"agent", Direct, "app", 8080, ""}},
		{"the pod's own address is direct (T08)", s.app, "10.77.0.2:8080", want{"app", Direct, "app", 8080, ""}},
		{"IPv6 loopback is direct (T16)", agent, "[::1]:8086", want{"agent", Direct, "app", 8086, ""}},
		{"an excluded port is exempt (T13)", s.app, "198.18.0.10:9000", want{"app", Exempt, World, 0, ""}},
		{"an excluded CIDR is exempt (T13)", s.app, "198.18.0.20:80", want{"app", Exempt, World, 0, ""}},
		{"an excluded uid is exempt (T11)", agent, apiAddr, want{"agent", Exempt, World, 0, ""}},
		{"a hole in the rules is a bypass", s.app, "198.18.0.10:9999", want{"app", Bypass, World, 0, ""}},
		{"the proxy's own connection is exempt", s.proxy, apiAddr, want{"proxy", Exempt, World, 0, ""}},
	}
	for _, c := range cases {
		r := c.who.must(t, order{Do: "dial", Address: c.address})
		t.Run(c.name, func(t *testing.T) {
			check(t, s.flow(s.complete(), "tcp", r.Local, c.address), c.want)
		})
	}

	t.Run("what comes in is captured and passed on to the app (T03)", func(t *testing.T) {
		d := netns.Dialer{Path: s.world}
		conn, err := d.DialContext(t.Context(), "tcp", "10.77.0.2:8080")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got, err := exchange(conn); err != nil || got != "ping" {
			t.Fatalf("the app behind the proxy answered %q, %v; want its echo", got, err)
		}
		f := s.flow(s.complete(), "tcp", conn.LocalAddr().String(), "10.77.0.2:8080")
		check(t, f, want{World, Captured, "proxy", 15006, "app"})
	})
	t.Run("an excluded inbound port is exempt", func(t *testing.T) {
		d := netns.Dialer{Path: s.world}
		conn, err := d.DialContext(t.Context(), "tcp", "10.77.0.2:15020")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f := s.flow(s.complete(), "tcp", conn.LocalAddr().String(), "10.77.0.2:15020")
		check(t, f, want{World, Exempt, "app", 15020, ""})
	})
	t.Run("UDP escapes (T17)", func(t *testing.T) {
		r := s.app.must(t, order{Do: "udp", Address: "198.18.0.10:5353"})
		check(t, s.flow(s.complete(), "udp", r.Local, "198.18.0.10:5353"), want{"app", Escaped, World, 0, ""})
	})
	t.Run("a flow ends when both sides have closed", func(t *testing.T) {
		r := s.app.must(t, order{Do: "dial", Address: "127.0.0.1:8080"})
		deadline := time.Now().Add(5 * time.Second)
		for {
			f := s.flow(s.complete(), "tcp", r.Local, "127.0.0.1:8080")
			if !f.End.IsZero() {
				if f.End.Before(f.Begin) {
					t.Errorf("the flow ended before it began: %v, %v", f.Begin, f.End)
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the flow is still open after 5 s: %s", f)
			}
		}
	})
}

func TestAProxyThatDoesNotListenRefuses(t *testing.T) {
	s := newSite(t, meshPolicy())
	s.intercept()
	defer s.tape("refused")()
	serveWorld(t, s.world, apiAddr)
	if r := s.app.do(t, order{Do: "dial", Address: apiAddr}); r.Class != "refused" {
		t.Fatalf("dialling behind a proxy that does not listen: %+v; want refused", r)
	}
	l := s.complete()
	if len(l.Flows) != 1 {
		t.Fatalf("got %d flows, want 1:\n%s", len(l.Flows), text(l))
	}
	check(t, l.Flows[0], want{"app", Refused, "", 0, ""})
	if !strings.Contains(l.Flows[0].Reason, ":15001") {
		t.Errorf("the reason %q does not name the listener 15001", l.Flows[0].Reason)
	}
}

func TestAProxyWithoutItsExemptUIDLoops(t *testing.T) {
	s := wires(t)
	s.load(meshPolicy())
	s.app = s.container("app", 1000)
	s.proxy = s.container("proxy", 0) // T44: not the exempt uid
	s.intercept()
	defer s.tape("loop")()
	const rounds = 4
	s.proxy.must(t, order{Do: "proxy", Address: "0.0.0.0:15001", Count: rounds})
	s.app.do(t, order{Do: "dial", Address: apiAddr})
	l := s.complete()
	looped := 0
	for _, f := range l.Flows {
		if f.Opener == "proxy" && f.Verdict == Looped && f.Taker == "proxy" && f.Listener == 15001 {
			looped++
		}
	}
	if looped != rounds {
		t.Errorf("got %d looped flows, want %d:\n%s", looped, rounds, text(l))
	}
}

func TestAnUnansweredAttemptIsDropped(t *testing.T) {
	s := newSite(t, Policy{})
	defer s.tape("dropped")()
	lab.Rules(t, s.world, func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Name: "hole", Family: nftables.TableFamilyIPv4})
		in := c.AddChain(&nftables.Chain{
			Name: "in", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: in, Exprs: append(dport(81), verdict(expr.VerdictDrop, "")...)})
	})
	if r := s.app.do(t, order{Do: "dial", Address: "198.18.0.10:81", Timeout: 300 * time.Millisecond}); r.Error == "" {
		t.Fatalf("dialling a hole succeeded: %+v", r)
	}
	l := s.complete()
	if len(l.Flows) != 1 {
		t.Fatalf("got %d flows, want 1:\n%s", len(l.Flows), text(l))
	}
	check(t, l.Flows[0], want{"app", Dropped, World, 0, ""})
}

func TestWithoutAProxyFlowsAreUnproxiedOrRefused(t *testing.T) {
	s := newSite(t, Policy{})
	serveWorld(t, s.world, apiAddr)
	r := s.app.must(t, order{Do: "dial", Address: apiAddr})
	check(t, s.flow(s.complete(), "tcp", r.Local, apiAddr), want{"app", Unproxied, World, 0, ""})
	if r := s.app.do(t, order{Do: "dial", Address: "198.18.0.10:82"}); r.Class != "refused" {
		t.Fatalf("dialling a closed port: %+v; want refused", r)
	}
	l := s.complete()
	check(t, l.Flows[len(l.Flows)-1], want{"app", Refused, World, 0, ""})
}

func TestAConnectionOlderThanTheLedgerIsPreRule(t *testing.T) {
	s := wires(t)
	serveWorld(t, s.world, apiAddr)
	app := start(t, s.pod, "app", 1000)
	app.must(t, order{Do: "hold", Address: apiAddr})
	s.load(meshPolicy())
	defer s.tape("prerule")()
	if err := s.recorder.Track("app", app.cgroup); err != nil {
		t.Fatal(err)
	}
	app.must(t, order{Do: "say", Address: apiAddr})
	l := s.complete()
	if len(l.Flows) != 1 {
		t.Fatalf("got %d flows, want 1:\n%s", len(l.Flows), text(l))
	}
	check(t, l.Flows[0], want{"app", PreRule, World, 0, ""})
}

func TestARuleOfThePodThatDropsIsCountedAsBlocked(t *testing.T) {
	s := newSite(t, Policy{})
	lab.Rules(t, s.pod, func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Name: "wall", Family: nftables.TableFamilyIPv4})
		out := c.AddChain(&nftables.Chain{
			Name: "out", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: append(dport(83), verdict(expr.VerdictDrop, "")...)})
	})
	if r := s.app.do(t, order{Do: "dial", Address: "198.18.0.10:83", Timeout: 100 * time.Millisecond}); r.Error == "" {
		t.Fatalf("dialling through the wall succeeded: %+v", r)
	}
	l := s.complete()
	if len(l.Flows) != 0 || l.Blocked["app"] == 0 {
		t.Errorf("got %d flows and blocked %v, want none and at least one of app", len(l.Flows), l.Blocked)
	}
}

func TestARestartedContainerKeepsItsName(t *testing.T) {
	s := newSite(t, Policy{})
	serveWorld(t, s.world, apiAddr)
	s.app.must(t, order{Do: "dial", Address: apiAddr})
	again := s.container("app", 1000)
	again.must(t, order{Do: "dial", Address: apiAddr})
	l := s.complete()
	if len(l.Flows) != 2 || l.Flows[0].Opener != "app" || l.Flows[1].Opener != "app" || len(l.Blocked) != 0 {
		t.Errorf("got blocked %v and\n%s\nwant two flows of app and nothing blocked", l.Blocked, text(l))
	}
}

func TestAProcessOfNoContainerHasNoName(t *testing.T) {
	s := newSite(t, meshPolicy())
	s.intercept()
	serveWorld(t, s.world, "198.18.0.10:9999")
	stranger := start(t, s.pod, "stranger", 1000)
	r := stranger.must(t, order{Do: "dial", Address: "198.18.0.10:9999"})
	check(t, s.flow(s.complete(), "tcp", r.Local, "198.18.0.10:9999"), want{"", Bypass, World, 0, ""})
}

func TestAStormLosesNothing(t *testing.T) {
	s := newSite(t, meshPolicy())
	s.intercept()
	const n = 4000
	s.proxy.must(t, order{Do: "listen", Address: "0.0.0.0:15001"})
	s.app.must(t, order{Do: "storm", Address: apiAddr, Count: n})
	l := s.complete()
	captured := 0
	for _, f := range l.Flows {
		if f.Opener == "app" && f.Verdict == Captured && f.Taker == "proxy" {
			captured++
		}
	}
	if captured != n || len(l.Flows) != n {
		t.Errorf("of %d connections %d are in the ledger as captured, of %d flows", n, captured, len(l.Flows))
	}
}

func TestALostEventMakesTheLedgerIncomplete(t *testing.T) {
	s := newSite(t, Policy{})
	serveWorld(t, s.world, apiAddr)
	s.app.must(t, order{Do: "dial", Address: apiAddr})
	s.complete()
	s.app.must(t, order{Do: "dial", Address: apiAddr})
	lost := s.loseOpening()
	l := s.snapshot()
	if l.Complete || !strings.Contains(l.Why, "the kernel counted 2 connections, and 1 were reported") {
		t.Errorf("the event %x was lost, but the ledger says complete=%v %q", lost, l.Complete, l.Why)
	}
	began := time.Now()
	if again := s.snapshot(); again.Complete || again.Why != l.Why {
		t.Errorf("the next ledger says complete=%v %q", again.Complete, again.Why)
	}
	if d := time.Since(began); d > settle/2 {
		t.Errorf("the next ledger took %s: it waited again for what will not come", d)
	}
}

// loseOpening takes the next opening out of what the stream has read.
func (s *site) loseOpening() []byte {
	deadline := time.After(5 * time.Second)
	for {
		st := s.recorder.stream
		st.mu.Lock()
		for i, r := range st.pending {
			if rawKind(r.data) == opened {
				st.pending = append(st.pending[:i:i], st.pending[i+1:]...)
				st.mu.Unlock()
				return r.data
			}
		}
		st.mu.Unlock()
		select {
		case <-st.grew:
		case <-deadline:
			s.t.Fatal("no opening was read within 5 s")
		}
	}
}

func TestAFullBufferMakesTheLedgerIncomplete(t *testing.T) {
	s := newSite(t, Policy{})
	s.app.must(t, order{Do: "listen", Address: "127.0.0.1:8080"})
	st := s.recorder.stream
	// With the reader held up and a small buffer, the kernel has to drop.
	if err := st.conn.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	st.mu.Lock()
	s.app.must(t, order{Do: "storm", Address: "127.0.0.1:8080", Count: 500})
	st.mu.Unlock()
	l := s.snapshot()
	if l.Complete || !strings.Contains(l.Why, "the kernel lost conntrack events") {
		t.Errorf("events were lost, but the ledger says complete=%v %q", l.Complete, l.Why)
	}
}

func TestTrackRefusesWhatItCannotTellApart(t *testing.T) {
	s := newSite(t, Policy{})
	root, err := CgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, want string }{
		{"x", t.TempDir(), "not in a cgroup v2 hierarchy"},
		{"x", root, "root of the hierarchy"},
		{"x", root + "/podsim-no-such", "no such file"},
		{World, s.app.cgroup, "cannot name a container"},
		{"", s.app.cgroup, "cannot name a container"},
	} {
		if err := s.recorder.Track(c.name, c.dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Track(%q, %s): %v; want an error that says %q", c.name, c.dir, err, c.want)
		}
	}
	for i := 2; i < maxContainers; i++ {
		if err := s.recorder.Track("c"+string(rune('0'+i)), s.app.cgroup); err != nil {
			t.Fatalf("track container %d: %v", i, err)
		}
	}
	if err := s.recorder.Track("one too many", s.app.cgroup); err == nil {
		t.Error("one container too many was tracked without an error")
	}
}

func TestASecondLedgerInANamespaceIsAnError(t *testing.T) {
	s := newSite(t, Policy{})
	if r, err := Load(Config{Netns: s.pod}); err == nil {
		r.Close()
		t.Error("a second ledger was loaded")
	} else if !strings.Contains(err.Error(), "loaded in this namespace already") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(Config{Netns: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a ledger was loaded in a namespace that does not exist")
	}
	if err := s.recorder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.recorder.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := s.recorder.Snapshot(t.Context()); err == nil {
		t.Error("a snapshot of a closed ledger is no error")
	}
}

func TestEachIdentityExemptsAlone(t *testing.T) {
	policy := Policy{
		Proxy: "proxy", Outbound: Capture{Port: 15001}, Inbound: Capture{Port: 15006},
		GIDs: []uint32{agentUID}, Marks: []Mark{{Value: 0x539, Mask: 0xfff}}, Interfaces: []string{"eth0"},
	}
	for _, c := range []struct {
		name   string
		change func(*Policy)
		uid    uint32
		mark   bool
		want   string
	}{
		{"gid (T11)", func(p *Policy) { p.Marks, p.Interfaces = nil, nil }, agentUID, false, "its gid is excluded"},
		{"mark (T11)", func(p *Policy) { p.GIDs, p.Interfaces = nil, nil }, 1000, true, "its mark is excluded"},
		{"interface (T13)", func(p *Policy) { p.GIDs, p.Marks = nil, nil }, 1000, false, "its interface is excluded"},
		{"none of them", func(p *Policy) { p.Interfaces = nil }, 1000, false, "not taken by proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := wires(t)
			p := policy
			c.change(&p)
			s.load(p)
			app := s.container("app", c.uid)
			if c.mark {
				markAll(t, s.pod, 0xa539)
			}
			serveWorld(t, s.world, apiAddr)
			app.must(t, order{Do: "listen", Address: "0.0.0.0:8080"})
			r := app.must(t, order{Do: "dial", Address: apiAddr})
			f := s.flow(s.complete(), "tcp", r.Local, apiAddr)
			wanted := Exempt
			if c.want == "not taken by proxy" {
				wanted = Bypass
			}
			if f.Verdict != wanted || f.Reason != c.want {
				t.Errorf("got %s, want %s (%s)", f, wanted, c.want)
			}
			d := netns.Dialer{Path: s.world}
			conn, err := d.DialContext(t.Context(), "tcp", "10.77.0.2:8080")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			wanted = Bypass // an identity says nothing of what comes in
			if len(p.Interfaces) > 0 {
				wanted = Exempt
			}
			if f := s.flow(s.complete(), "tcp", conn.LocalAddr().String(), "10.77.0.2:8080"); f.Verdict != wanted {
				t.Errorf("inbound: got %s, want %s", f, wanted)
			}
		})
	}
}

// markAll puts a mark on all that leaves a namespace, before the tagger sees it, as SO_MARK would.
func markAll(t testing.TB, path string, mark uint32) {
	lab.Rules(t, path, func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Name: "marks", Family: nftables.TableFamilyIPv4})
		out := c.AddChain(&nftables.Chain{
			Name: "out", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: []expr.Any{
			&expr.Immediate{Register: 1, Data: native32(mark)},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
		}})
	})
}

// Under TPROXY no tuple changes and no DNAT bit is set; only the taker's label shows the capture.
func TestTPROXYIsSeenByItsTaker(t *testing.T) {
	s := newSite(t, meshPolicy())
	lab.Rules(t, s.pod, func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Name: "mesh", Family: nftables.TableFamilyIPv4})
		in := c.AddChain(&nftables.Chain{
			Name: "in", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: in, Exprs: append(dport(8080),
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(15006)},
			&expr.TProxy{Family: byte(nftables.TableFamilyIPv4), TableFamily: byte(nftables.TableFamilyIPv4), RegPort: 1},
			&expr.Immediate{Register: 1, Data: native32(1337)},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true})})
	})
	lab.Do(t, s.pod, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		rule := netlink.NewRule()
		rule.Mark, rule.Table = 1337, 133
		return errors.Join(netlink.RuleAdd(rule), netlink.RouteAdd(&netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)},
			Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Table: 133,
		}))
	})
	s.app.must(t, order{Do: "listen", Address: "0.0.0.0:8080"})
	listener := start(t, s.pod, "tproxy", 0) // a transparent socket needs a capability
	if err := s.recorder.Track("proxy", listener.cgroup); err != nil {
		t.Fatal(err)
	}
	listener.must(t, order{Do: "transparent", Address: "0.0.0.0:15006"})
	d := netns.Dialer{Path: s.world}
	conn, err := d.DialContext(t.Context(), "tcp", "10.77.0.2:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f := s.flow(s.complete(), "tcp", conn.LocalAddr().String(), "10.77.0.2:8080")
	check(t, f, want{World, Captured, "proxy", 15006, ""})
}
