package netns

import (
	"fmt"
	"net/netip"
	"strconv"
)

// A HostPort is a port of the machine that leads into an attached namespace (NW-04).
type HostPort struct {
	// Protocol is tcp, udp or sctp.
	Protocol string `json:"protocol"`
	// Port is the machine's.
	Port uint16 `json:"port"`
	// IP is the machine's address that has the port; not valid: all of them, 127.0.0.1 too.
	IP netip.Addr `json:"ip,omitzero"`
	// Target is the namespace's port.
	Target uint16 `json:"target"`
}

// String is "8080/tcp", or "127.0.0.1:8080/tcp" with an address.
func (p HostPort) String() string {
	if !p.IP.IsValid() {
		return strconv.Itoa(int(p.Port)) + "/" + p.Protocol
	}
	return netip.AddrPortFrom(p.IP, p.Port).String() + "/" + p.Protocol
}

// Clashes reports whether both ports cannot be there at once.
func (p HostPort) Clashes(o HostPort) bool {
	return p.Port == o.Port && p.Protocol == o.Protocol && (p.IP == o.IP || !p.IP.IsValid() || !o.IP.IsValid())
}

// A TakenError says that a port of the machine belongs to something else already.
type TakenError struct {
	Port HostPort
	// By says what has it, as far as that is known.
	By string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("port %s of this machine is taken by %s (stop that, or choose another hostPort)", e.Port, e.By)
}
