package flows

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// World is the opener of a flow that came in from outside the namespace, and the taker of one that left it.
const World = "world"

// A Flow is one connection, or one exchange of datagrams, seen in the namespace.
type Flow struct {
	// ID rises from 1 in the order of opening and stays the same from one Snapshot to the next.
	ID int
	// Protocol is tcp, udp, icmp, icmpv6, or "ip-" and a number.
	Protocol string
	// Begin is the first packet's time. End is when both sides had closed, or one had reset, the connection, or
	// when conntrack forgot it; zero: still open. Both are the kernel's time where it gives one (Linux 6.14).
	Begin, End time.Time
	// Opener is the tracked container that opened the flow, World, or "" for another process of the namespace.
	Opener string
	// Source and Destination are as the opener's packets carried them: Destination is the original one. Ports are
	// 0 for protocols that have none.
	Source, Destination netip.AddrPort

	Verdict Verdict
	// Reason says why, in words.
	Reason string

	// Taker is the tracked container whose socket took the flow, World if it left the namespace, "" if nobody or
	// an untracked process did. Listener is the port that it was taken on, 0 if it left or nobody took it.
	Taker    string
	Listener int

	// Onward is the ID of the flow that the taker opened because of this one; 0 if there was none or it cannot be
	// told. OnwardTo then is the container, or the name or address outside, that Onward reached. Where several
	// flows might be it, Onward is 0 and Candidates holds their IDs.
	Onward     int
	OnwardTo   string
	Candidates []int
}

// String is one line: "7 tcp app 10.0.0.2:40000 > 198.18.0.10:80 captured by proxy:15001 (...) onward 8 to api".
func (f Flow) String() string {
	var b strings.Builder
	opener := f.Opener
	if opener == "" {
		opener = "?"
	}
	fmt.Fprintf(&b, "%d %s %s %s > %s %s", f.ID, f.Protocol, opener, f.Source, f.Destination, f.Verdict)
	if f.Taker != "" {
		fmt.Fprintf(&b, " by %s", f.Taker)
		if f.Listener != 0 {
			fmt.Fprintf(&b, ":%d", f.Listener)
		}
	}
	if f.Reason != "" {
		fmt.Fprintf(&b, " (%s)", f.Reason)
	}
	if f.Onward != 0 {
		fmt.Fprintf(&b, " onward %d to %s", f.Onward, f.OnwardTo)
	}
	if len(f.Candidates) > 0 {
		fmt.Fprintf(&b, " onward ambiguous %v", f.Candidates)
	}
	return b.String()
}

// A Ledger is all flows seen so far.
type Ledger struct {
	Flows []Flow
	// Complete reports that the kernel's counters agree with what was read. If not, Why says what is missing, and
	// the absence of a flow proves nothing.
	Complete bool
	Why      string
	// Blocked counts, by opener, the attempts that rules in the namespace itself dropped or rejected before
	// they became flows. Untracked processes are counted under "".
	Blocked map[string]uint64
}

// Find returns the flow with the given protocol, source and destination that was opened last: the one that a client
// knows as its connection from source to destination.
func (l Ledger) Find(protocol string, source, destination netip.AddrPort) (Flow, bool) {
	for i := len(l.Flows) - 1; i >= 0; i-- {
		f := l.Flows[i]
		if f.Protocol == protocol && f.Source == source && f.Destination == destination {
			return f, true
		}
	}
	return Flow{}, false
}
