package intercept

import (
	"fmt"
	"strings"
)

// Found is what Detect found.
type Found struct {
	// Redirects are rules in nftables, iptables-nft's among them.
	Redirects []Redirect
	// Legacy are tables of iptables' old form that exist and could redirect: "ip nat". What is in them is not known.
	Legacy []string
}

// A Redirect is one rule that changes a packet's destination.
type Redirect struct {
	Table string // with its family: "ip nat"
	Chain string
	Kind  string // redirect, dnat or tproxy
	Port  uint16 // 0: the rule names none, or names it in iptables' own form
}

// Any reports whether anything may redirect.
func (f Found) Any() bool { return len(f.Redirects)+len(f.Legacy) > 0 }

// String is one line for people.
func (f Found) String() string {
	if !f.Any() {
		return "no redirect rules"
	}
	var parts []string
	for _, r := range f.Redirects {
		s := fmt.Sprintf("%s in table %s, chain %s", r.Kind, r.Table, r.Chain)
		if r.Port != 0 {
			s = fmt.Sprintf("%s to :%d in table %s, chain %s", r.Kind, r.Port, r.Table, r.Chain)
		}
		parts = append(parts, s)
	}
	for _, l := range f.Legacy {
		parts = append(parts, "legacy iptables table "+l)
	}
	return strings.Join(parts, "; ")
}
