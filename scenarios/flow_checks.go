package scenarios

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/podsim/podsim/podsim/pod"
)

// A target matches a flow's original destination: an address, a range, a port, or an address with a port.
type target struct {
	prefix netip.Prefix // zero: any address
	port   int          // 0: any
	text   string
}

func (t target) holds(hostport string) bool {
	a, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return false
	}
	if t.port != 0 && int(a.Port()) != t.port {
		return false
	}
	return !t.prefix.IsValid() || t.prefix.Contains(a.Addr().Unmap())
}

// parseTarget reads 10.0.0.1:80, 10.0.0.1, 10.0.0.0/8, :80 and [::1]:80.
func parseTarget(s string) (t target, ok bool) {
	t.text = s
	if port, found := strings.CutPrefix(s, ":"); found {
		n, err := strconv.Atoi(port)
		t.port = n
		return t, err == nil && n > 0 && n < 65536
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		t.prefix, t.port = netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), int(a.Port())
		return t, true
	}
	if a, err := netip.ParseAddr(s); err == nil {
		t.prefix = netip.PrefixFrom(a, a.BitLen())
		return t, true
	}
	p, err := netip.ParsePrefix(s)
	t.prefix = p
	return t, err == nil
}

// A flowWant is what is wanted of a flow. What is empty is not compared.
type flowWant struct {
	pos      Pos
	verdict  pod.Verdict
	takenBy  string
	listener int
	onward   string
}

func (w flowWant) String() string {
	var parts []string
	if w.verdict != 0 {
		parts = append(parts, w.verdict.String())
	}
	if w.takenBy != "" {
		parts = append(parts, "taken by "+w.takenBy)
	}
	if w.listener != 0 {
		parts = append(parts, fmt.Sprintf("on port %d", w.listener))
	}
	if w.onward != "" {
		parts = append(parts, "onward to "+w.onward)
	}
	return strings.Join(parts, ", ")
}

// wrong says what of a flow is not as wanted; unclear, what cannot be told.
func (w flowWant) wrong(f pod.Flow) (wrong, unclear string) {
	switch {
	case w.verdict != 0 && f.Verdict != w.verdict:
		return "it was " + describeVerdict(f), ""
	case w.takenBy != "" && f.Taker != w.takenBy:
		return fmt.Sprintf("it was %s, taken by %s", describeVerdict(f), orNobody(f.Taker)), ""
	case w.listener != 0 && f.Listener != w.listener:
		return fmt.Sprintf("it was taken on port %d", f.Listener), ""
	case w.onward != "" && f.OnwardTo != w.onward:
		if len(f.Candidates) > 0 {
			return "", fmt.Sprintf("which flow led on from it is ambiguous: any of %v", f.Candidates)
		}
		return fmt.Sprintf("it led on to %s", orNobody(f.OnwardTo)), ""
	}
	return "", ""
}

func describeVerdict(f pod.Flow) string {
	if f.Reason == "" {
		return f.Verdict.String()
	}
	return fmt.Sprintf("%s (%s)", f.Verdict, f.Reason)
}

func orNobody(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}

// judgeOf finds the flow of a request, by its two ends, and judges it.
func (w flowWant) judgeOf(s scene, f Finding, r pod.Response) Finding {
	l, seq, err := s.ledger()
	f.Proof = append(f.Proof, proofOf(seq)...)
	switch {
	case err != "":
		return f.unclear("%s", err)
	case r.Local == "":
		return f.fail(soon, "the request made no connection")
	}
	var own []pod.Flow
	for _, flow := range l.Flows {
		if flow.Protocol == "tcp" && flow.Source == r.Local && flow.Destination == r.Remote {
			own = append(own, flow)
		}
	}
	// A port that was used twice: the newer flow is the request's.
	slices.SortStableFunc(own, func(a, b pod.Flow) int { return b.Begin.Compare(a.Begin) })
	if len(own) == 0 {
		f.Outcome, f.hope = Inconclusive, soon
		f.Got = fmt.Sprintf("the ledger has no flow from %s%s", r.Local, incomplete(l))
		return f
	}
	f.Flows = withOnward(own[:1], l)
	wrong, unclear := w.wrong(own[0])
	switch {
	case wrong != "": // a flow that went wrong has gone wrong; another request would only hide it
		return f.fail(asked, "%s", wrong)
	case unclear != "":
		return f.unclear("%s", unclear)
	}
	return f.pass("%s", describeFlow(own[0]))
}

func incomplete(l pod.Ledger) string {
	if l.Complete {
		return ""
	}
	return inParentheses("which is incomplete: " + l.Why)
}

// withOnward adds the flows that those given led on to.
func withOnward(flows []pod.Flow, l pod.Ledger) []pod.Flow {
	out := slices.Clone(flows)
	for _, f := range flows {
		for _, g := range l.Flows {
			if g.ID == f.Onward && g.ID != 0 || slices.Contains(f.Candidates, g.ID) {
				out = append(out, g)
			}
		}
	}
	return out
}

// describeFlow is a flow in one line.
func describeFlow(f pod.Flow) string {
	text := fmt.Sprintf("%s %s from %s to %s", describeVerdict(f), f.Protocol, orNobody(f.Opener), f.Destination)
	if f.Taker != "" {
		text += ", taken by " + f.Taker
		if f.Listener != 0 {
			text += fmt.Sprintf(" on port %d", f.Listener)
		}
	}
	if f.OnwardTo != "" {
		text += ", onward to " + f.OnwardTo
	}
	return text
}

// flowsCheck holds where there are flows of a kind, and all of them are as wanted.
type flowsCheck struct {
	pos      Pos
	from     string
	to       *target
	protocol string
	count    *bound // nil: at least one
	want     flowWant
}

func (c *flowsCheck) needs(scene) needs { return needs{ledger: true} }

func (c *flowsCheck) which(f pod.Flow) bool {
	return (c.from == "" || f.Opener == c.from) && (c.to == nil || c.to.holds(f.Destination)) &&
		(c.protocol == "" || f.Protocol == c.protocol)
}

func (c *flowsCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "flows", Wanted: c.String(), Containers: containersOf(c.from, c.want.takenBy)}
	l, seq, err := s.ledger()
	f.Proof = proofOf(seq)
	if err != "" {
		return f.unclear("%s", err)
	}
	var doubt string
	n := 0
	for _, flow := range l.Flows {
		if !c.which(flow) {
			continue
		}
		n++
		wrong, unclear := c.want.wrong(flow)
		if wrong != "" {
			f.Flows = append(f.Flows, flow)
			f.Got = fmt.Sprintf("flow %d: %s", flow.ID, wrong)
		}
		doubt = firstOf(doubt, unclear)
	}
	want := bound{1, -1}
	if c.count != nil {
		want = *c.count
	}
	switch {
	case len(f.Flows) > 0:
		f.Flows = withOnward(f.Flows, l)
		return f.fail(asked, "%d of %d flows are not so; %s", len(f.Flows), n, f.Got)
	case want.high >= 0 && n > want.high:
		return f.fail(never, "there are %d such flows", n)
	case !l.Complete:
		return f.unclear("the flow ledger is incomplete: %s", l.Why)
	case !want.holds(n):
		return f.fail(asked, "there are %d such flows", n)
	case doubt != "":
		return f.unclear("%s", doubt)
	}
	return f.pass("%d flows judged", n)
}

func containersOf(names ...string) []string {
	var out []string
	for _, n := range names {
		if n != "" && n != world {
			out = append(out, n)
		}
	}
	return out
}

// world is the opener of what came from outside the pod.
const world = "world"

func (c *flowsCheck) String() string {
	parts := []string{"flows"}
	if c.protocol != "" {
		parts = append(parts, "of "+c.protocol)
	}
	if c.from != "" {
		parts = append(parts, "from "+c.from)
	}
	if c.to != nil {
		parts = append(parts, "to "+c.to.text)
	}
	if c.count != nil {
		parts = append(parts, c.count.String()+" times")
	}
	text := strings.Join(parts, " ")
	if w := c.want.String(); w != "" {
		text += ": " + w
	}
	return text
}

// An exception is what noBypass lets pass.
type exception struct {
	dns     bool        // port 53
	verdict pod.Verdict // escaped, preRule
	opener  string
	to      *target
}

func (e exception) holds(f pod.Flow) bool {
	switch {
	case e.dns:
		return target{port: 53}.holds(f.Destination)
	case e.verdict != 0:
		return f.Verdict == e.verdict
	case e.to != nil:
		return e.to.holds(f.Destination)
	}
	return e.opener != "" && f.Opener == e.opener
}

// noBypassCheck holds where no flow of a container got past the proxy, and at least one could have.
type noBypassCheck struct {
	pos    Pos
	except []exception
	names  []string
}

func (c *noBypassCheck) needs(scene) needs { return needs{ledger: true} }

func (c *noBypassCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "noBypass", Wanted: "no flow gets past the proxy"}
	if len(c.names) > 0 {
		f.Wanted += ", except " + strings.Join(c.names, ", ")
	}
	l, seq, err := s.ledger()
	f.Proof = proofOf(seq)
	if err != "" {
		return f.unclear("%s", err)
	}
	judged, aside, unproxied := 0, 0, 0
	for _, flow := range l.Flows {
		switch {
		case slices.ContainsFunc(c.except, func(e exception) bool { return e.holds(flow) }):
			aside++
		case flow.Verdict == pod.Bypass, flow.Verdict == pod.Escaped, flow.Verdict == pod.PreRule:
			f.Flows = append(f.Flows, flow)
			f.Containers = append(f.Containers, containersOf(flow.Opener)...)
			judged++
		case flow.Verdict == pod.Unproxied:
			unproxied++
		case flow.Verdict == pod.Captured && s.opensForItself(flow):
			judged++
		default: // direct, exempt, refused, or from outside: it could not have got past the proxy
			aside++
		}
	}
	if len(f.Flows) > 0 {
		return f.fail(never, "%d of %d flows got past it; the first: %s", len(f.Flows), judged, describeFlow(f.Flows[0]))
	}
	return evidence(f, l, "no container but the proxy was seen to open a connection that is to be captured", judged, aside, unproxied)
}

// evidence passes a check that found nothing wrong only where there was something to find it in.
func evidence(f Finding, l pod.Ledger, nothing string, judged, aside, unproxied int) Finding {
	switch {
	case !l.Complete:
		return f.unclear("the flow ledger is incomplete: %s", l.Why)
	case unproxied > 0:
		return f.unclear("there is no interception to judge %d flows by; the scenario's intercept.proxy names the proxy", unproxied)
	case judged == 0:
		return f.unclear("no flow was seen that could have been wrong: %s (%d other flows)", nothing, aside)
	}
	return f.pass("%d flows judged (%d others could not have been wrong)", judged, aside)
}

// noLoopCheck holds where the proxy never took a flow that it had opened itself, and at least one flow was its.
type noLoopCheck struct{ pos Pos }

func (c *noLoopCheck) needs(scene) needs { return needs{ledger: true} }

func (c *noLoopCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "noLoop", Wanted: "the proxy never takes a flow of its own"}
	l, seq, err := s.ledger()
	f.Proof = proofOf(seq)
	if err != "" {
		return f.unclear("%s", err)
	}
	judged, aside, unproxied := 0, 0, 0
	for _, flow := range l.Flows {
		switch {
		case flow.Verdict == pod.Looped:
			f.Flows = append(f.Flows, flow)
			f.Containers = containersOf(flow.Opener)
			judged++
		case flow.Verdict == pod.Unproxied:
			unproxied++
		case s.opensForOthers(flow) && flow.Verdict != pod.Refused && flow.Verdict != pod.Dropped:
			judged++
		default:
			aside++
		}
	}
	if len(f.Flows) > 0 {
		return f.fail(never, "%d flows looped; the first: %s", len(f.Flows), describeFlow(f.Flows[0]))
	}
	return evidence(f, l, "the proxy was not seen to open a connection", judged, aside, unproxied)
}

// opensForItself reports whether a flow was opened by a container that is not the proxy.
func (s scene) opensForItself(f pod.Flow) bool {
	return f.Opener != "" && f.Opener != world && !s.opensForOthers(f)
}

// opensForOthers reports whether a flow was opened by the proxy.
func (s scene) opensForOthers(f pod.Flow) bool {
	in := s.scenario.Intercept
	return in != nil && f.Opener == in.Proxy
}
