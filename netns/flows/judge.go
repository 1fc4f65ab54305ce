package flows

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A judge turns entries into flows. It is pure: the same entries give the same flows.
type judge struct {
	policy Policy
	// containers are the tracked containers' names by label index.
	containers []string
	// addresses are the namespace's own, beside loopback.
	addresses []netip.Addr
	// name names what lies outside; nil: by its address.
	name func(netip.AddrPort) string
	now  time.Time
}

// flows judges all entries; the i-th entry's flow has the ID i+1.
func (j judge) flows(entries []*entry) []Flow {
	out := make([]Flow, len(entries))
	for i, e := range entries {
		out[i] = j.flow(i+1, e)
	}
	j.loops(out)
	j.onward(out)
	return out
}

func (j judge) flow(id int, e *entry) Flow {
	f := Flow{
		ID: id, Protocol: protocolName(e.orig.proto), Begin: e.begin, End: e.end(),
		Opener: j.party(e, byOpener), Source: e.orig.src, Destination: e.orig.dst,
	}
	switch {
	case e.labels.local(byTaker):
		f.Taker = j.party(e, byTaker)
		if f.Taker != "" {
			f.Listener = j.listener(f.Taker, e)
		}
	case !j.isLocal(e.reply.src.Addr()):
		f.Taker = World
	}
	f.Verdict, f.Reason = j.verdict(f, e)
	return f
}

// party names who stands on a side of an entry.
func (j judge) party(e *entry, word int) string {
	if i := e.labels.container(word); i >= 0 && i < len(j.containers) {
		return j.containers[i]
	}
	if word == byOpener && !e.labels.local(byOpener) && !j.isLocal(e.orig.src.Addr()) {
		return World
	}
	return ""
}

// listener is the port an entry was taken on. Under TPROXY no tuple shows it: a connection that the proxy took
// at an address that is not the namespace's, without a rewrite, is one that came in through its declared listener.
func (j judge) listener(taker string, e *entry) int {
	if taker == j.policy.Proxy && j.tproxied(e) {
		return j.policy.Inbound.Port
	}
	return int(e.reply.src.Port())
}

// tproxied reports a connection that arrived from outside, was not rewritten, was not for one of the proxy's own ports,
// and yet was taken by the proxy.
func (j judge) tproxied(e *entry) bool {
	p := e.reply.src.Port()
	if e.labels.local(byOpener) || redirected(e) || j.party(e, byTaker) != j.policy.Proxy || j.policy.Inbound.Port == 0 {
		return false
	}
	in, _ := j.policy.Inbound.covers(int(p), e.orig.src.Addr())
	return in && int(p) != j.policy.Inbound.Port && int(p) != j.policy.Outbound.Port
}

func redirected(e *entry) bool { return e.status&statusDNAT != 0 }
func answered(e *entry) bool   { return e.status&statusSeenReply != 0 }

func (j judge) isLocal(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(j.addresses, a)
}

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

func protocolName(proto uint8) string {
	switch proto {
	case protoICMP:
		return "icmp"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoICMPv6:
		return "icmpv6"
	}
	return fmt.Sprintf("ip-%d", proto)
}

// synTimeout is far below conntrack's shortest time-out for a connection that nobody answered, and far above the
// time a reset takes: it tells a refused attempt from one that was forgotten.
const synTimeout = 10 * time.Second

// failure is Refused or Dropped where a TCP connection got no further than its first packet.
func (j judge) failure(e *entry) (Verdict, string) {
	if e.orig.proto != protoTCP || answered(e) || e.firstTCP > tcpSynRecv {
		return 0, ""
	}
	if !e.gone.IsZero() && e.gone.Sub(e.begin) < synTimeout {
		return Refused, "answered with a reset"
	}
	until := j.now
	if !e.gone.IsZero() {
		until = e.gone
	}
	return Dropped, fmt.Sprintf("not answered within %s", until.Sub(e.begin).Round(time.Millisecond))
}

// verdict applies the policy, in the order that Policy documents.
func (j judge) verdict(f Flow, e *entry) (Verdict, string) {
	failed, how := j.failure(e)
	p := j.policy
	switch {
	case p.Proxy == "":
		if failed != 0 {
			return failed, how
		}
		return Unproxied, ""
	case f.Opener == p.Proxy:
		return j.proxys(f, e, failed, how)
	case j.captured(f, e):
		return j.captures(e, failed, how)
	case e.before:
		return PreRule, "opened before the ledger was loaded"
	case e.orig.proto == protoTCP && e.firstTCP > tcpSynRecv:
		return PreRule, "first seen in mid-stream"
	case failed != 0 && redirected(e):
		return failed, fmt.Sprintf("redirected to %s, %s", e.reply.src, how)
	case j.isSelf(f) || f.Taker == p.Proxy && f.Opener != World && int(f.Destination.Port()) == p.Outbound.Port:
		if failed != 0 {
			return failed, how
		}
		return Direct, ""
	}
	if v, why := j.excluded(f, e); v != 0 {
		if failed != 0 {
			return failed, how + ", " + why
		}
		return v, why
	}
	return j.bypassed(f, e, how)
}

// proxys judges what the proxy itself opened.
func (j judge) proxys(f Flow, e *entry, failed Verdict, how string) (Verdict, string) {
	p := j.policy
	switch {
	case f.Taker == p.Proxy && redirected(e) && f.Listener == p.Outbound.Port:
		return Looped, fmt.Sprintf("the proxy's own connection came back to its listener %d", f.Listener)
	case f.Taker == p.Proxy && redirected(e) && f.Listener == p.DNSPort:
		return Looped, fmt.Sprintf("the proxy's own query came back to its listener %d", f.Listener)
	case f.Taker == p.Proxy && redirected(e) && f.Listener == p.Inbound.Port:
		if p.ProxyToSelf && j.isSelf(f) {
			return Captured, "the proxy's call to the pod itself, by its inbound listener"
		}
		return Looped, fmt.Sprintf("the proxy's own connection came back to its listener %d", f.Listener)
	case failed != 0:
		return failed, how
	}
	return Exempt, "opened by the proxy"
}

// captured reports that the proxy took what somebody else opened: not by being dialled itself.
func (j judge) captured(f Flow, e *entry) bool {
	return f.Taker == j.policy.Proxy && (redirected(e) || j.tproxied(e))
}

func (j judge) captures(e *entry, failed Verdict, how string) (Verdict, string) {
	if failed != 0 {
		return failed, fmt.Sprintf("redirected to %s, %s", e.reply.src, how)
	}
	if j.tproxied(e) {
		return Captured, "by TPROXY"
	}
	return Captured, ""
}

// isSelf reports a destination that stays in the pod and that the policy leaves alone.
func (j judge) isSelf(f Flow) bool {
	a := f.Destination.Addr()
	switch {
	case f.Opener == World:
		return false
	case a == netip.AddrFrom4([4]byte{127, 0, 0, 1}), a == netip.IPv6Loopback():
		return true
	}
	return j.isLocal(a) && (!j.policy.CapturesSelf || f.Opener == j.policy.Proxy)
}

// excluded finds why a flow need not be captured: Exempt or Escaped, or 0 if it had to be.
func (j judge) excluded(f Flow, e *entry) (Verdict, string) {
	p := j.policy
	port := int(f.Destination.Port())
	if f.Opener == World {
		if e.orig.proto != protoTCP {
			return Escaped, f.Protocol + " is not captured"
		}
		if e.labels.has(byTaker, bitLink) {
			return Exempt, "its interface is excluded"
		}
		if ok, why := p.Inbound.covers(port, f.Source.Addr()); !ok {
			return Exempt, why
		}
		return j.ipv6(f)
	}
	for _, id := range []struct {
		bit  int
		what string
	}{{bitUID, "uid"}, {bitGID, "gid"}, {bitMark, "mark"}, {bitLink, "interface"}} {
		if e.labels.has(byOpener, id.bit) {
			return Exempt, "its " + id.what + " is excluded"
		}
	}
	dns := p.DNSPort != 0 && port == 53
	if e.orig.proto != protoTCP && (e.orig.proto != protoUDP || !dns) {
		return Escaped, f.Protocol + " is not captured"
	}
	if ok, why := p.Outbound.covers(port, f.Destination.Addr()); !ok && !dns {
		return Exempt, why
	}
	return j.ipv6(f)
}

func (j judge) ipv6(f Flow) (Verdict, string) {
	if f.Destination.Addr().Is6() && !j.policy.IPv6 {
		return Escaped, "IPv6 is not captured"
	}
	return 0, ""
}

// bypassed words what is left when nothing excuses a flow.
func (j judge) bypassed(f Flow, e *entry, how string) (Verdict, string) {
	why := "not taken by " + j.policy.Proxy
	switch {
	case f.Opener == "":
		why = "opened by a process of no tracked container, " + why
	case redirected(e):
		why = fmt.Sprintf("rewritten to %s, %s", e.reply.src, why)
	}
	if how != "" {
		why += ", " + how
	}
	return Bypass, why
}
