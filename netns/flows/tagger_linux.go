package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// tableName is the tagger's table, in the pod's namespace only. It goes with the namespace.
const tableName = "podsim_flows"

// eventMask asks for the events new, related, destroy, reply and label (bits of the kernel's IPCT_ numbers), and
// leaves out what every step of a TCP connection would add.
const eventMask = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<10

// register is the nftables register that all rules work in: 16 bytes.
const register = unix.NFT_REG_1

// A tagger is the table of rules that labels connections.
type tagger struct {
	mu      sync.Mutex
	conn    *nftables.Conn
	table   *nftables.Table
	openers *nftables.Chain
	takers  *nftables.Chain
}

// errLoaded says that the namespace has a tagger.
var errLoaded = errors.New("a ledger is loaded in this namespace already")

// newTagger writes the table in one transaction. The caller closes it.
func newTagger(path string, p Policy) (*tagger, error) {
	var conn *nftables.Conn
	err := netns.Do(path, func() (err error) {
		conn, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, err
	}
	t := &tagger{conn: conn}
	if err := t.write(p); err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}
	return t, nil
}

func (t *tagger) write(p Policy) error {
	tables, err := t.conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, table := range tables {
		if table.Name == tableName {
			return errLoaded
		}
	}
	t.table = t.conn.AddTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	for _, name := range []string{counterLeft, counterEntered, counterTaken, counterOther} {
		t.counter(name)
	}
	t.openers = t.conn.AddChain(&nftables.Chain{Name: "openers", Table: t.table})
	t.takers = t.conn.AddChain(&nftables.Chain{Name: "takers", Table: t.table})
	t.writeOutput(p)
	t.writeInput(p)
	t.writeLast("left", nftables.ChainHookPostrouting, counterLeft)
	t.writeLast("entered", nftables.ChainHookInput, counterEntered)
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("write nftables table %s: %w", tableName, err)
	}
	return nil
}

func (t *tagger) writeOutput(p Policy) {
	c := t.base("output", nftables.ChainHookOutput, -150)
	t.rule(c, unconfirmed(), setEventMask())
	t.writeClosings(c)
	for _, uid := range p.UIDs {
		t.rule(c, isNew(), metaIs(expr.MetaKeySKUID, uid, math.MaxUint32), setLabel(label(byOpener, bitUID)))
	}
	for _, gid := range p.GIDs {
		t.rule(c, isNew(), metaIs(expr.MetaKeySKGID, gid, math.MaxUint32), setLabel(label(byOpener, bitGID)))
	}
	for _, m := range p.Marks {
		mask := m.Mask
		if mask == 0 {
			mask = math.MaxUint32
		}
		t.rule(c, isNew(), metaIs(expr.MetaKeyMARK, m.Value&mask, mask), setLabel(label(byOpener, bitMark)))
	}
	for _, link := range p.Interfaces {
		t.rule(c, isNew(), onLink(expr.MetaKeyOIFNAME, link), setLabel(label(byOpener, bitLink)))
	}
	t.rule(c, isNew(), verdict(expr.VerdictJump, t.openers.Name))
	t.rule(c, isNew(), count(counterOther, unconfirmed()), setLabel(label(byOpener, bitOther)))
}

func (t *tagger) writeInput(p Policy) {
	c := t.base("input", nftables.ChainHookInput, 100)
	t.rule(c, unconfirmed(), setEventMask())
	t.writeClosings(c)
	for _, link := range p.Interfaces {
		t.rule(c, isNew(), onLink(expr.MetaKeyIIFNAME, link), setLabel(label(byTaker, bitLink)))
	}
	// What comes in is not confirmed yet here; what comes by lo is, and was counted on its way.
	t.rule(c, unconfirmed(), []expr.Any{objref(counterTaken)})
	t.rule(c, isNew(), countedOnly(), []expr.Any{objref(counterTaken)})
	t.rule(c, isNew(), verdict(expr.VerdictJump, t.takers.Name))
	t.rule(c, isNew(), setLabel(label(byTaker, bitOther)))
}

// writeClosings labels the side that sends a FIN, and both when one sends a RST.
func (t *tagger) writeClosings(c *nftables.Chain) {
	const fin, rst = 1, 4
	t.rule(c, tcpFlag(rst), setLabel(label(byOpener, bitClosed).or(label(byTaker, bitClosed))))
	t.rule(c, tcpFlag(fin), direction(0), setLabel(label(byOpener, bitClosed)))
	t.rule(c, tcpFlag(fin), direction(1), setLabel(label(byTaker, bitClosed)))
}

// writeLast counts and labels what conntrack is about to confirm.
func (t *tagger) writeLast(name string, hook *nftables.ChainHook, counter string) {
	c := t.base(name, hook, math.MaxInt32-1)
	t.rule(c, unconfirmed(), []expr.Any{objref(counter)}, setLabel(label(byTaker, bitCounted)))
}

// track makes sockets of the cgroup the container with the given label index. Sockets of an earlier cgroup of the
// container keep theirs.
func (t *tagger) track(index int, first bool, g cgroup) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := counterOpened + strconv.Itoa(index)
	if first {
		t.counter(name)
	}
	t.rule(t.openers, inCgroup(g), count(name, unconfirmed()), nil)
	t.rule(t.openers, inCgroup(g), setLabel(label(byOpener, bitFirstContainer+index)), verdict(expr.VerdictAccept, ""))
	t.rule(t.takers, inCgroup(g), setLabel(label(byTaker, bitFirstContainer+index)), verdict(expr.VerdictAccept, ""))
	return t.conn.Flush()
}

// counters reads all counters by name.
func (t *tagger) counters() (counts, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	objects, err := t.conn.GetNamedObjects(t.table)
	if err != nil {
		return nil, fmt.Errorf("read counters of nftables table %s: %w", tableName, err)
	}
	out := make(counts, len(objects))
	for _, o := range objects {
		named, ok := o.(*nftables.NamedObj)
		if !ok {
			continue
		}
		if c, ok := named.Obj.(*expr.Counter); ok {
			out[named.Name] = c.Packets
		}
	}
	for _, name := range []string{counterLeft, counterEntered, counterTaken} {
		if _, ok := out[name]; !ok {
			return nil, fmt.Errorf("read counters of nftables table %s: no counter %s: the table was changed or removed in the pod", tableName, name)
		}
	}
	return out, nil
}

func (t *tagger) close() error { return t.conn.CloseLasting() }

func (t *tagger) base(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return t.conn.AddChain(&nftables.Chain{
		Name: name, Table: t.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority, Policy: &accept,
	})
}

func (t *tagger) counter(name string) {
	t.conn.AddObj(&nftables.NamedObj{Table: t.table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
}

func (t *tagger) rule(c *nftables.Chain, parts ...[]expr.Any) {
	r := &nftables.Rule{Table: t.table, Chain: c}
	for _, p := range parts {
		r.Exprs = append(r.Exprs, p...)
	}
	t.conn.AddRule(r)
}

// The parts of rules. Each leaves nothing in the register that a later part needs.

func isNew() []expr.Any {
	return masked(&expr.Ct{Key: expr.CtKeySTATE, Register: register}, expr.CtStateBitNEW, expr.CmpOpNeq, 0)
}

// unconfirmed matches the first packet of an entry.
func unconfirmed() []expr.Any {
	return masked(&expr.Ct{Key: expr.CtKeySTATUS, Register: register}, statusConfirmed, expr.CmpOpEq, 0)
}

func metaIs(k expr.MetaKey, value, mask uint32) []expr.Any {
	return masked(&expr.Meta{Key: k, Register: register}, mask, expr.CmpOpEq, value)
}

func masked(load expr.Any, mask uint32, op expr.CmpOp, value uint32) []expr.Any {
	return []expr.Any{
		load,
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: native32(mask), Xor: native32(0)},
		&expr.Cmp{Op: op, Register: register, Data: native32(value)},
	}
}

// countedOnly matches entries that are counted and have no taker yet.
func countedOnly() []expr.Any {
	counted := label(byTaker, bitCounted)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyLABELS, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 16, Mask: labels{byTaker: party}.or(counted).bytes(), Xor: labels{}.bytes()},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: counted.bytes()},
	}
}

func inCgroup(g cgroup) []expr.Any {
	return []expr.Any{
		&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: g.level, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binary.NativeEndian.AppendUint64(nil, g.id)},
	}
}

func tcpFlag(flag byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{protoTCP}},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1, DestRegister: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{flag}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{0}},
	}
}

// onLink matches a link by its name.
func onLink(k expr.MetaKey, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: k, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: padded},
	}
}

// direction matches packets of the opening side (0) or of the other (1).
func direction(d byte) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{d}},
	}
}

func setLabel(l labels) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: l.bytes()},
		&expr.Ct{Key: expr.CtKeyLABELS, Register: register, SourceRegister: true},
	}
}

func setEventMask() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: native32(eventMask)},
		&expr.Ct{Key: expr.CtKeyEVENTMASK, Register: register, SourceRegister: true},
	}
}

func count(name string, when []expr.Any) []expr.Any { return append(when, objref(name)) }

func objref(counter string) expr.Any {
	return &expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counter}
}

func verdict(k expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: k, Chain: chain}}
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
