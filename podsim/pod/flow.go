package pod

import "time"

// A Verdict is what became of a flow.
type Verdict uint8

// The verdicts of a flow.
const (
	_         Verdict = iota
	Captured          // taken by the proxy
	Direct            // loopback or the pod's own address, which the profile leaves alone
	Exempt            // opened by the proxy, or excluded by uid, gid, mark, port, CIDR or interface, as declared
	Bypass            // opened by a container that is not the proxy, not exempt, and not taken by the proxy
	PreRule           // opened before the rules were in force
	Refused           // answered with a reset, or not at all listened for
	Dropped           // never answered
	Looped            // opened and taken by the proxy
	Escaped           // of a kind that the profile does not capture: UDP, ICMP, IPv6
	Unproxied         // there is no interception to judge it by
)

var verdictNames = [...]string{
	Captured: "captured", Direct: "direct", Exempt: "exempt", Bypass: "bypass", PreRule: "preRule", Refused: "refused",
	Dropped: "dropped", Looped: "looped", Escaped: "escaped", Unproxied: "unproxied",
}

// Verdicts lists the verdicts in order.
func Verdicts() []Verdict { return enumerate[Verdict](len(verdictNames)) }

func (v Verdict) String() string                { return enumString("Verdict", verdictNames[:], int(v)) }
func (v Verdict) MarshalText() ([]byte, error)  { return enumText("Verdict", verdictNames[:], int(v)) }
func (v *Verdict) UnmarshalText(b []byte) error { return enumParse("verdict", verdictNames[:], b, v) }

// A Flow is one connection (or UDP exchange) seen in a pod's network namespace.
type Flow struct {
	ID       int       `json:"id"`
	Pod      string    `json:"pod"`
	Protocol string    `json:"protocol"` // tcp or udp
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end,omitzero"` // zero: still open
	// Opener is the container that opened it, "world" for one that came from outside, "" if unknown.
	Opener string `json:"opener"`
	Source string `json:"source"` // host:port
	// Destination is the original one: what the opener asked for.
	Destination string  `json:"destination"`
	Verdict     Verdict `json:"verdict"`
	Reason      string  `json:"reason,omitempty"`
	// Taker is the container that accepted it, "world" if it left the pod. Listener is the port it accepted on.
	Taker    string `json:"taker,omitempty"`
	Listener int    `json:"listener,omitempty"`
	// Onward is the ID of the flow that the taker opened in its turn, 0 if none is known; OnwardTo names the
	// stub, container or address it reached. Where several fit, Candidates holds their IDs and Onward is 0.
	Onward     int    `json:"onward,omitempty"`
	OnwardTo   string `json:"onwardTo,omitempty"`
	Candidates []int  `json:"candidates,omitempty"`
}

// A Ledger is all flows seen so far, and whether that is all there were.
type Ledger struct {
	Flows []Flow `json:"flows"`
	// Complete is true when the kernel's own counters agree with what was read. Otherwise Why says what is missing,
	// and no check may pass on the strength of a flow that is not there.
	Complete bool   `json:"complete"`
	Why      string `json:"why,omitempty"`
}
