package flows

import "fmt"

// A Verdict is what became of a flow under a Policy.
type Verdict uint8

// The verdicts. Where several fit, the first in the order of Policy's documentation holds.
const (
	_         Verdict = iota
	Captured          // taken by the proxy
	Direct            // loopback or the pod's own address, which the policy leaves alone
	Exempt            // opened by the proxy, or excluded by uid, gid, mark, port or CIDR, as declared
	Bypass            // not the proxy's, not exempt, not taken by the proxy
	PreRule           // opened before the ledger, and so before the rules, were in force
	Refused           // answered with a reset
	Dropped           // not answered
	Looped            // opened and taken by the proxy, and sure to come round again
	Escaped           // of a kind that is not captured: UDP, ICMP, IPv6
	Unproxied         // no proxy is declared
)

var verdictNames = [...]string{
	Captured: "captured", Direct: "direct", Exempt: "exempt", Bypass: "bypass", PreRule: "preRule", Refused: "refused",
	Dropped: "dropped", Looped: "looped", Escaped: "escaped", Unproxied: "unproxied",
}

// Verdicts lists the verdicts in order.
func Verdicts() []Verdict {
	var out []Verdict
	for v := Captured; int(v) < len(verdictNames); v++ {
		out = append(out, v)
	}
	return out
}

// String is the verdict's name.
func (v Verdict) String() string {
	if v > 0 && int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// MarshalText is the verdict's name; a value that is none is an error.
func (v Verdict) MarshalText() ([]byte, error) {
	if v == 0 || int(v) >= len(verdictNames) {
		return nil, fmt.Errorf("no such verdict: %d", uint8(v))
	}
	return []byte(verdictNames[v]), nil
}

// UnmarshalText reads a verdict's name.
func (v *Verdict) UnmarshalText(text []byte) error {
	for _, known := range Verdicts() {
		if known.String() == string(text) {
			*v = known
			return nil
		}
	}
	return fmt.Errorf("no such verdict: %q", text)
}
