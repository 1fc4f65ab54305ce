package flows

import (
	"fmt"
	"strings"
)

// Names of the tagger's counters.
const (
	counterLeft    = "left"         // entries confirmed on the way out, or on the way through lo
	counterEntered = "entered"      // entries confirmed on the way in
	counterTaken   = "taken"        // entries labelled with a taker
	counterOpened  = "opened-"      // and a label index: first packets that a container sent, confirmed or not
	counterOther   = "opened-other" // first packets that untracked processes sent
)

// counts are the tagger's counters by name.
type counts map[string]uint64

// confirmed is how many entries there must be.
func (c counts) confirmed() uint64 { return c[counterLeft] + c[counterEntered] }

// lacks is how many events are missing: openings, and labels of takers.
func (t *table) lacks(c counts) (openings, takers uint64) {
	return c.confirmed() - min(t.counted, c.confirmed()), c[counterTaken] - min(t.taken, c[counterTaken])
}

// losses is what is known to be missing.
type losses struct {
	overruns int      // how often the kernel had no room for an event
	faults   []string // events that could not be decoded
	// openings and takers are how many events a Snapshot has waited for in vain: the next does not wait for them again.
	openings, takers uint64
}

// doubts says in words why the events cannot be all, given the counters from before and from after their reading; empty
// if they are.
func (t *table) doubts(l losses, before, after counts) string {
	var doubts []string
	if l.overruns > 0 {
		doubts = append(doubts, fmt.Sprintf("the kernel lost conntrack events %d times, its buffer was full", l.overruns))
	}
	if n := len(l.faults); n > 0 {
		doubts = append(doubts, fmt.Sprintf("%d conntrack events could not be read, the first: %s", n, l.faults[0]))
	}
	if n := t.counted; n < before.confirmed() || n > after.confirmed() {
		doubts = append(doubts, fmt.Sprintf("the kernel counted %d connections, and %d were reported", before.confirmed(), n))
	}
	if n := t.taken; n < before[counterTaken] || n > after[counterTaken] {
		doubts = append(doubts, fmt.Sprintf("the kernel counted %d connections that were taken, and %d were reported", before[counterTaken], n))
	}
	return strings.Join(doubts, "; ")
}
