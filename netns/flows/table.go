package flows

import "time"

// A key names a conntrack entry while it lives.
type key struct {
	id   uint32
	zone uint16
	orig tuple
}

// An entry is one conntrack entry's life.
type entry struct {
	orig, reply tuple
	begin       time.Time
	closed      [2]time.Time // when each side was first seen to have closed
	gone        time.Time    // when conntrack forgot it
	status      uint32
	firstTCP    uint8 // the TCP state at the first event
	labels      labels
	before      bool // it is older than the tagger
}

// A table folds conntrack events into entries, in the order of opening. The zero value is ready.
type table struct {
	live    map[key]*entry
	entries []*entry
	counted uint64 // entries that the tagger's counters have as well
	taken   uint64 // of those, how many have been labelled with a taker
}

// existing adds an entry that was there before the tagger.
func (t *table) existing(m message) { t.add(m).fold(m) }

func (t *table) apply(m message) {
	k := key{m.id, m.zone, m.orig}
	e := t.live[k]
	if m.kind == opened && (e == nil || !e.before || !e.gone.IsZero()) {
		e = t.add(m) // else the list of existing entries raced with this opening
	}
	if e == nil {
		return // older than the ledger
	}
	if m.kind == opened && m.labels.has(byTaker, bitCounted) {
		e.before = false
		t.counted++
	}
	if !e.before && !e.labels.local(byTaker) && m.labels.local(byTaker) {
		t.taken++
	}
	e.fold(m)
	if m.kind == destroyed {
		delete(t.live, k)
	}
}

func (t *table) add(m message) *entry {
	e := &entry{orig: m.orig, begin: m.at, firstTCP: m.tcp, before: true}
	if t.live == nil {
		t.live = make(map[key]*entry)
	}
	t.live[key{m.id, m.zone, m.orig}] = e
	t.entries = append(t.entries, e)
	return e
}

func (e *entry) fold(m message) {
	if m.reply.dst.IsValid() {
		e.reply = m.reply
	}
	e.status |= m.status
	e.labels = e.labels.or(m.labels)
	for side := range e.closed {
		if e.closed[side].IsZero() && e.labels.has(side, bitClosed) {
			e.closed[side] = m.at
		}
	}
	if m.kind == destroyed {
		e.gone = m.at
	}
}

// end is when nobody could use the entry any more; zero while somebody can.
func (e *entry) end() time.Time {
	if e.closed[byOpener].IsZero() || e.closed[byTaker].IsZero() {
		return e.gone
	}
	if e.closed[byOpener].After(e.closed[byTaker]) {
		return e.closed[byOpener]
	}
	return e.closed[byTaker]
}
