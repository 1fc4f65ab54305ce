package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/world"
	"github.com/podsim/podsim/podsim/pod"
)

// A worldHost is the run's world: a namespace beside the pods', on the same network, in which the stubs listen.
type worldHost struct {
	host    *Host
	mu      sync.Mutex   // one attempt at a time, whichever pod's
	stubs   []world.Stub // with all their addresses
	pins    netns.Pins
	made    *stage
	via     netip.Addr // the world's address on the pods' network
	via6    netip.Addr // the same in IPv6; invalid where it has none
	servers *world.World
}

func newWorldHost(h *Host) *worldHost {
	return &worldHost{host: h, made: newStage(), pins: netns.Pins{Net: netns.PinsIn(h.cfg.Site.pod(worldID(h.id))).Net}}
}

// open makes the world with the first pod that needs it, and waits for it with the others.
func (w *worldHost) open(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made.do(func() error { return w.make(ctx) })
}

func (w *worldHost) make(ctx context.Context) error {
	if w.host.network.none {
		return errors.New("open the world: stubs need a network, and this run has none (--no-network)")
	}
	if err := w.address(); err != nil {
		return err
	}
	if err := os.MkdirAll(w.host.cfg.Site.pod(worldID(w.host.id)), 0o711); err != nil {
		return fmt.Errorf("make the world's directory: %w", err)
	}
	if err := w.pins.Remove(); err != nil { // of an attempt that failed half-way
		return err
	}
	if err := w.pins.Create(netns.PinOptions{}); err != nil {
		return err
	}
	result, err := w.host.network.cni.Attach(ctx, w.host.attachment(worldID(w.host.id)))
	if err != nil {
		return err
	}
	if len(result.IPs) == 0 {
		return errors.New("open the world: the network's plugin gave it no address")
	}
	w.via, w.via6 = result.IPs[0].Addr(), netip.Addr{}
	for _, p := range result.IPs[1:] {
		if p.Addr().Is6() {
			w.via6 = p.Addr()
		}
	}
	offline := w.host.cfg.World.Offline
	if err := world.Prepare(w.pins.Net, w.all(), offline); err != nil {
		return err
	}
	c := world.Config{Netns: w.pins.Net, Stubs: w.stubs, DNS: world.DNSAddress, OnConnection: w.connected}
	if !offline {
		if c.Forward, err = world.HostResolvers(hostResolv); err != nil {
			return err
		}
	}
	w.servers, err = world.Open(ctx, c)
	return err
}

// address gives each stub its address.
func (w *worldHost) address() error {
	w.stubs = nil
	for i, s := range w.host.cfg.World.Stubs {
		a, err := world.StubAddress(i)
		if err != nil {
			return err
		}
		s.Addresses = append([]netip.Addr{a}, s.Addresses...)
		w.stubs = append(w.stubs, s)
	}
	return nil
}

// all are the addresses that the world has: the stubs' and the resolver's.
func (w *worldHost) all() []netip.Addr {
	out := []netip.Addr{world.DNSAddress}
	for _, s := range w.stubs {
		out = append(out, s.Addresses...)
	}
	return out
}

// lead leads a pod's packets to the world: those for the world's own prefix, for the addresses that stubs name
// themselves, and, offline, all others; of IPv6, in which stubs have no addresses, offline all.
func (w *worldHost) lead(netnsPath string, r netns.Result) error {
	onLink := slices.ContainsFunc(r.IPs, func(p netip.Prefix) bool { return p.Contains(w.via) })
	if !onLink {
		return fmt.Errorf("lead the pod to its stubs: the world's address %s is on none of the pod's links %v; use podsim's own network, or one whose pods share a link", w.via, r.IPs)
	}
	prefixes := []netip.Prefix{world.Prefix}
	for _, a := range w.all() {
		if !world.Prefix.Contains(a) {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	offline := w.host.cfg.World.Offline
	if err := world.Lead(netnsPath, w.via, prefixes, offline); err != nil {
		return err
	}
	if !offline || !slices.ContainsFunc(r.IPs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		return nil
	}
	var via netip.Addr
	if slices.ContainsFunc(r.IPs, func(p netip.Prefix) bool { return p.Contains(w.via6) }) {
		via = w.via6
	}
	return world.CloseIPv6(netnsPath, via)
}

// connected puts a stub's connection on the timeline before the stub answers, so that whoever waits for the answer
// finds it there.
func (w *worldHost) connected(c world.Connection) {
	if c.Request > 1 {
		return // the connection is known
	}
	w.host.note(w.host.life, pod.Event{
		Time: c.Time, Note: pod.NoteConnected, Subject: c.Stub,
		Connection: &pod.Connection{
			Source: c.Source.String(), Target: c.Target.String(), First: string(c.First),
			Method: c.Method, Path: c.Path, Host: c.Host,
		},
	})
}

func (w *worldHost) close() error {
	if w.servers == nil {
		return nil
	}
	err := w.servers.Close()
	w.servers = nil
	return err
}
