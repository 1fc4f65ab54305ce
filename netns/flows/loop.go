package flows

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// loops finds the loops that go through the inbound listener where the policy sends the proxy's calls to
// the pod itself there. Each such call needs a cause: a flow that the proxy took from somebody else. If more of
// them to one destination are alive than causes, the proxy is calling itself.
func (j judge) loops(flows []Flow) {
	if !j.policy.ProxyToSelf {
		return
	}
	calls := make(map[netip.AddrPort]*spans)
	var causes spans
	for _, f := range flows {
		switch {
		case f.Verdict != Captured:
		case f.Opener != j.policy.Proxy:
			causes.add(f)
		case calls[f.Destination] == nil:
			calls[f.Destination] = &spans{}
			fallthrough
		default:
			calls[f.Destination].add(f)
		}
	}
	causes.sort()
	for _, s := range calls {
		s.sort()
	}
	for i := range flows {
		f := &flows[i]
		if f.Verdict != Captured || f.Opener != j.policy.Proxy {
			continue
		}
		own, caused := calls[f.Destination].alive(f.Begin), causes.alive(f.Begin)
		if own > caused {
			f.Verdict = Looped
			f.Reason = fmt.Sprintf("the proxy has %d connections to itself at once, and only %d to cause them", own, caused)
		}
	}
}

// spans are the beginnings and ends of flows.
type spans struct{ begins, ends []time.Time }

func (s *spans) add(f Flow) {
	s.begins = append(s.begins, f.Begin)
	if !f.End.IsZero() {
		s.ends = append(s.ends, f.End)
	}
}

func (s *spans) sort() {
	slices.SortFunc(s.begins, time.Time.Compare)
	slices.SortFunc(s.ends, time.Time.Compare)
}

// alive counts the flows that had begun at a time, and not ended before it.
func (s *spans) alive(at time.Time) int {
	begun := sort.Search(len(s.begins), func(i int) bool { return s.begins[i].After(at) })
	ended := sort.Search(len(s.ends), func(i int) bool { return !s.ends[i].Before(at) })
	return begun - ended
}
