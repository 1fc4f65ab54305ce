package flows

import "net/netip"

// A Config is what a Recorder is loaded with.
type Config struct {
	// Netns is the path at which the pod's network namespace is pinned.
	Netns string
	// Policy is what interception there should be.
	Policy Policy
	// Name names an address outside the pod, for Flow.OnwardTo; nil, or an empty name: the address itself. It is
	// called from Snapshot.
	Name func(netip.AddrPort) string
}
