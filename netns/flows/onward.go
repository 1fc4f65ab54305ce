package flows

import (
	"net/netip"
	"slices"
	"sort"
	"time"
)

// maxCandidates bounds Flow.Candidates.
const maxCandidates = 64

// onward links each flow that a container took to the flow that the container opened because of it.
//
// The candidates of a flow are what its taker opened while it lived: those with the same destination if there are any, else
// all. A candidate is the one if it is alone and is nobody else's candidate. A connection to the same destination
// that was open already may be used again (a pool): it is a candidate, and never certain.
func (j judge) onward(flows []Flow) {
	all, same := j.openings(flows)
	type found struct {
		in     *openings
		lo, hi int
		pooled []int
	}
	finds := make([]found, len(flows))
	for i, f := range flows {
		if f.Taker == "" || f.Taker == World || f.Verdict == Refused || f.Verdict == Dropped {
			continue
		}
		to := target{by: f.Taker, protocol: f.Protocol}
		toSame := to
		toSame.address = j.where(f.Destination)
		if o := same[toSame]; o != nil {
			if lo, hi := o.during(f); lo < hi {
				finds[i] = found{in: o, lo: lo, hi: hi}
			} else if pooled := o.openAt(f.Begin); len(pooled) > 0 {
				finds[i].pooled = pooled
			}
		}
		if o := all[to]; o != nil && finds[i].in == nil && finds[i].pooled == nil {
			if lo, hi := o.during(f); lo < hi {
				finds[i] = found{in: o, lo: lo, hi: hi}
			}
		}
		if w := finds[i]; w.in != nil {
			w.in.claim(w.lo, w.hi)
		}
	}
	claims := make([]int, len(flows))
	for _, index := range []map[target]*openings{all, same} {
		for _, o := range index {
			o.settle(claims)
		}
	}
	for i, w := range finds {
		f := &flows[i]
		switch {
		case w.in != nil && w.hi == w.lo+1 && claims[w.in.flows[w.lo].ID-1] == 1:
			next := w.in.flows[w.lo]
			f.Onward, f.OnwardTo = next.ID, j.reached(next)
		case w.in != nil:
			for _, g := range w.in.flows[w.lo:min(w.hi, w.lo+maxCandidates)] {
				f.Candidates = append(f.Candidates, g.ID)
			}
		default:
			f.Candidates = w.pooled
		}
	}
}

// A target is what flows are looked up by: who opened them, and where to. A zero address is anywhere.
type target struct {
	by, protocol string
	address      netip.AddrPort
}

// where is a destination, with all of the namespace's own addresses taken for one: what came in from outside
// goes on to the same port of any of them.
func (j judge) where(a netip.AddrPort) netip.AddrPort {
	if j.isLocal(a.Addr()) {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return a
}

// openings indexes what containers opened, by opener alone and with the destination.
func (j judge) openings(flows []Flow) (all, same map[target]*openings) {
	all, same = make(map[target]*openings), make(map[target]*openings)
	add := func(index map[target]*openings, t target, f Flow) {
		if index[t] == nil {
			index[t] = &openings{}
		}
		index[t].flows = append(index[t].flows, f)
	}
	for _, f := range flows {
		if f.Opener == "" || f.Opener == World {
			continue
		}
		t := target{by: f.Opener, protocol: f.Protocol}
		add(all, t, f)
		t.address = j.where(f.Destination)
		add(same, t, f)
	}
	for _, index := range []map[target]*openings{all, same} {
		for _, o := range index {
			slices.SortStableFunc(o.flows, func(a, b Flow) int { return a.Begin.Compare(b.Begin) })
			o.edges = make([]int, len(o.flows)+1)
		}
	}
	return all, same
}

// openings are flows in the order of their beginning, and how many flows claim each as their continuation.
type openings struct {
	flows []Flow
	edges []int // where claimed ranges begin (+1) and end (-1)
}

// during returns the range of those that began while f lived, without f itself.
func (o *openings) during(f Flow) (lo, hi int) {
	lo = sort.Search(len(o.flows), func(i int) bool { return !o.flows[i].Begin.Before(f.Begin) })
	hi = len(o.flows)
	if !f.End.IsZero() {
		hi = sort.Search(len(o.flows), func(i int) bool { return o.flows[i].Begin.After(f.End) })
	}
	// A flow that its own taker opened (a loop) is the first of the range, as no other began before it.
	for lo < hi && o.flows[lo].ID <= f.ID {
		lo++
	}
	return lo, max(lo, hi)
}

// openAt lists the IDs of those that began before a time and had not ended then, the latest maxCandidates of them.
func (o *openings) openAt(at time.Time) []int {
	var out []int
	before := sort.Search(len(o.flows), func(i int) bool { return !o.flows[i].Begin.Before(at) })
	for i := before - 1; i >= 0 && len(out) < maxCandidates; i-- {
		if f := o.flows[i]; f.End.IsZero() || !f.End.Before(at) {
			out = append(out, f.ID)
		}
	}
	slices.Reverse(out)
	return out
}

func (o *openings) claim(lo, hi int) {
	o.edges[lo]++
	o.edges[hi]--
}

// settle adds how often each flow was claimed to claims, by ID-1.
func (o *openings) settle(claims []int) {
	n := 0
	for i, f := range o.flows {
		n += o.edges[i]
		claims[f.ID-1] += n
	}
}

// reached names the far end of a flow.
func (j judge) reached(f Flow) string {
	switch {
	case f.Taker != "" && f.Taker != World:
		return f.Taker
	case j.name != nil:
		if name := j.name(f.Destination); name != "" {
			return name
		}
	}
	return f.Destination.String()
}
