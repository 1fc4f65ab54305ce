package intercept

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Ruleset is what is written into a namespace, as a value: nothing in it refers to the kernel.
type Ruleset struct {
	Tables []Table
	// Notes say what was asked for and is not in the tables, in words.
	Notes []string
}

// A Family is a table's: IPv4 or IPv6.
type Family uint8

// The families, named as nft names them.
const (
	IP4 Family = iota
	IP6
)

func (f Family) String() string {
	if f == IP6 {
		return "ip6"
	}
	return "ip"
}

// of reports whether an address range belongs to the family. IPv4-mapped ranges belong to neither: the kernel
// sees their packets as IPv4.
func (f Family) of(p netip.Prefix) bool {
	return p.Addr().Is4() == (f == IP4) && !p.Addr().Is4In6()
}

// loopback is the address whose traffic is direct: 127.0.0.1 alone, not its /8.
func (f Family) loopback() netip.Prefix {
	if f == IP6 {
		return netip.MustParsePrefix("::1/128")
	}
	return netip.MustParsePrefix("127.0.0.1/32")
}

// passthrough is the address that Istio's proxy sends from when it hands inbound traffic on unseen.
func (f Family) passthrough() netip.Prefix {
	if f == IP6 {
		return netip.MustParsePrefix("::6/128")
	}
	return netip.MustParsePrefix("127.0.0.6/32")
}

// A Table is an nftables table of one family. Its chains are written in their order.
type Table struct {
	Family Family
	Name   string
	Chains []Chain
}

// A Hook is where the kernel enters a chain.
type Hook uint8

// The hooks. A chain without one is only jumped to.
const (
	NoHook Hook = iota
	Prerouting
	Output
)

func (h Hook) String() string { return [...]string{"none", "prerouting", "output"}[h] }

// A Chain is a list of rules. One with a hook is of type nat, at the priority of destination NAT.
type Chain struct {
	Name  string
	Hook  Hook
	Rules []Rule
}

// A Rule does its verdict to packets that meet all matches. It counts them. Why is its comment in the kernel.
type Rule struct {
	Match   []Match
	Verdict Verdict
	Why     string
}

// A Key is the part of a packet that a Match looks at.
type Key uint8

// The keys, with the field of Match that each uses.
const (
	InLink    Key = iota // Link
	OutLink              // Link
	TCP                  // none: the packet is TCP
	DestPort             // Ports: the packet is TCP, and to one of them
	Source               // Prefix
	Dest                 // Prefix
	SocketUID            // ID
	SocketGID            // ID
)

// A Match is one condition on a packet. Not turns it round, but for TCP, which stays demanded with DestPort.
type Match struct {
	Key    Key
	Not    bool
	Link   string
	Ports  PortRange
	Prefix netip.Prefix
	ID     uint32
}

// A Verdict is what becomes of a packet: with Jump it goes on in that chain, with Redirect it is sent to that local
// port, with neither it returns to where its chain was entered from.
type Verdict struct {
	Jump     string
	Redirect uint16
}

// String is the ruleset in nft's syntax, to be read by nft -f.
func (s Ruleset) String() string {
	var b strings.Builder
	for _, note := range s.Notes {
		fmt.Fprintf(&b, "# %s\n", note)
	}
	for _, t := range s.Tables {
		fmt.Fprintf(&b, "table %s %s {\n", t.Family, t.Name)
		for _, c := range t.Chains {
			fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
			if c.Hook != NoHook {
				fmt.Fprintf(&b, "\t\ttype nat hook %s priority -100; policy accept;\n", c.Hook)
			}
			for _, r := range c.Rules {
				fmt.Fprintf(&b, "\t\t%s\n", r.text(t.Family))
			}
			b.WriteString("\t}\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (r Rule) text(f Family) string {
	var words []string
	for _, m := range r.Match {
		words = append(words, m.text(f))
	}
	words = append(words, "counter", r.Verdict.String())
	if r.Why != "" {
		words = append(words, fmt.Sprintf("comment %q", r.Why))
	}
	return strings.Join(words, " ")
}

func (m Match) text(f Family) string {
	not := ""
	if m.Not {
		not = "!= "
	}
	switch m.Key {
	case InLink:
		return fmt.Sprintf("iifname %s%q", not, m.Link)
	case OutLink:
		return fmt.Sprintf("oifname %s%q", not, m.Link)
	case TCP:
		return "meta l4proto tcp"
	case DestPort:
		return fmt.Sprintf("tcp dport %s%s", not, m.Ports)
	case Source:
		return fmt.Sprintf("%s saddr %s%s", f, not, prefixText(m.Prefix))
	case Dest:
		return fmt.Sprintf("%s daddr %s%s", f, not, prefixText(m.Prefix))
	case SocketUID:
		return fmt.Sprintf("meta skuid %s%d", not, m.ID)
	case SocketGID:
		return fmt.Sprintf("meta skgid %s%d", not, m.ID)
	}
	panic(fmt.Sprintf("a match on key %d", m.Key))
}

// prefixText is an address alone where the range is one.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

func (v Verdict) String() string {
	switch {
	case v.Jump != "":
		return "jump " + v.Jump
	case v.Redirect != 0:
		return fmt.Sprintf("redirect to :%d", v.Redirect)
	}
	return "return"
}
