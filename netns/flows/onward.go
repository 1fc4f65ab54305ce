package flows

import (
	"fmt"
	"net/netip"
	"time"
)

// onward links each flow that a container took to the flow that the container opened because of it.
//
// The candidates of a flow are what its taker opened while it lived: those with the same destination if there are any, else
// all. A candidate is the one if it is alone and is nobody else's candidate. A connection to the same destination
// that was open already may be used again (a pool): it is a candidate, and never certain.
func (j judge) onward(flows []Flow) {
	byOpener := make(map[string][]int) // indices, in order of opening
	for i, f := range flows {
		if f.Opener != "" && f.Opener != World {
			byOpener[f.Opener] = append(byOpener[f.Opener], i)
		}
	}
	candidates := make([][]int, len(flows))
	claims := make(map[int]int)
	fresh := make([]bool, len(flows))
	for i, f := range flows {
		if f.Taker == "" || f.Taker == World || f.Verdict == Refused || f.Verdict == Dropped {
			continue
		}
		candidates[i], fresh[i] = j.candidates(flows, f, byOpener[f.Taker])
		for _, c := range candidates[i] {
			claims[c]++
		}
	}
	for i, found := range candidates {
		switch {
		case len(found) == 0:
		case len(found) == 1 && fresh[i] && claims[found[0]] == 1:
			next := flows[found[0]]
			flows[i].Onward, flows[i].OnwardTo = next.ID, j.reached(next)
		default:
			for _, c := range found {
				flows[i].Candidates = append(flows[i].Candidates, flows[c].ID)
			}
		}
	}
}

// candidates lists which of the taker's own flows may be f's continuation. It reports whether they were opened
// while f lived.
func (j judge) candidates(flows []Flow, f Flow, opened []int) (found []int, fresh bool) {
	var same, other, pooled []int
	for _, i := range opened {
		g := flows[i]
		switch {
		case g.ID == f.ID || g.Protocol != f.Protocol:
		case g.ID > f.ID && alive(f, g.Begin):
			if j.sameTarget(f, g) {
				same = append(same, i)
			} else {
				other = append(other, i)
			}
		case g.ID < f.ID && alive(g, f.Begin) && j.sameTarget(f, g):
			pooled = append(pooled, i)
		}
	}
	switch {
	case len(same) > 0:
		return same, true
	case len(pooled) > 0:
		return pooled, false
	}
	return other, true
}

// sameTarget reports whether g goes where f wanted to. What came in from outside goes on to the same port of any
// of the namespace's addresses.
func (j judge) sameTarget(f, g Flow) bool {
	if g.Destination == f.Destination {
		return true
	}
	return j.isLocal(f.Destination.Addr()) && j.isLocal(g.Destination.Addr()) && f.Destination.Port() == g.Destination.Port()
}

func alive(f Flow, at time.Time) bool {
	return !at.Before(f.Begin) && (f.End.IsZero() || !at.After(f.End))
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

// loops finds the loops that go through the inbound listener where the policy sends the proxy's calls to
// the pod itself there. Each such call needs a cause: a flow that the proxy took from somebody else. If more of
// them to one destination are alive than causes, the proxy is calling itself.
func (j judge) loops(flows []Flow, entries []*entry) {
	if !j.policy.ProxyToSelf {
		return
	}
	hairpins := make(map[netip.AddrPort][]int)
	var causes []int
	for i, f := range flows {
		switch {
		case f.Verdict != Captured:
		case f.Opener == j.policy.Proxy:
			hairpins[f.Destination] = append(hairpins[f.Destination], i)
		default:
			causes = append(causes, i)
		}
	}
	for _, same := range hairpins {
		for n, i := range same {
			f := &flows[i]
			calls := countAlive(flows, same[:n], f.Begin) + 1
			if caused := countAlive(flows, causes, f.Begin); calls > caused {
				f.Verdict = Looped
				f.Reason = fmt.Sprintf("the proxy has %d connections to itself at once, and only %d to cause them", calls, caused)
			}
		}
	}
}

func countAlive(flows []Flow, among []int, at time.Time) int {
	n := 0
	for _, i := range among {
		if alive(flows[i], at) {
			n++
		}
	}
	return n
}
