package intercept

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/podsim/podsim/netns"
	"golang.org/x/sys/unix"
)

// A Count is how many packets a rule has met. A connection counts once: the kernel's nat chains see its first packet.
type Count struct {
	Table, Chain string
	Family       Family
	Rule         int // in its chain, from 0
	Packets      uint64
}

// ReadBack reads this package's tables out of the namespace pinned at path: the ruleset as the kernel has it, which
// prints like the one that was applied unless someone has changed it since, and the counts of its rules in order. A
// rule that this package cannot have written is an error that names it.
func ReadBack(ctx context.Context, path string) (Ruleset, []Count, error) {
	if err := ctx.Err(); err != nil {
		return Ruleset{}, nil, fmt.Errorf("read interception rules back: %w", err)
	}
	var s Ruleset
	var counts []Count
	err := netns.Do(path, func() error {
		conn, err := open()
		if err != nil {
			return err
		}
		for _, f := range []Family{IP4, IP6} {
			chains, err := conn.ListChainsOfTableFamily(f.kernel())
			if err != nil {
				return err
			}
			for _, k := range chains {
				if !strings.HasPrefix(k.Table.Name, TablePrefix) {
					continue
				}
				if n := len(s.Tables); n == 0 || s.Tables[n-1].Name != k.Table.Name || s.Tables[n-1].Family != f {
					s.Tables = append(s.Tables, Table{Family: f, Name: k.Table.Name})
				}
				c, packets, err := readChain(conn, f, k)
				if err != nil {
					return err
				}
				t := &s.Tables[len(s.Tables)-1]
				t.Chains = append(t.Chains, c)
				for i, p := range packets {
					counts = append(counts, Count{Table: t.Name, Chain: c.Name, Family: f, Rule: i, Packets: p})
				}
			}
		}
		return nil
	})
	if err != nil {
		return Ruleset{}, nil, fmt.Errorf("read interception rules back from %s: %w", path, err)
	}
	return s, counts, nil
}

func readChain(conn *nftables.Conn, f Family, k *nftables.Chain) (Chain, []uint64, error) {
	c := Chain{Name: k.Name}
	if k.Hooknum != nil {
		c.Hook = Prerouting
		if *k.Hooknum == *nftables.ChainHookOutput {
			c.Hook = Output
		}
	}
	rules, err := conn.GetRules(k.Table, k)
	if err != nil {
		return c, nil, err
	}
	var counts []uint64
	for i, r := range rules {
		rule, packets, err := decode(f, r.Exprs)
		if err != nil {
			return c, nil, fmt.Errorf("rule %d of %s %s %s is not one of podsim's: %w", i, f, k.Table.Name, k.Name, err)
		}
		rule.Why, _ = userdata.GetString(r.UserData, userdata.TypeComment)
		c.Rules = append(c.Rules, rule)
		counts = append(counts, packets)
	}
	return c, counts, nil
}

// decode undoes encode. It keeps the last loaded field, the mask and the immediate value, as the kernel would.
func decode(f Family, exprs []expr.Any) (r Rule, packets uint64, err error) {
	var loaded expr.Any
	var masked, immediate []byte
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Meta, *expr.Payload:
			loaded, masked = e, nil
		case *expr.Bitwise:
			masked = e.Mask
		case *expr.Cmp:
			m, err := decodeMatch(f, loaded, masked, e.Data, e.Data)
			if err != nil {
				return r, 0, err
			}
			m.Not = e.Op == expr.CmpOpNeq
			r.Match = appendMatch(r.Match, m)
		case *expr.Range:
			m, err := decodeMatch(f, loaded, masked, e.FromData, e.ToData)
			if err != nil {
				return r, 0, err
			}
			m.Not = e.Op == expr.CmpOpNeq
			r.Match = appendMatch(r.Match, m)
		case *expr.Counter:
			packets = e.Packets
		case *expr.Immediate:
			immediate = e.Data
		case *expr.Redir:
			if len(immediate) < 2 {
				return r, 0, fmt.Errorf("a redirect without a port")
			}
			r.Verdict.Redirect = binary.BigEndian.Uint16(immediate)
		case *expr.Verdict:
			switch e.Kind {
			case expr.VerdictJump:
				r.Verdict.Jump = e.Chain
			case expr.VerdictReturn:
			default:
				return r, 0, fmt.Errorf("verdict %d", e.Kind)
			}
		default:
			return r, 0, fmt.Errorf("expression %T", e)
		}
	}
	return r, packets, nil
}

// appendMatch appends m; a port swallows the demand for TCP before it, which it contains.
func appendMatch(match []Match, m Match) []Match {
	if n := len(match); m.Key == DestPort && n > 0 && match[n-1].Key == TCP {
		match = match[:n-1]
	}
	return append(match, m)
}

func decodeMatch(f Family, loaded expr.Any, masked, from, to []byte) (Match, error) {
	switch l := loaded.(type) {
	case *expr.Meta:
		switch l.Key {
		case expr.MetaKeyIIFNAME:
			return Match{Key: InLink, Link: string(bytes.TrimRight(from, "\x00"))}, nil
		case expr.MetaKeyOIFNAME:
			return Match{Key: OutLink, Link: string(bytes.TrimRight(from, "\x00"))}, nil
		case expr.MetaKeyL4PROTO:
			if bytes.Equal(from, []byte{unix.IPPROTO_TCP}) {
				return Match{Key: TCP}, nil
			}
		case expr.MetaKeySKUID:
			return Match{Key: SocketUID, ID: binary.NativeEndian.Uint32(from)}, nil
		case expr.MetaKeySKGID:
			return Match{Key: SocketGID, ID: binary.NativeEndian.Uint32(from)}, nil
		}
		return Match{}, fmt.Errorf("a match on meta %d", l.Key)
	case *expr.Payload:
		if l.Base == expr.PayloadBaseTransportHeader && l.Offset == 2 && len(from) == 2 {
			return Match{Key: DestPort, Ports: PortRange{binary.BigEndian.Uint16(from), binary.BigEndian.Uint16(to)}}, nil
		}
		addr, ok := netip.AddrFromSlice(from)
		if l.Base != expr.PayloadBaseNetworkHeader || !ok {
			return Match{}, fmt.Errorf("a match on bytes %d to %d of a header", l.Offset, l.Offset+l.Len)
		}
		m := Match{Key: Source, Prefix: netip.PrefixFrom(addr, prefixLen(masked, addr.BitLen()))}
		if l.Offset == f.destOffset() {
			m.Key = Dest
		}
		return m, nil
	}
	return Match{}, fmt.Errorf("a comparison with nothing")
}

// prefixLen counts a mask's ones; no mask is a whole address.
func prefixLen(mask []byte, whole int) int {
	if mask == nil {
		return whole
	}
	n := 0
	for _, b := range mask {
		n += bits.OnesCount8(b)
	}
	return n
}
