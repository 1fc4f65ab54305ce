package flows

import (
	"encoding/binary"
	"math/bits"
)

// labels are the 128 bits that the tagger hangs on a conntrack entry: [0] about its opening side, [1] about
// the side that took it.
type labels [2]uint64

// The bits of each word of labels.
const (
	bitOther          = 0 // this side is local, and no tracked container
	bitFirstContainer = 1
	maxContainers     = 58
	bitLink           = 59 // exempt by its interface: [0] on the way out, [1] on the way in
	bitUID            = 60 // [0] only: exempt by uid,
	bitGID            = 61 // by gid,
	bitMark           = 62 // by mark
	bitCounted        = 62 // [1] only: the tagger's counters have this entry
	bitClosed         = 63 // this side has closed
)

const (
	byOpener = 0
	byTaker  = 1
)

// label is one bit of one word.
func label(word, bit int) (l labels) {
	l[word] = 1 << bit
	return l
}

func (l labels) has(word, bit int) bool { return l[word]&(1<<bit) != 0 }

func (l labels) or(m labels) labels { return labels{l[0] | m[0], l[1] | m[1]} }

// party is the mask of the bits that say who stands on a side.
const party = 1<<(bitFirstContainer+maxContainers) - 1

// local reports that the side is in the namespace.
func (l labels) local(word int) bool { return l[word]&party != 0 }

// container returns the index of the tracked container on the side, -1 if there is none.
func (l labels) container(word int) int {
	named := l[word] & (party &^ (1 << bitOther))
	if named == 0 {
		return -1
	}
	return bits.TrailingZeros64(named) - bitFirstContainer
}

// bytes is the form of a 16-byte nftables register and of conntrack's attribute: words of the machine's order.
func (l labels) bytes() []byte {
	return binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, l[0]), l[1])
}

// labelsFrom is the inverse of bytes; a shorter attribute has its last bits zero.
func labelsFrom(b []byte) labels {
	var full [16]byte
	copy(full[:], b)
	return labels{binary.NativeEndian.Uint64(full[:8]), binary.NativeEndian.Uint64(full[8:])}
}
