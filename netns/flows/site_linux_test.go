package flows

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/podsim/podsim/netns/lab"
)

const (
	proxyUID = 1337
	agentUID = 4444
	apiAddr  = "198.18.0.10:80"
)

// A site is a pod's namespace joined to a world, with an intercepting proxy in between.
type site struct {
	t          testing.TB
	pod, world string
	recorder   *Recorder
	app, proxy *container
}

func meshPolicy() Policy {
	return Policy{
		Proxy:    "proxy",
		Outbound: Capture{Port: 15001, ExceptPorts: []PortRange{{9000, 9001}}, ExceptCIDRs: []netip.Prefix{netip.MustParsePrefix("198.18.0.20/32")}},
		Inbound:  Capture{Port: 15006, ExceptPorts: []PortRange{{15020, 15020}}},
		UIDs:     []uint32{proxyUID, agentUID},
	}
}

func names(a netip.AddrPort) string {
	if a.String() == apiAddr {
		return "api"
	}
	return ""
}

func newSite(t testing.TB, policy Policy) *site {
	t.Helper()
	s := wires(t)
	s.load(policy)
	s.app = s.container("app", 1000)
	s.proxy = s.container("proxy", proxyUID)
	return s
}

// wires is a site without a ledger.
func wires(t testing.TB) *site {
	s := &site{t: t, pod: lab.Namespace(t), world: lab.Namespace(t)}
	lab.Link(t, s.pod, "10.77.0.2/24", s.world, "10.77.0.1/24")
	lab.AddRoute(t, s.pod, "", "10.77.0.1")
	lab.AddAddress(t, s.world, "198.18.0.10/32")
	lab.AddAddress(t, s.world, "198.18.0.20/32")
	return s
}

func (s *site) load(policy Policy) {
	s.t.Helper()
	var err error
	if s.recorder, err = Load(Config{Netns: s.pod, Policy: policy, Name: names}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.recorder.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) container(name string, uid uint32) *container {
	s.t.Helper()
	c := start(s.t, s.pod, name, uid)
	if err := s.recorder.Track(name, c.cgroup); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) snapshot() Ledger {
	s.t.Helper()
	l, err := s.recorder.Snapshot(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// complete is a snapshot that must be complete.
func (s *site) complete() Ledger {
	s.t.Helper()
	l := s.snapshot()
	if !l.Complete {
		s.t.Fatalf("the ledger is incomplete: %s\n%s", l.Why, text(l))
	}
	return l
}

// flow finds the flow from a client's address.
func (s *site) flow(l Ledger, protocol, local, destination string) Flow {
	s.t.Helper()
	f, ok := l.Find(protocol, netip.MustParseAddrPort(local), netip.MustParseAddrPort(destination))
	if !ok {
		s.t.Fatalf("no flow %s %s > %s in\n%s", protocol, local, destination, text(l))
	}
	return f
}

func text(l Ledger) string {
	var b strings.Builder
	for _, f := range l.Flows {
		b.WriteString("  " + f.String() + "\n")
	}
	return b.String()
}

// intercept writes a mesh's rules: all TCP to the proxy but what the proxy's and the agent's uids open, loopback, the
// excluded port and CIDR, and, as a hole that nobody declared, port 9999.
func (s *site) intercept() {
	lab.Rules(s.t, s.pod, func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Name: "mesh", Family: nftables.TableFamilyIPv4})
		out := c.AddChain(&nftables.Chain{
			Name: "out", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
		})
		in := c.AddChain(&nftables.Chain{
			Name: "in", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
		})
		rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
			r := &nftables.Rule{Table: table, Chain: chain}
			for _, p := range parts {
				r.Exprs = append(r.Exprs, p...)
			}
			c.AddRule(r)
		}
		accept := verdict(expr.VerdictAccept, "")
		for _, uid := range []uint32{proxyUID, agentUID} {
			rule(out, metaIs(expr.MetaKeySKUID, uid, 0xffffffff), accept)
		}
		rule(out, daddr("127.0.0.0", 255, 0, 0, 0), accept)
		rule(out, daddr("10.77.0.2", 255, 255, 255, 255), accept)
		rule(out, daddr("198.18.0.20", 255, 255, 255, 255), accept)
		rule(out, dport(9000), accept)
		rule(out, dport(9999), accept)
		rule(out, tcpOnly(), redirect(15001))
		rule(in, dport(15020), accept)
		rule(in, tcpOnly(), redirect(15006))
	})
}

func tcpOnly() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protoTCP}},
	}
}

func dport(port uint16) []expr.Any {
	return append(tcpOnly(),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)})
}

func daddr(address string, mask ...byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: netip.MustParseAddr(address).AsSlice()},
	}
}

func redirect(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}

// want is what a test expects of one flow.
type want struct {
	opener   string
	verdict  Verdict
	taker    string
	listener int
	onwardTo string
}

func check(t testing.TB, f Flow, w want) {
	t.Helper()
	got := want{f.Opener, f.Verdict, f.Taker, f.Listener, f.OnwardTo}
	if got != w {
		t.Errorf("got  %+v\nwant %+v\nflow %s", got, w, f)
	}
}
