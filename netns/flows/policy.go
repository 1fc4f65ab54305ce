package flows

import (
	"fmt"
	"net/netip"
)

// A Policy declares what interception there should be. The zero value declares none: every flow that was answered
// is Unproxied.
//
// Verdicts are found in this order: no proxy (Refused, Dropped or Unproxied); Looped; Captured, which is a fact
// whatever was declared; PreRule; Refused and Dropped of a flow that was redirected to the proxy or need not be;
// Direct; Exempt; Escaped; and what is left is Bypass, refused or not.
type Policy struct {
	// Proxy is the container that should take the traffic.
	Proxy string
	// Outbound is what should be captured of what the other containers open, by destination; Inbound of what comes
	// in from outside, by destination port and source address.
	Outbound, Inbound Capture
	// DNSPort is the proxy's listener for captured queries to port 53; 0: DNS is not captured.
	DNSPort int
	// UIDs, GIDs and Marks exempt what a process of that identity opens, or a socket with that mark.
	UIDs, GIDs []uint32
	Marks      []Mark
	// Interfaces exempts what goes out, or comes in, by a link of that name.
	Interfaces []string
	// CapturesSelf: a container's connection to 127.0.0.2 or the pod's own address is captured, as by Consul, and
	// not Direct. 127.0.0.1 and ::1 are always Direct.
	CapturesSelf bool
	// ProxyToSelf: the proxy's own connections to the pod's address go to its inbound listener, as by Istio.
	ProxyToSelf bool
	// IPv6 is captured like IPv4. If not, it is Escaped.
	IPv6 bool
}

// A Capture is one direction of a Policy.
type Capture struct {
	// Port is the proxy's listener; 0: nothing is captured in this direction.
	Port int
	// Ports and CIDRs, if either is not empty, limit the capture to what one of them names. ExceptPorts and
	// ExceptCIDRs are left out of it and win.
	Ports, ExceptPorts []PortRange
	CIDRs, ExceptCIDRs []netip.Prefix
}

// A PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

func contains(ranges []PortRange, port int) bool {
	for _, r := range ranges {
		if int(r.First) <= port && port <= int(r.Last) {
			return true
		}
	}
	return false
}

// A Mark is a packet mark under a mask; a zero Mask is all bits.
type Mark struct{ Value, Mask uint32 }

// covers reports whether a connection should be captured, and if not, why.
func (c Capture) covers(port int, addr netip.Addr) (bool, string) {
	if c.Port == 0 {
		return false, "this direction is not captured"
	}
	if contains(c.ExceptPorts, port) {
		return false, fmt.Sprintf("port %d is excluded", port)
	}
	if p, ok := containing(c.ExceptCIDRs, addr); ok {
		return false, fmt.Sprintf("%s is excluded", p)
	}
	if len(c.Ports) == 0 && len(c.CIDRs) == 0 {
		return true, ""
	}
	if _, ok := containing(c.CIDRs, addr); ok || contains(c.Ports, port) {
		return true, ""
	}
	return false, "not among the included ports and CIDRs"
}

func containing(prefixes []netip.Prefix, addr netip.Addr) (netip.Prefix, bool) {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// validate reports what makes no sense.
func (p Policy) validate() error {
	if p.Proxy == "" {
		return nil
	}
	if p.Proxy == World {
		return fmt.Errorf("%q cannot be the proxy: it is the name of what lies outside", World)
	}
	for _, port := range []int{p.Outbound.Port, p.Inbound.Port, p.DNSPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("%d is no port", port)
		}
	}
	return nil
}
