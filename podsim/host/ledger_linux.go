package host

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/podsim/podsim/netns/flows"
	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/podsim/pod"
)

// A ledger is the recorder of one pod's flows. Its zero value is not loaded.
type ledger struct {
	mu       sync.Mutex
	recorder *flows.Recorder
	why      string      // why it is not loaded, if that was tried
	last     *pod.Ledger // the last snapshot, once the recorder is closed
}

// tried reports whether it was loaded, or could not be.
func (l *ledger) tried() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recorder != nil || l.why != "" || l.last != nil
}

// loadLedger starts the pod's flow ledger, and tracks the containers that run already; the others are tracked as they
// start. Where that cannot be, the run goes on without, and every check that needs it is inconclusive.
func (p *podHost) loadLedger(ctx context.Context, when string) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	r, err := p.openLedger()
	if err != nil {
		p.ledger.why = err.Error()
		p.host.warn(p.spec().Name, "", "flows are not recorded: "+p.ledger.why)
		return
	}
	p.ledger.recorder = r
	p.host.note(ctx, pod.Event{Action: pod.Action{Pod: p.spec().Name}, Note: pod.NoteLedger, Detail: "loaded " + when})
}

func (p *podHost) openLedger() (*flows.Recorder, error) {
	mount, err := flows.CgroupMount()
	if err != nil {
		return nil, err
	}
	r, err := flows.Load(flows.Config{Netns: p.pins.Net, Policy: p.policy(), Name: p.host.nameOf})
	if err != nil {
		return nil, err
	}
	for c := range p.all() {
		name := c.spec().Name
		if !c.isStarted() {
			continue
		}
		if err := r.Track(name, filepath.Join(mount, p.host.cfg.Site.cgroup(p.id, name))); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// track has the ledger know a container's cgroup, before the container's first process runs.
func (p *podHost) track(_ context.Context, name string) error {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	if p.ledger.recorder == nil {
		return nil
	}
	mount, err := flows.CgroupMount()
	if err != nil {
		return err
	}
	return p.ledger.recorder.Track(name, filepath.Join(mount, p.host.cfg.Site.cgroup(p.id, name)))
}

// flows answers OpFlows.
func (p *podHost) flows(ctx context.Context) (pod.Event, error) {
	l, err := p.ledger.snapshot(ctx, p.spec().Name)
	if err != nil {
		return pod.Event{}, err
	}
	return pod.Event{Ledger: l}, nil
}

// keepLedger takes the last snapshot before the pod's namespace goes.
func (p *podHost) keepLedger(ctx context.Context) {
	l, err := p.ledger.snapshot(ctx, p.spec().Name)
	if err != nil {
		l = &pod.Ledger{Why: err.Error()}
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.ledger.last = l
}

func (l *ledger) snapshot(ctx context.Context, podName string) (*pod.Ledger, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.last != nil:
		return l.last, nil
	case l.why != "":
		return &pod.Ledger{Why: l.why}, nil
	case l.recorder == nil:
		return &pod.Ledger{Why: "the flow ledger was never loaded: no interception rules were seen in the pod"}, nil
	}
	snap, err := l.recorder.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	out := &pod.Ledger{Complete: snap.Complete, Why: snap.Why}
	for _, f := range snap.Flows {
		out.Flows = append(out.Flows, flowOf(podName, f))
	}
	return out, nil
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recorder == nil {
		return nil
	}
	err := l.recorder.Close()
	l.recorder = nil
	return err
}

// verdicts are the ledger's, in the pod's words.
var verdicts = map[flows.Verdict]pod.Verdict{
	flows.Captured: pod.Captured, flows.Direct: pod.Direct, flows.Exempt: pod.Exempt, flows.Bypass: pod.Bypass,
	flows.PreRule: pod.PreRule, flows.Refused: pod.Refused, flows.Dropped: pod.Dropped, flows.Looped: pod.Looped,
	flows.Escaped: pod.Escaped, flows.Unproxied: pod.Unproxied,
}

func flowOf(podName string, f flows.Flow) pod.Flow {
	return pod.Flow{
		ID: f.ID, Pod: podName, Protocol: f.Protocol, Begin: f.Begin, End: f.End,
		Opener: f.Opener, Source: f.Source.String(), Destination: f.Destination.String(),
		Verdict: verdicts[f.Verdict], Reason: f.Reason, Taker: f.Taker, Listener: f.Listener,
		Onward: f.Onward, OnwardTo: f.OnwardTo, Candidates: f.Candidates,
	}
}

// policy is what interception there should be, for the ledger's verdicts.
func (p *podHost) policy() flows.Policy {
	in := p.host.cfg.Intercept
	if in == nil {
		return flows.Policy{}
	}
	out := flows.Policy{Proxy: in.Proxy}
	if in.Rules == nil {
		out.Outbound.Port, out.Inbound.Port = int(in.OutboundPort), int(in.InboundPort)
		return out
	}
	c := in.Rules
	out.Outbound = flows.Capture{
		Port: int(c.OutboundPort), Ports: listed(c.IncludeOutboundPorts), ExceptPorts: listed(c.ExcludeOutboundPorts),
		ExceptCIDRs: c.ExcludeOutbound,
	}
	if !c.IncludeOutbound.All {
		out.Outbound.CIDRs = c.IncludeOutbound.List
		if len(c.IncludeOutbound.List)+len(c.IncludeOutboundPorts) == 0 {
			out.Outbound.Port = 0 // to the ledger, empty lists mean everything
		}
	}
	out.Inbound = flows.Capture{Port: int(c.InboundPort), ExceptPorts: listed(c.ExcludeInbound), ExceptCIDRs: c.ExcludeSources}
	if !c.IncludeInbound.All {
		out.Inbound.Ports = listed(c.IncludeInbound.List)
		if len(c.IncludeInbound.List) == 0 {
			out.Inbound.Port = 0
		}
	}
	if c.TunnelPort != 0 {
		out.Inbound.ExceptPorts = append(out.Inbound.ExceptPorts, flows.PortRange{First: c.TunnelPort, Last: c.TunnelPort})
	}
	out.UIDs = append(append(out.UIDs, c.ProxyUIDs...), c.ExcludeUIDs...)
	out.GIDs, out.Interfaces = c.ProxyGIDs, c.ExcludeInterfaces
	out.ProxyToSelf = c.Profile == intercept.Istio
	out.IPv6 = c.IPv6 == intercept.IPv6Capture
	return out
}

// listed are the ranges in the ledger's words.
func listed(ranges []intercept.PortRange) []flows.PortRange {
	var out []flows.PortRange
	for _, r := range ranges {
		out = append(out, flows.PortRange(r))
	}
	return out
}

// nameOf names an address outside the pods: the stub that answers there.
func (h *Host) nameOf(a netip.AddrPort) string {
	if h.world == nil {
		return ""
	}
	for _, s := range h.world.stubs {
		for _, own := range s.Addresses {
			if own == a.Addr().Unmap() {
				return s.Name
			}
		}
	}
	return ""
}
