package world

import (
	"net/netip"
)

// A Config is what a World is opened with.
type Config struct {
	// Netns is the path of the world's namespace; Prepare has given it its addresses. Empty: the process's own.
	Netns string
	Stubs []Stub
	// OnConnection is told of every connection before its client gets an answer: the answer waits for its return.
	// It is called from several goroutines at once. It may be nil.
	OnConnection func(Connection)

	// DNS is where the resolver listens, on port 53 of udp and tcp; the zero value: there is none.
	DNS netip.Addr
	// Names are resolved beside the stubs': pods and services under cluster.local, for instance. Case and a final dot
	// do not matter.
	Names map[string][]netip.Addr
	// Forward are the servers (host:port) that unknown names are asked of, from the process's own namespace. None:
	// the world is offline, and unknown names are answered with NXDOMAIN.
	Forward []string
}
