package flows

import (
	"net/netip"
	"slices"
	"sort"
	"time"
)

// maxCandidates bounds Flow.Candidates.
const maxCandidates = 64

// onward links each flow that the proxy took to the flow that the proxy opened because of it.
//
// The candidates of a flow are what the proxy opened to the same destination while it lived. A candidate is the one if
// it is alone and is nobody else's candidate. A connection to that destination that was open already may be used again
// (a pool), and the proxy may have gone elsewhere: such flows are candidates where there are no better ones, and never
// certain.
func (j judge) onward(flows []Flow) {
	all, same := j.openings(flows)
	fresh := make([]window, len(flows))
	for i := range flows {
		f := &flows[i]
		if f.Taker != j.policy.Proxy || f.Taker == "" || f.Verdict == Refused || f.Verdict == Dropped {
			continue
		}
		t := target{protocol: f.Protocol}
		any := all[t]
		t.address = j.where(f.Destination)
		fresh[i] = same[t].during(f)
		fresh[i].claim()
		if len(fresh[i].flows()) > 0 {
			continue
		}
		if f.Candidates = same[t].openAt(f.Begin); f.Candidates == nil {
			f.Candidates = ids(any.during(f).flows())
		}
	}
	claims := make([]int, len(flows))
	for _, o := range same {
		o.settle(claims)
	}
	for i := range flows {
		switch found := fresh[i].flows(); {
		case len(found) == 1 && claims[found[0].ID-1] == 1:
			flows[i].Onward, flows[i].OnwardTo = found[0].ID, j.reached(found[0])
		case len(found) > 0:
			flows[i].Candidates = ids(found)
		}
	}
}

// ids lists at most the first maxCandidates IDs.
func ids(flows []*Flow) []int {
	var out []int
	for _, f := range flows[:min(len(flows), maxCandidates)] {
		out = append(out, f.ID)
	}
	return out
}

// A target is what the proxy's flows are looked up by; a zero address is anywhere.
type target struct {
	protocol string
	address  netip.AddrPort
}

// where is a destination, with all of the namespace's own addresses taken for one: what came in from outside
// goes on to the same port of any of them.
func (j judge) where(a netip.AddrPort) netip.AddrPort {
	if j.isLocal(a.Addr()) {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return a
}

// openings indexes what the proxy opened, by protocol alone and with the destination.
func (j judge) openings(flows []Flow) (all, same map[target]*openings) {
	all, same = make(map[target]*openings), make(map[target]*openings)
	add := func(index map[target]*openings, t target, f *Flow) {
		if index[t] == nil {
			index[t] = &openings{}
		}
		index[t].flows = append(index[t].flows, f)
	}
	for i := range flows {
		f := &flows[i]
		if f.Opener == j.policy.Proxy && f.Opener != "" {
			add(all, target{protocol: f.Protocol}, f)
			add(same, target{f.Protocol, j.where(f.Destination)}, f)
		}
	}
	for _, index := range []map[target]*openings{all, same} {
		for _, o := range index {
			slices.SortStableFunc(o.flows, func(a, b *Flow) int { return a.Begin.Compare(b.Begin) })
			o.edges = make([]int, len(o.flows)+1)
		}
	}
	return all, same
}

// openings are flows in the order of their beginning, and how many flows claim each as their continuation. A nil
// one has no flows.
type openings struct {
	flows []*Flow
	edges []int // where claimed windows begin (+1) and end (-1)
}

// A window is a range of openings; the zero value is empty.
type window struct {
	of     *openings
	lo, hi int
}

func (w window) flows() []*Flow {
	if w.of == nil {
		return nil
	}
	return w.of.flows[w.lo:w.hi]
}

// claim notes that a flow has the window's flows as candidates.
func (w window) claim() {
	if w.of != nil {
		w.of.edges[w.lo]++
		w.of.edges[w.hi]--
	}
}

// during returns those that began while f lived, without f itself.
func (o *openings) during(f *Flow) window {
	if o == nil {
		return window{}
	}
	lo := sort.Search(len(o.flows), func(i int) bool { return !o.flows[i].Begin.Before(f.Begin) })
	hi := len(o.flows)
	if !f.End.IsZero() {
		hi = sort.Search(len(o.flows), func(i int) bool { return o.flows[i].Begin.After(f.End) })
	}
	// Only one that its own taker opened (a loop) is in its own window, as the first: none there began before it.
	for lo < hi && o.flows[lo].ID <= f.ID {
		lo++
	}
	return window{o, lo, max(lo, hi)}
}

// openAt lists the IDs of those that began before a time and had not ended then, the latest maxCandidates of them.
func (o *openings) openAt(at time.Time) []int {
	if o == nil {
		return nil
	}
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

// settle adds how often each flow was claimed to claims, by ID-1.
func (o *openings) settle(claims []int) {
	n := 0
	for i, f := range o.flows {
		n += o.edges[i]
		claims[f.ID-1] += n
	}
}

// reached names the far end of a flow.
func (j judge) reached(f *Flow) string {
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
