package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
)

// A kind is what a conntrack message reports.
type kind uint8

const (
	_ kind = iota
	opened
	changed
	destroyed
)

// A tuple is one direction of a conntrack entry.
type tuple struct {
	src, dst netip.AddrPort
	proto    uint8
}

// A message is one conntrack event.
type message struct {
	kind   kind
	at     time.Time // the kernel's time if it gave one, else when it was read
	id     uint32
	zone   uint16
	orig   tuple
	reply  tuple
	status uint32
	tcp    uint8 // the TCP state, 0 if it was not given
	labels labels
}

// Bits of a conntrack status.
const (
	statusSeenReply = 1 << 1
	statusConfirmed = 1 << 3
	statusDNAT      = 1 << 5
)

// TCP states of conntrack.
const (
	tcpSynSent = 1
	tcpSynRecv = 2
)

// Numbers of the ctnetlink protocol (linux/netfilter/nfnetlink_conntrack.h).
const (
	subsysConntrack = 1
	msgNew          = 0
	msgDelete       = 2

	ctaTupleOrig      = 1
	ctaTupleReply     = 2
	ctaStatus         = 3
	ctaProtoInfo      = 4
	ctaID             = 12
	ctaZone           = 18
	ctaLabels         = 22
	ctaTimestampEvent = 27

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum = 1
	ctaSrcPort  = 2
	ctaDstPort  = 3

	ctaProtoInfoTCP = 1
	ctaTCPState     = 1
)

const (
	sizeofNlmsghdr = 16
	sizeofNfgenmsg = 4
)

var errShort = errors.New("it is cut short")

// rawKind tells from a netlink message's header alone what it reports; 0 if it is no conntrack event.
func rawKind(b []byte) kind {
	if len(b) < sizeofNlmsghdr+sizeofNfgenmsg {
		return 0
	}
	typ, flags := binary.NativeEndian.Uint16(b[4:]), netlink.HeaderFlags(binary.NativeEndian.Uint16(b[6:]))
	switch {
	case typ == subsysConntrack<<8|msgDelete:
		return destroyed
	case typ != subsysConntrack<<8|msgNew:
		return 0
	case flags&netlink.Create != 0:
		return opened
	}
	return changed
}

// parse decodes one conntrack event, header and all, that was read at the given time.
func parse(b []byte, at time.Time) (message, error) {
	m := message{kind: rawKind(b), at: at}
	if m.kind == 0 {
		return m, fmt.Errorf("decode conntrack event: %w", errShort)
	}
	if n := binary.NativeEndian.Uint32(b); int64(n) > int64(len(b)) {
		return m, fmt.Errorf("decode conntrack event: %w", errShort)
	}
	if err := m.decode(b[sizeofNlmsghdr+sizeofNfgenmsg:]); err != nil {
		return m, fmt.Errorf("decode conntrack event: %w", err)
	}
	return m, nil
}

func (m *message) decode(attributes []byte) error {
	d, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return err
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			d.Nested(m.orig.decode)
		case ctaTupleReply:
			d.Nested(m.reply.decode)
		case ctaStatus:
			m.status = d.Uint32()
		case ctaProtoInfo:
			d.Nested(m.decodeProtoInfo)
		case ctaID:
			m.id = d.Uint32()
		case ctaZone:
			m.zone = d.Uint16()
		case ctaLabels:
			m.labels = labelsFrom(d.Bytes())
		case ctaTimestampEvent:
			m.at = time.Unix(0, int64(d.Uint64()))
		}
	}
	return d.Err()
}

func (m *message) decodeProtoInfo(d *netlink.AttributeDecoder) error {
	for d.Next() {
		if d.Type() != ctaProtoInfoTCP {
			continue
		}
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				if d.Type() == ctaTCPState {
					m.tcp = d.Uint8()
				}
			}
			return nil
		})
	}
	return nil
}

func (t *tuple) decode(d *netlink.AttributeDecoder) error {
	var src, dst netip.Addr
	var srcPort, dstPort uint16
	for d.Next() {
		switch d.Type() {
		case ctaTupleIP:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					switch d.Type() {
					case ctaIPv4Src, ctaIPv6Src:
						src, _ = netip.AddrFromSlice(d.Bytes())
					case ctaIPv4Dst, ctaIPv6Dst:
						dst, _ = netip.AddrFromSlice(d.Bytes())
					}
				}
				return nil
			})
		case ctaTupleProto:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					switch d.Type() {
					case ctaProtoNum:
						t.proto = d.Uint8()
					case ctaSrcPort:
						srcPort = d.Uint16()
					case ctaDstPort:
						dstPort = d.Uint16()
					}
				}
				return nil
			})
		}
	}
	t.src, t.dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return nil
}
