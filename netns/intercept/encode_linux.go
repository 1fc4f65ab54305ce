package intercept

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// encode is the rule in the kernel's expressions, as nft would write it.
func (r Rule) encode(f Family) []expr.Any {
	var out []expr.Any
	for _, m := range r.Match {
		out = append(out, m.encode(f)...)
	}
	out = append(out, &expr.Counter{})
	switch {
	case r.Verdict.Jump != "":
		return append(out, &expr.Verdict{Kind: expr.VerdictJump, Chain: r.Verdict.Jump})
	case r.Verdict.Redirect != 0:
		return append(out,
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(r.Verdict.Redirect)},
			&expr.Redir{RegisterProtoMin: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED})
	}
	return append(out, &expr.Verdict{Kind: expr.VerdictReturn})
}

func (m Match) encode(f Family) []expr.Any {
	op := expr.CmpOpEq
	if m.Not {
		op = expr.CmpOpNeq
	}
	switch m.Key {
	case InLink:
		return meta(expr.MetaKeyIIFNAME, op, linkName(m.Link))
	case OutLink:
		return meta(expr.MetaKeyOIFNAME, op, linkName(m.Link))
	case TCP:
		return meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP})
	case DestPort:
		out := meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP})
		out = append(out, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2})
		first, last := binaryutil.BigEndian.PutUint16(m.Ports.First), binaryutil.BigEndian.PutUint16(m.Ports.Last)
		if m.Ports.First == m.Ports.Last {
			return append(out, &expr.Cmp{Op: op, Register: 1, Data: first})
		}
		return append(out, &expr.Range{Op: op, Register: 1, FromData: first, ToData: last})
	case Source:
		return address(f, f.sourceOffset(), op, m.Prefix)
	case Dest:
		return address(f, f.destOffset(), op, m.Prefix)
	case SocketUID:
		return meta(expr.MetaKeySKUID, op, binary.NativeEndian.AppendUint32(nil, m.ID))
	case SocketGID:
		return meta(expr.MetaKeySKGID, op, binary.NativeEndian.AppendUint32(nil, m.ID))
	}
	panic("a match on an unknown key")
}

// sourceOffset and destOffset are where the addresses are in the family's header, in bytes.
func (f Family) sourceOffset() uint32 {
	if f == IP6 {
		return 8
	}
	return 12
}

func (f Family) destOffset() uint32 {
	if f == IP6 {
		return 24
	}
	return 16
}

// meta compares what the kernel knows of a packet.
func meta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

// address compares an address in the header with a range.
func address(f Family, offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	size := uint32(4)
	if f == IP6 {
		size = 16
	}
	out := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
	if !p.IsSingleIP() {
		out = append(out, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask(p.Bits(), int(size)), Xor: make([]byte, size)})
	}
	return append(out, &expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

// mask is a mask of so many leading ones.
func mask(bits, size int) []byte {
	m := make([]byte, size)
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// linkName is a link's name as the kernel compares it whole: 16 bytes.
func linkName(link string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, link)
	return b
}
