package intercept

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// Port is the range of one port.
func Port(p uint16) PortRange { return PortRange{p, p} }

// String is "80" or "4000-5000".
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Contains reports whether port is in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Ports is a set of ports: all of them, or those listed.
type Ports struct {
	All  bool
	List []PortRange
}

// CIDRs is a set of addresses: all of them, or those listed.
type CIDRs struct {
	All  bool
	List []netip.Prefix
}

// IPv6 says what becomes of IPv6 traffic.
type IPv6 uint8

const (
	// IPv6Capture treats IPv6 as IPv4, as Istio's nftables backend and Linkerd do.
	IPv6Capture IPv6 = iota
	// IPv6Bypass leaves IPv6 alone, as Istio's iptables backend does on a pod whose first address is IPv4.
	IPv6Bypass
)

// A Config says what a proxy is to get. Begin with Default; the zero Config has no profile and renders to an error.
// A rule's place is the profile's business, not that of a field's place here: exclusion wins over inclusion (T15).
type Config struct {
	Profile Profile

	// OutboundPort and InboundPort are where the proxy listens.
	OutboundPort, InboundPort uint16
	// TunnelPort is never redirected (Istio's HBONE port, 15008); 0: the profile has none.
	TunnelPort uint16
	// ProxyUIDs and ProxyGIDs are exempt, each alone (T11).
	ProxyUIDs, ProxyGIDs []uint32
	// ExcludeUIDs are exempt as well, without being the proxy.
	ExcludeUIDs []uint32

	// IncludeInbound are the ports whose inbound traffic is redirected; ExcludeInbound are taken out of all of them.
	IncludeInbound Ports
	ExcludeInbound []PortRange
	// ExcludeSources are sources whose inbound traffic is not redirected. Linkerd only.
	ExcludeSources []netip.Prefix

	// IncludeOutbound are the destinations that are redirected. IncludeOutboundPorts are redirected in any case,
	// whatever the destination. ExcludeOutbound and ExcludeOutboundPorts are not.
	IncludeOutbound      CIDRs
	IncludeOutboundPorts []PortRange
	ExcludeOutbound      []netip.Prefix
	ExcludeOutboundPorts []PortRange

	// ExcludeInterfaces are links whose traffic is left alone in both directions. Istio only.
	ExcludeInterfaces []string

	IPv6 IPv6
}

// Default is what the profile does when nothing else is asked for: everything is redirected, but for the
// proxy's own traffic, loopback, and the ports of the mesh itself.
func Default(p Profile) (Config, error) {
	c := Config{Profile: p, IncludeInbound: Ports{All: true}, IncludeOutbound: CIDRs{All: true}}
	switch p {
	case Istio:
		c.OutboundPort, c.InboundPort, c.TunnelPort = 15001, 15006, 15008
		c.ProxyUIDs, c.ProxyGIDs = []uint32{1337}, []uint32{1337}
		c.ExcludeInbound = []PortRange{Port(15090), Port(15021), Port(15020)}
	case Linkerd:
		c.OutboundPort, c.InboundPort = 4140, 4143
		c.ProxyUIDs = []uint32{2102}
		c.ExcludeInbound = []PortRange{Port(4190), Port(4191)}
	default:
		return Config{}, fmt.Errorf("interception profile %v has no defaults", p)
	}
	return c, nil
}

// check says what in the config cannot be, or cannot be under its profile.
func (c Config) check() error {
	var errs []error
	reject := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	reject(c.OutboundPort == 0, "the proxy's outbound port is missing")
	reject(c.InboundPort == 0, "the proxy's inbound port is missing")
	reject(len(c.ProxyUIDs)+len(c.ProxyGIDs) == 0, "neither a uid nor a gid of the proxy is exempt: its own traffic would loop")
	reject(c.IPv6 > IPv6Bypass, "unknown IPv6 mode %d", c.IPv6)
	for _, ports := range [][]PortRange{c.IncludeInbound.List, c.ExcludeInbound, c.IncludeOutboundPorts, c.ExcludeOutboundPorts} {
		for _, r := range ports {
			reject(r.First == 0 || r.First > r.Last, "ports %d-%d are no range", r.First, r.Last)
		}
	}
	for _, cidrs := range [][]netip.Prefix{c.IncludeOutbound.List, c.ExcludeOutbound, c.ExcludeSources} {
		for _, p := range cidrs {
			reject(!p.IsValid(), "an address range is not valid")
		}
	}
	for _, link := range c.ExcludeInterfaces {
		reject(!isLinkName(link), "%q is no link's name", link)
	}
	reject(c.IncludeInbound.All && len(c.IncludeInbound.List) > 0, "inbound ports are all included and listed at once")
	reject(c.IncludeOutbound.All && len(c.IncludeOutbound.List) > 0, "outbound addresses are all included and listed at once")
	switch c.Profile {
	case Istio:
		reject(len(c.ExcludeSources) > 0, "the istio profile cannot exclude sources")
	case Linkerd:
		reject(!c.IncludeInbound.All, "the linkerd profile redirects all inbound ports but the excluded ones")
		reject(!c.IncludeOutbound.All || len(c.IncludeOutboundPorts) > 0, "the linkerd profile redirects all outbound traffic but the excluded ports")
		reject(len(c.ExcludeOutbound) > 0, "the linkerd profile cannot exclude destinations, only ports and sources")
		reject(len(c.ExcludeInterfaces) > 0, "the linkerd profile cannot exclude links")
		reject(c.TunnelPort != 0, "the linkerd profile has no tunnel port")
	default:
		reject(true, "interception profile %v is not known", c.Profile)
	}
	return errors.Join(errs...)
}

// capturesLoopback reports whether loopback is among the destinations listed: Istio then redirects it too.
func (c Config) capturesLoopback() bool {
	return slices.ContainsFunc(c.IncludeOutbound.List, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
}

// isLinkName reports whether the kernel and nft both take a link's name, and neither takes it for a pattern.
func isLinkName(s string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:"*\`, r) }
	return s != "" && s != "." && s != ".." && len(s) <= 15 && !strings.ContainsFunc(s, odd)
}
