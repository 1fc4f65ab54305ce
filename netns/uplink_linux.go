package netns

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// The machine's part of the way out, in its own table and in Docker's chain:
//
//	table ip podsim {
//		chain postrouting {
//			type nat hook postrouting priority srcnat;
//			ip saddr 10.222.0.0/20 oifname != "podsim0" masquerade comment "podsim0 10.222.0.0/20"
//		}
//		chain ip_forward_was_0 { }     # only if podsim turned forwarding on: the last to leave turns it off
//	}
//	table ip filter {                      # only if Docker has made it
//		chain DOCKER-USER {
//			iifname "podsim0" counter accept comment "podsim0 ..."
//			oifname "podsim0" counter accept comment "podsim0 ..."
//		}
//	}
//
// IPv6 has the same in tables of family ip6, where the bridge has a subnet of it. There the chain ip_forward_was_0 holds
// a rule for each link's setting that forwarding disturbs; its comment is the setting.
//
// Ports of the machine that lead to pods are in chains beside these: see hostport_linux.go.
//
// Several state directories share the tables; a rule's comment names its bridge. All of this is done under the lock.
const (
	uplinkTable   = "podsim"
	masqueradeIn  = "postrouting"
	forwardMarker = "ip_forward_was_0"
	dockerTable   = "filter"
	dockerChain   = "DOCKER-USER"
)

// An uplink is what is there of the machine's part.
type uplink struct {
	conn   *nftables.Conn
	halves [2]half // by family
}

// A half is what is there of one family's.
type half struct {
	family
	postrouting *nftables.Chain // nil: there is none
	marker      *nftables.Chain
	docker      *nftables.Chain
	ports       []*nftables.Chain
}

func readUplink(opts ...nftables.ConnOption) (*uplink, error) {
	conn, err := nftables.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("reach nftables: %w", err)
	}
	u := &uplink{conn: conn}
	for f := range u.halves {
		h := &u.halves[f]
		h.family = family(f)
		chains, err := conn.ListChainsOfTableFamily(h.tables())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("list nftables chains: %w", notRoot(err)), conn.CloseLasting())
		}
		for _, c := range chains {
			switch c.Table.Name + " " + c.Name {
			case uplinkTable + " " + masqueradeIn:
				h.postrouting = c
			case uplinkTable + " " + forwardMarker:
				h.marker = c
			case dockerTable + " " + dockerChain:
				h.docker = c
			}
			if c.Table.Name == uplinkTable && isPortChain(c.Name) {
				h.ports = append(h.ports, c)
			}
		}
	}
	return u, nil
}

// openUplink makes what is missing for a bridge, in one transaction. Where nothing is, there is none: the kernel takes
// some milliseconds for each.
func openUplink(b Bridge) error {
	u, err := readUplink()
	if err != nil {
		return err
	}
	forward4, changed4, err := u.open(&u.halves[ip4], b.Name, b.Subnet)
	if err != nil {
		return err
	}
	var forward6 func() error
	var changed6 bool
	if b.Subnet6.IsValid() {
		if forward6, changed6, err = u.open(&u.halves[ip6], b.Name, b.Subnet6); err != nil {
			return err
		}
	}
	if changed4 || changed6 {
		if err := u.conn.Flush(); err != nil {
			return fmt.Errorf("write nftables rules for %s: %w", b.Name, notRoot(err))
		}
	}
	for _, forward := range []func() error{forward4, forward6} {
		if forward == nil {
			continue
		}
		if err := forward(); err != nil {
			return err
		}
	}
	return nil
}

// open adds to the transaction what is missing of a half, if anything is. forward, unless it is nil, is to be called
// after the transaction: it turns forwarding on.
func (u *uplink) open(h *half, bridge string, subnet netip.Prefix) (forward func() error, changed bool, err error) {
	name := bridge + " " + subnet.String()
	masq, err := u.outdated(h.postrouting, bridge, name)
	if err != nil {
		return nil, false, err
	}
	docker, err := u.outdated(h.docker, bridge, name)
	if err != nil {
		return nil, false, err
	}
	forwarding, err := h.readForwarding()
	if err != nil {
		return nil, false, err
	}
	if masq == nil && (docker == nil || h.docker == nil) && forwarding {
		return nil, false, nil
	}
	table := u.conn.AddTable(&nftables.Table{Family: h.tables(), Name: uplinkTable})
	post := u.conn.AddChain(&nftables.Chain{
		Table: table, Name: masqueradeIn, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	if !forwarding {
		disturbed, err := u.remember(h, table)
		if err != nil {
			return nil, false, err
		}
		forward = func() error { return h.startForwarding(disturbed) }
	}
	u.replace(masq, post, name, h.masquerade(bridge, subnet))
	if h.docker != nil {
		u.replace(docker, h.docker, name, acceptLink(expr.MetaKeyIIFNAME, bridge), acceptLink(expr.MetaKeyOIFNAME, bridge))
	}
	return forward, true, nil
}

// remember adds the marker to the transaction, with the settings that turning forwarding on disturbs. Those that are
// remembered already, of an attempt that was cut short, stay as they were before that.
func (u *uplink) remember(h *half, table *nftables.Table) ([]setting, error) {
	known, err := u.remembered(h)
	if err != nil {
		return nil, err
	}
	now, err := h.disturbed()
	if err != nil {
		return nil, err
	}
	marker := u.conn.AddChain(&nftables.Chain{Table: table, Name: forwardMarker})
	for _, s := range now {
		if slices.ContainsFunc(known, func(k setting) bool { return k.link == s.link && k.name == s.name }) {
			continue
		}
		known = append(known, s)
		u.conn.AddRule(&nftables.Rule{Table: table, Chain: marker, Exprs: []expr.Any{&expr.Counter{}},
			UserData: userdata.AppendString(nil, userdata.TypeComment, s.String())})
	}
	return known, nil
}

// remembered reads the settings out of the marker.
func (u *uplink) remembered(h *half) ([]setting, error) {
	if h.marker == nil {
		return nil, nil
	}
	rules, err := u.rules(h.marker)
	if err != nil {
		return nil, err
	}
	var out []setting
	for _, r := range rules {
		if s, ok := parseSetting(r.name); ok {
			out = append(out, s)
		}
	}
	return out, nil
}

// closeUplink prepares to take the bridge's rules away, and with the last bridge's the table; commit does it, from any
// goroutine, and must be called. With the table goes forwarding, if podsim turned it on. Where Docker has come since,
// forwarding stays on: Docker needs it and has found it so.
func closeUplink(bridge string) (commit func() error, err error) {
	u, err := readUplink(nftables.AsLasting())
	if err != nil {
		return nil, err
	}
	for f := range u.halves {
		if err := u.close(&u.halves[f], bridge); err != nil {
			return nil, errors.Join(err, u.conn.CloseLasting())
		}
	}
	return func() error {
		if err := errors.Join(u.conn.Flush(), u.conn.CloseLasting()); err != nil {
			return fmt.Errorf("delete nftables rules of %s: %w", bridge, notRoot(err))
		}
		return nil
	}, nil
}

func (u *uplink) close(h *half, bridge string) error {
	others := 0
	for _, chain := range []*nftables.Chain{h.postrouting, h.docker} {
		if chain == nil {
			continue
		}
		rules, err := u.rules(chain)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.bridge == bridge {
				u.delete(r)
			} else if chain == h.postrouting {
				others++
			}
		}
	}
	if others > 0 {
		return nil
	}
	disturbed, err := u.remembered(h)
	if err != nil {
		return err
	}
	if own := firstChain(h.postrouting, h.marker); own != nil {
		u.conn.DelTable(own.Table)
	}
	if h.marker != nil && h.docker == nil {
		return h.endForwarding(disturbed)
	}
	return nil
}

// firstChain is the first chain that is there.
func firstChain(chains ...*nftables.Chain) *nftables.Chain {
	for _, c := range chains {
		if c != nil {
			return c
		}
	}
	return nil
}

// outdated lists the bridge's rules in a chain that must give way to ones of that name; nil if those are there.
func (u *uplink) outdated(chain *nftables.Chain, bridge, name string) ([]namedRule, error) {
	old := []namedRule{}
	if chain == nil {
		return old, nil
	}
	rules, err := u.rules(chain)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if r.name == name {
			return nil, nil
		}
		if r.bridge == bridge {
			old = append(old, r)
		}
	}
	return old, nil
}

// replace puts rules of that name at the head of a chain, in the place of old ones; nil old: they are there already.
func (u *uplink) replace(old []namedRule, chain *nftables.Chain, name string, rules ...[]expr.Any) {
	if old == nil {
		return
	}
	for _, r := range old {
		u.delete(r)
	}
	for _, exprs := range rules {
		u.conn.InsertRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: exprs,
			UserData: userdata.AppendString(nil, userdata.TypeComment, name)})
	}
}

// delete adds the deletion of a rule to the transaction.
func (u *uplink) delete(r namedRule) {
	if err := u.conn.DelRule(r.Rule); err != nil {
		panic(err) // only a rule without a handle is refused, and this one came from the kernel
	}
}

// A namedRule is a rule with what its comment says: the name, and the bridge that the name begins with.
type namedRule struct {
	*nftables.Rule
	name, bridge string
}

func (u *uplink) rules(chain *nftables.Chain) ([]namedRule, error) {
	rules, err := u.conn.GetRules(chain.Table, chain)
	if err != nil {
		return nil, fmt.Errorf("list nftables rules of %s %s: %w", chain.Table.Name, chain.Name, err)
	}
	out := make([]namedRule, len(rules))
	for i, r := range rules {
		name, _ := userdata.GetString(r.UserData, userdata.TypeComment)
		bridge, _, _ := strings.Cut(name, " ")
		if name == "" {
			// iptables-restore, which firewalls run on each change, drops nft's comments.
			bridge = acceptedLink(r.Exprs)
		}
		r.Table, r.Chain = chain.Table, chain
		out[i] = namedRule{r, name, bridge}
	}
	return out, nil
}

// masquerade gives packets from subnet that leave by another link than the bridge the machine's own address.
func (f family) masquerade(bridge string, subnet netip.Prefix) []expr.Any {
	return append(f.inPrefix(f.sourceAt, subnet),
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: paddedName(bridge)},
		&expr.Masq{})
}

// acceptLink accepts what comes in or goes out by a link, in the form that iptables-nft writes and reads.
func acceptLink(key expr.MetaKey, link string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte(link), 0)},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// acceptedLink is the link whose packets a rule in the form of acceptLink accepts; empty for any other rule.
func acceptedLink(exprs []expr.Any) string {
	link := ""
	for i, e := range exprs {
		switch e := e.(type) {
		case *expr.Meta, *expr.Counter, *expr.Match: // iptables has its own expression for a comment
		case *expr.Cmp:
			m, ok := exprs[max(i-1, 0)].(*expr.Meta)
			if !ok || e.Op != expr.CmpOpEq || m.Key != expr.MetaKeyIIFNAME && m.Key != expr.MetaKeyOIFNAME {
				return ""
			}
			link = string(bytes.TrimRight(e.Data, "\x00"))
		case *expr.Verdict:
			if e.Kind != expr.VerdictAccept {
				return ""
			}
		default:
			return ""
		}
	}
	return link
}

// paddedName is a link's name as the kernel compares it whole: 16 bytes.
func paddedName(link string) []byte {
	b := make([]byte, 16)
	copy(b, link)
	return b
}
