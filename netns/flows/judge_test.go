package flows

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(ms int) time.Time { return day.Add(time.Duration(ms) * time.Millisecond) }

// The containers of the tests, and their label indices.
var cast = []string{"app", "proxy", "other"}

const (
	app   = 0
	proxy = 1
	// nobody is no label at all; stranger the label of an untracked process.
	nobody   = -1
	stranger = -2
)

// A made is an entry as a test writes it.
type made struct {
	opener, taker int
	from, to      string // tuples' ends; from defaults to the pod's address
	rewritten     string // where the mesh's rules sent it
	proto         uint8  // default tcp
	begin, end    int    // ms; end 0: open
	unanswered    bool
	gone          bool // conntrack forgot it at end
	before        bool
	midstream     bool
	more          labels
}

func (m made) entry() *entry {
	if m.proto == 0 {
		m.proto = protoTCP
	}
	if m.from == "" {
		m.from = "10.0.0.2:40000"
		if m.opener == nobody {
			m.from = "10.0.0.1:40000"
		}
	}
	src, dst := netip.MustParseAddrPort(m.from), netip.MustParseAddrPort(m.to)
	e := &entry{
		orig: tuple{src, dst, m.proto}, reply: tuple{dst, src, m.proto},
		begin: at(m.begin), before: m.before, firstTCP: tcpSynSent, labels: m.more,
	}
	if m.midstream {
		e.firstTCP = 3
	}
	if m.rewritten != "" {
		e.reply.src = netip.MustParseAddrPort(m.rewritten)
		e.status |= statusDNAT
	}
	if !m.unanswered {
		e.status |= statusSeenReply
	}
	for word, who := range [...]int{m.opener, m.taker} {
		switch {
		case who >= 0:
			e.labels = e.labels.or(label(word, bitFirstContainer+who))
		case who == stranger:
			e.labels = e.labels.or(label(word, bitOther))
		}
	}
	if m.end > 0 && m.gone {
		e.gone = at(m.end)
	} else if m.end > 0 {
		e.closed = [2]time.Time{at(m.end), at(m.end)}
	}
	return e
}

func judgeOf(p Policy) judge {
	return judge{policy: p, containers: cast, addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}, now: at(60_000)}
}

func judged(p Policy, entries ...made) []Flow {
	var es []*entry
	for _, m := range entries {
		es = append(es, m.entry())
	}
	return judgeOf(p).flows(es)
}

func mesh(change func(*Policy)) Policy {
	p := Policy{Proxy: "proxy", Outbound: Capture{Port: 15001}, Inbound: Capture{Port: 15006}}
	if change != nil {
		change(&p)
	}
	return p
}

func TestVerdicts(t *testing.T) {
	const api, out, in = "198.18.0.10:80", "127.0.0.1:15001", "10.0.0.2:15006"
	istio := mesh(func(p *Policy) { p.ProxyToSelf = true })
	consul := mesh(func(p *Policy) { p.CapturesSelf = true })
	dns := mesh(func(p *Policy) { p.DNSPort = 15053 })
	only := mesh(func(p *Policy) {
		p.Outbound.Ports = []PortRange{{80, 89}}
		p.Outbound.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
		p.Outbound.ExceptPorts = []PortRange{{85, 85}}
	})
	skip := mesh(func(p *Policy) { p.Inbound.ExceptCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")} })
	for _, c := range []struct {
		name   string
		policy Policy
		made   made
		want   string // verdict by taker:listener
	}{
		{"captured outbound", mesh(nil), made{opener: app, taker: proxy, to: api, rewritten: out}, "captured by proxy:15001"},
		{"captured inbound", mesh(nil), made{opener: nobody, taker: proxy, to: "10.0.0.2:8080", rewritten: in}, "captured by proxy:15006"},
		{"captured wins over a declared exemption", mesh(nil), made{opener: app, taker: proxy, to: api, rewritten: out, more: label(byOpener, bitUID)}, "captured by proxy:15001"},
		{"captured after it was seen in mid-stream", mesh(nil), made{opener: app, taker: proxy, to: api, rewritten: out, midstream: true}, "captured by proxy:15001"},
		{"a bypass", mesh(nil), made{opener: app, taker: nobody, to: api}, "bypass by world"},
		{"a bypass stays one when it is refused", mesh(nil), made{opener: app, taker: nobody, to: api, unanswered: true, end: 1, gone: true}, "bypass by world"},
		{"taken by another container is a bypass", mesh(nil), made{opener: app, taker: 2, to: api, rewritten: "127.0.0.1:999"}, "bypass by other:999"},
		{"an untracked process bypasses", mesh(nil), made{opener: stranger, taker: nobody, to: api}, "bypass by world"},
		{"inbound past the proxy is a bypass", mesh(nil), made{opener: nobody, taker: app, to: "10.0.0.2:8080"}, "bypass by app:8080"},
		{"a refused redirect", mesh(nil), made{opener: app, taker: stranger, to: api, rewritten: out, unanswered: true, end: 1, gone: true}, "refused"},
		{"an unanswered redirect", mesh(nil), made{opener: app, taker: proxy, to: api, rewritten: out, unanswered: true}, "dropped by proxy:15001"},
		{"a forgotten attempt is dropped, not refused", Policy{}, made{opener: app, taker: nobody, to: api, unanswered: true, end: 120_000, gone: true}, "dropped by world"},
		{"pre-rule in mid-stream", mesh(nil), made{opener: app, taker: nobody, to: api, midstream: true}, "preRule by world"},
		{"pre-rule by the list of entries", mesh(nil), made{opener: nobody, from: "10.0.0.2:1", taker: nobody, to: api, before: true}, "preRule by world"},

		{"127.0.0.1 is direct", mesh(nil), made{opener: app, taker: 2, to: "127.0.0.1:80"}, "direct by other:80"},
		{"127.0.0.1 is direct under consul too", consul, made{opener: app, taker: 2, to: "127.0.0.1:80"}, "direct by other:80"},
		{"127.0.0.2 is direct", mesh(nil), made{opener: app, taker: 2, to: "127.0.0.2:80"}, "direct by other:80"},
		{"127.0.0.2 is a bypass under consul", consul, made{opener: app, taker: 2, to: "127.0.0.2:80"}, "bypass by other:80"},
		{"the own address is a bypass under consul", consul, made{opener: app, taker: 2, to: "10.0.0.2:80"}, "bypass by other:80"},
		{"the own address is captured under consul", consul, made{opener: app, taker: proxy, to: "10.0.0.2:80", rewritten: out}, "captured by proxy:15001"},
		{"a closed port of loopback refuses", mesh(nil), made{opener: app, taker: stranger, to: "127.0.0.1:81", unanswered: true, end: 1, gone: true}, "refused"},
		{"the proxy's admin port is direct", mesh(nil), made{opener: app, taker: proxy, to: "127.0.0.1:15000"}, "direct by proxy:15000"},

		{"the proxy's own is exempt", mesh(nil), made{opener: proxy, taker: nobody, to: api}, "exempt by world"},
		{"the proxy's own can be refused", mesh(nil), made{opener: proxy, taker: nobody, to: api, unanswered: true, end: 1, gone: true}, "refused by world"},
		{"the proxy's own that comes back is a loop", mesh(nil), made{opener: proxy, taker: proxy, to: api, rewritten: out}, "looped by proxy:15001"},
		{"the proxy to the pod itself is a loop elsewhere", mesh(nil), made{opener: proxy, taker: proxy, to: "10.0.0.2:80", rewritten: in}, "looped by proxy:15006"},
		{"the proxy's own query that comes back is a loop", dns, made{opener: proxy, taker: proxy, to: "198.18.0.53:53", proto: protoUDP, rewritten: "127.0.0.1:15053"}, "looped by proxy:15053"},
		{"exempt by uid", mesh(nil), made{opener: app, taker: nobody, to: api, more: label(byOpener, bitUID)}, "exempt by world"},
		{"exempt inbound by source", skip, made{opener: nobody, taker: app, to: "10.0.0.2:80"}, "exempt by app:80"},
		{"an included port has to be captured", only, made{opener: app, taker: nobody, to: "192.0.2.1:80"}, "bypass by world"},
		{"its neighbour has not (T14)", only, made{opener: app, taker: nobody, to: "192.0.2.1:90"}, "exempt by world"},
		{"an included CIDR has to be captured", only, made{opener: app, taker: nobody, to: "10.9.255.255:90"}, "bypass by world"},
		{"its neighbour has not (T14)", only, made{opener: app, taker: nobody, to: "10.10.0.0:90"}, "exempt by world"},
		{"exclusion wins over inclusion (T15)", only, made{opener: app, taker: nobody, to: "10.9.0.1:85"}, "exempt by world"},

		{"UDP escapes", mesh(nil), made{opener: app, taker: nobody, to: "198.18.0.53:53", proto: protoUDP}, "escaped by world"},
		{"DNS has to be captured where it is declared", dns, made{opener: app, taker: nobody, to: "198.18.0.53:53", proto: protoUDP}, "bypass by world"},
		{"DNS is captured", dns, made{opener: app, taker: proxy, to: "198.18.0.53:53", proto: protoUDP, rewritten: "127.0.0.1:15053"}, "captured by proxy:15053"},
		{"other UDP escapes still", dns, made{opener: app, taker: nobody, to: "198.18.0.53:54", proto: protoUDP}, "escaped by world"},
		{"ICMP escapes", mesh(nil), made{opener: app, taker: nobody, to: "198.18.0.10:0", proto: protoICMP}, "escaped by world"},
		{"IPv6 escapes", mesh(nil), made{opener: app, taker: nobody, from: "[fd00::2]:1", to: "[fd01::1]:80"}, "escaped by world"},
		{"IPv6 has to be captured where it is declared", mesh(func(p *Policy) { p.IPv6 = true }), made{opener: app, taker: nobody, from: "[fd00::2]:1", to: "[fd01::1]:80"}, "bypass by world"},
		{"no proxy, no judgement", Policy{}, made{opener: app, taker: nobody, to: api}, "unproxied by world"},
		{"the proxy to the pod itself is no loop under istio", istio, made{opener: proxy, taker: nobody, to: api}, "exempt by world"},
	} {
		f := judged(c.policy, c.made)[0]
		got := f.Verdict.String()
		if f.Taker != "" {
			got += " by " + f.Taker
			if f.Listener != 0 {
				got += fmt.Sprintf(":%d", f.Listener)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s\n%s", c.name, got, c.want, f)
		}
	}
}

// Under Istio the proxy may call the pod itself, once for each call that it took from somebody else.
func TestAHairpinIsALoopOnlyWithoutACause(t *testing.T) {
	istio := mesh(func(p *Policy) { p.ProxyToSelf = true })
	cause := made{opener: app, taker: proxy, to: "10.96.0.1:80", rewritten: "127.0.0.1:15001", begin: 0, end: 100}
	hairpin := func(begin int) made {
		return made{opener: proxy, taker: proxy, to: "10.0.0.2:80", rewritten: "10.0.0.2:15006", begin: begin, end: 90}
	}
	for _, c := range []struct {
		name string
		made []made
		want []Verdict
	}{
		{"one for one", []made{cause, hairpin(1)}, []Verdict{Captured, Captured}},
		{"two for two", []made{cause, cause, hairpin(1), hairpin(2)}, []Verdict{Captured, Captured, Captured, Captured}},
		{"two for one", []made{cause, hairpin(1), hairpin(2)}, []Verdict{Captured, Captured, Looped}},
		{"none for one", []made{hairpin(1)}, []Verdict{Looped}},
		{"after its cause", []made{cause, hairpin(1), {opener: proxy, taker: proxy, to: "10.0.0.2:80", rewritten: "10.0.0.2:15006", begin: 101}},
			[]Verdict{Captured, Captured, Looped}},
	} {
		var got []Verdict
		for _, f := range judged(istio, c.made...) {
			got = append(got, f.Verdict)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTheOnwardConnectionIsCertainOrAmbiguous(t *testing.T) {
	in := func(to string, begin, end int) made {
		return made{opener: app, taker: proxy, to: to, rewritten: "127.0.0.1:15001", begin: begin, end: end}
	}
	out := func(to string, begin, end int) made {
		return made{opener: proxy, taker: nobody, to: to, begin: begin, end: end}
	}
	const a, b = "198.18.0.10:80", "198.18.0.11:80"
	for _, c := range []struct {
		name       string
		made       []made
		onward     int
		candidates []int
	}{
		{"alone", []made{in(a, 0, 9), out(a, 1, 8)}, 2, nil},
		{"among others", []made{in(a, 0, 9), in(b, 1, 9), out(b, 2, 8), out(a, 3, 8)}, 4, nil},
		{"two of one", []made{in(a, 0, 9), out(a, 1, 8), out(a, 2, 8)}, 0, []int{2, 3}},
		{"one of two", []made{in(a, 0, 9), in(a, 1, 9), out(a, 2, 8)}, 0, []int{3}},
		{"one before and one after", []made{in(a, 0, 3), out(a, 1, 2), in(a, 5, 9), out(a, 6, 8)}, 2, nil},
		{"still open", []made{in(a, 0, 0), out(a, 1, 0)}, 2, nil},
		{"after its end", []made{in(a, 0, 3), out(a, 4, 8)}, 0, nil},
		{"elsewhere is never certain", []made{in(a, 0, 9), out(b, 1, 8)}, 0, []int{2}},
		{"none", []made{in(a, 0, 9)}, 0, nil},
	} {
		f := judged(mesh(nil), c.made...)[0]
		if f.Onward != c.onward || !slices.Equal(f.Candidates, c.candidates) {
			t.Errorf("%s: got onward %d, candidates %v; want %d, %v", c.name, f.Onward, f.Candidates, c.onward, c.candidates)
		}
	}
	pool := judged(mesh(nil), out(a, 0, 0), in(a, 5, 9))
	if f := pool[1]; f.Onward != 0 || !slices.Equal(f.Candidates, []int{1}) {
		t.Errorf("a pooled connection: got onward %d, candidates %v; want candidate 1", f.Onward, f.Candidates)
	}
	inbound := judged(mesh(nil),
		made{opener: nobody, taker: proxy, to: "10.0.0.2:8080", rewritten: "10.0.0.2:15006", begin: 0, end: 9},
		made{opener: proxy, taker: app, to: "127.0.0.1:8080", begin: 1, end: 8})
	if f := inbound[0]; f.Onward != 2 || f.OnwardTo != "app" {
		t.Errorf("inbound to the app on loopback: got onward %d to %q, want 2 to app", f.Onward, f.OnwardTo)
	}
}

func TestWhateverHappenedTheLedgerIsConsistent(t *testing.T) {
	ends := []string{"127.0.0.1:80", "127.0.0.1:15001", "10.0.0.2:80", "10.0.0.2:15006", "198.18.0.10:80", "198.18.0.11:53", "[fd00::2]:80", "[fd01::1]:80"}
	rapid.Check(t, func(t *rapid.T) {
		p := mesh(func(p *Policy) {
			p.ProxyToSelf = rapid.Bool().Draw(t, "to self")
			p.CapturesSelf = rapid.Bool().Draw(t, "captures self")
			p.IPv6 = rapid.Bool().Draw(t, "ipv6")
			if rapid.Bool().Draw(t, "none") {
				p.Proxy = ""
			}
		})
		var drawn []made
		for begin, n := 0, rapid.IntRange(0, 20).Draw(t, "n"); len(drawn) < n; {
			begin += rapid.IntRange(0, 3).Draw(t, "gap")
			m := made{
				opener: rapid.IntRange(stranger, 2).Draw(t, "opener"), taker: rapid.IntRange(stranger, 2).Draw(t, "taker"),
				to: rapid.SampledFrom(ends).Draw(t, "to"), proto: rapid.SampledFrom([]uint8{protoTCP, protoUDP, protoICMP}).Draw(t, "proto"),
				begin: begin, unanswered: rapid.Bool().Draw(t, "unanswered"), gone: rapid.Bool().Draw(t, "gone"),
				before: rapid.Bool().Draw(t, "before"), midstream: rapid.Bool().Draw(t, "midstream"),
			}
			if rapid.Bool().Draw(t, "rewritten") {
				m.rewritten = rapid.SampledFrom(ends[:4]).Draw(t, "to listener")
			}
			if rapid.Bool().Draw(t, "ended") {
				m.end = begin + rapid.IntRange(1, 5).Draw(t, "life")
			}
			drawn = append(drawn, m)
		}
		flows := judged(p, drawn...)
		onward := map[int]int{}
		for i, f := range flows {
			if f.ID != i+1 || f.Verdict == 0 {
				t.Fatalf("flow %d has the ID %d and the verdict %v", i, f.ID, f.Verdict)
			}
			if f.Verdict == Captured && f.Taker != p.Proxy {
				t.Fatalf("captured, but not by the proxy: %s", f)
			}
			if f.Verdict == Bypass && (f.Opener == p.Proxy || p.Proxy == "") {
				t.Fatalf("a bypass of the proxy itself, or of none: %s", f)
			}
			if f.Verdict == Looped && (f.Opener != p.Proxy || f.Taker != p.Proxy) {
				t.Fatalf("a loop without the proxy: %s", f)
			}
			if f.Onward != 0 && len(f.Candidates) > 0 {
				t.Fatalf("certain and ambiguous at once: %s", f)
			}
			for _, id := range append(slices.Clone(f.Candidates), f.Onward) {
				if id != 0 && (flows[id-1].Opener != f.Taker || id == f.ID) {
					t.Fatalf("%s goes on as %s, which its taker did not open", f, flows[id-1])
				}
			}
			if f.Onward != 0 {
				if other, twice := onward[f.Onward]; twice {
					t.Fatalf("flows %d and %d both go on as %d", other, f.ID, f.Onward)
				}
				onward[f.Onward] = f.ID
			}
		}
		if again := judged(p, drawn...); fmt.Sprint(again) != fmt.Sprint(flows) {
			t.Fatal("the same entries gave other flows")
		}
	})
}

func TestVerdictsRoundTrip(t *testing.T) {
	for _, v := range Verdicts() {
		b, err := v.MarshalText()
		var back Verdict
		if err := errors.Join(err, back.UnmarshalText(b)); err != nil || back != v || string(b) != v.String() {
			t.Errorf("%v: %q, %v, %v", v, b, back, err)
		}
	}
	var v Verdict
	if err := v.UnmarshalText([]byte("")); err == nil {
		t.Error("the empty verdict is no error")
	}
	if _, err := Verdict(0).MarshalText(); err == nil {
		t.Error("the zero verdict has a text")
	}
}

// BenchmarkJudge is the cost of a snapshot after a storm: 20,000 connections through the proxy.
func BenchmarkJudge(b *testing.B) {
	var entries []*entry
	for i := range 10_000 {
		entries = append(entries,
			made{opener: app, taker: proxy, to: "198.18.0.10:80", rewritten: "127.0.0.1:15001", begin: i, end: i + 20}.entry(),
			made{opener: proxy, taker: nobody, to: "198.18.0.10:80", begin: i, end: i + 20}.entry())
	}
	j := judgeOf(mesh(nil))
	for b.Loop() {
		j.flows(entries)
	}
}
