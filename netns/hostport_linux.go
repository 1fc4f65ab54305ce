package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// Ports of the machine are rules in the uplink's tables, in chains of their own:
//
//	table ip podsim {
//		chain hostports {
//			type nat hook prerouting priority dstnat;
//			fib daddr type local tcp dport 8080 dnat to 10.222.0.2:80 comment "podsim0 ID 8080/tcp"
//		}
//		chain hostports_output { type nat hook output priority dstnat; ... the same, for the machine itself }
//		chain hostports_return {               # what would otherwise not come back the way it went
//			type nat hook postrouting priority srcnat;
//			ip saddr 127.0.0.0/8 oifname "podsim0" ct status dnat masquerade comment "podsim0 ID"
//			ip saddr 10.222.0.0/20 oifname "podsim0" ct status dnat masquerade comment "podsim0 ID"
//		}
//		chain hostports_guard {                # 127.0.0.1 is routed for the bridge, and for nobody on it
//			type filter hook prerouting priority raw;
//			iifname "podsim0" ip daddr 127.0.0.0/8 drop comment "podsim0 ID"
//		}
//	}
//
// The machine's ::1 leads nowhere: the kernel routes no packet of it.
const (
	portsIn     = "hostports"
	portsOutput = "hostports_output"
	portsReturn = "hostports_return"
	portsGuard  = "hostports_guard"
)

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

// portChain is a chain of the family's table for ports, as it is made.
func (f family) portChain(name string) *nftables.Chain {
	c := &nftables.Chain{Table: &nftables.Table{Family: f.tables(), Name: uplinkTable}, Name: name, Type: nftables.ChainTypeNAT}
	switch name {
	case portsIn:
		c.Hooknum, c.Priority = nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest
	case portsOutput:
		c.Hooknum, c.Priority = nftables.ChainHookOutput, nftables.ChainPriorityNATDest
	case portsReturn:
		c.Hooknum, c.Priority = nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource
	case portsGuard:
		c.Type, c.Hooknum, c.Priority = nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw
	}
	return c
}

func isPortChain(name string) bool {
	return slices.Contains([]string{portsIn, portsOutput, portsReturn, portsGuard}, name)
}

// publish makes the attachment's ports lead to its addresses, in one transaction. A port that another attachment
// has, of whatever state directory, is a *TakenError.
func (a Attachment) publish(ctx context.Context, own ownConf, addrs []netip.Prefix) error {
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := readUplink()
	if err != nil {
		return err
	}
	if _, err := u.withdraw(own.Bridge, a.ContainerID); err != nil {
		return err
	}
	if err := u.checkPorts(own.Bridge, a.ContainerID, a.Ports); err != nil {
		return err
	}
	local := false
	for _, addr := range addrs {
		f, subnet := ip4, own.Subnet
		if addr.Addr().Is6() {
			f, subnet = ip6, own.Subnet6
		}
		var ports []HostPort
		for _, p := range a.Ports {
			if !p.IP.IsValid() || p.IP.Is4() == addr.Addr().Is4() {
				ports = append(ports, p)
				local = local || f == ip4 && (!p.IP.IsValid() || p.IP.IsLoopback())
			}
		}
		if len(ports) > 0 {
			u.publish(f, own.Bridge, subnet, a.ContainerID, addr.Addr(), ports)
		}
	}
	if err := u.conn.Flush(); err != nil {
		return fmt.Errorf("write nftables rules for ports: %w", notRoot(err))
	}
	if !local {
		return nil
	}
	// For what connects to 127.0.0.1. It goes with the bridge.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+own.Bridge+"/route_localnet", []byte("1"), 0); err != nil {
		return fmt.Errorf("let 127.0.0.1 lead to ports of pods: %w", err)
	}
	return nil
}

func (u *uplink) publish(f family, bridge string, subnet netip.Prefix, id string, to netip.Addr, ports []HostPort) {
	u.conn.AddTable(&nftables.Table{Family: f.tables(), Name: uplinkTable})
	add := func(chain, name string, exprs []expr.Any) {
		c := u.conn.AddChain(f.portChain(chain))
		u.conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, name)})
	}
	for _, p := range ports {
		name := bridge + " " + id + " " + p.String()
		add(portsIn, name, f.destination(p, to))
		add(portsOutput, name, f.destination(p, to))
	}
	sources := []netip.Prefix{subnet}
	if f == ip4 {
		sources = append(sources, loopback4)
		add(portsGuard, bridge+" "+id, slices.Concat(
			compareLink(expr.MetaKeyIIFNAME, bridge), f.inPrefix(f.destinationAt, loopback4), []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}))
	}
	for _, s := range sources {
		add(portsReturn, bridge+" "+id, slices.Concat(
			f.inPrefix(f.sourceAt, s), compareLink(expr.MetaKeyOIFNAME, bridge), destinationChanged(), []expr.Any{&expr.Masq{}}))
	}
}

// destination leads what is for the port to the same protocol's port of an address.
func (f family) destination(p HostPort, to netip.Addr) []expr.Any {
	var out []expr.Any
	if p.IP.IsValid() {
		out = f.inPrefix(f.destinationAt, netip.PrefixFrom(p.IP, p.IP.BitLen()))
	} else {
		out = []expr.Any{
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
		}
		if f == ip6 { // of which no packet can be sent elsewhere
			out = append(out, f.header(f.destinationAt), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: netip.IPv6Loopback().AsSlice()})
		}
	}
	return append(out,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocolNumber(p.Protocol)}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(p.Port)},
		&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(p.Target)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.tables()), RegAddrMin: 1, RegProtoMin: 2, Specified: true})
}

func protocolNumber(name string) byte {
	switch name {
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}

// destinationChanged matches connections that a rule has led elsewhere.
func destinationChanged() []expr.Any {
	const ctStatusDNAT = 1 << 5 // IPS_DST_NAT
	mask := binary.NativeEndian.AppendUint32(nil, ctStatusDNAT)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// checkPorts looks for an attachment other than the one on the bridge that has one of the ports.
func (u *uplink) checkPorts(bridge, id string, ports []HostPort) error {
	for f := range u.halves {
		for _, chain := range u.halves[f].ports {
			if chain.Name != portsIn {
				continue
			}
			rules, err := u.rules(chain)
			if err != nil {
				return err
			}
			for _, r := range rules {
				owner, port, ok := parsePortName(r.name)
				if !ok || r.bridge == bridge && owner == id {
					continue
				}
				for _, p := range ports {
					if p.Clashes(port) {
						return &TakenError{Port: p, By: "pod " + owner + " on " + r.bridge + " (podsim ps shows its run; podsim clean takes a dead one away)"}
					}
				}
			}
		}
	}
	return nil
}

// parsePortName reads a rule's name.
func parsePortName(name string) (id string, p HostPort, ok bool) {
	words := strings.Fields(name)
	if len(words) != 3 {
		return "", p, false
	}
	where, protocol, _ := strings.Cut(words[2], "/")
	p.Protocol = protocol
	if at, err := netip.ParseAddrPort(where); err == nil {
		p.IP, p.Port = at.Addr(), at.Port()
		return words[1], p, true
	}
	_, err := fmt.Sscan(where, &p.Port)
	return words[1], p, err == nil
}

// withdraw adds to the transaction the end of an attachment's rules, or of all of the bridge's where id is empty, and
// counts them.
func (u *uplink) withdraw(bridge, id string) (n int, err error) {
	for f := range u.halves {
		for _, chain := range u.halves[f].ports {
			rules, err := u.rules(chain)
			if err != nil {
				return n, err
			}
			for _, r := range rules {
				words := strings.Fields(r.name)
				if r.bridge == bridge && (id == "" || len(words) > 1 && words[1] == id) {
					u.delete(r)
					n++
				}
			}
		}
	}
	return n, nil
}

// unpublishTries bounds how often unpublish begins again because rules went while it looked at them.
const unpublishTries = 5

// unpublish takes away an attachment's ports, or all of a bridge's where id is empty. It is idempotent and needs no lock:
// nobody makes rules of that name meanwhile, and if the network goes at the same time, it goes with them.
func unpublish(bridge, id string) error {
	var err error
	for range unpublishTries {
		var u *uplink
		if u, err = readUplink(); err != nil {
			return err
		}
		n, werr := u.withdraw(bridge, id)
		if errors.Is(werr, unix.ENOENT) {
			err = werr
			continue
		}
		if werr != nil || n == 0 {
			return werr
		}
		if err = u.conn.Flush(); !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("delete nftables rules for ports: %w", notRoot(err))
	}
	return nil
}

// CheckPort reports whether a port of the machine is free for a pod. A *TakenError says that a socket of the machine or
// another pod has it; any other error, that the machine has no such address, or that it could not be seen.
func CheckPort(p HostPort) error {
	u, err := readUplink()
	if err != nil {
		return err
	}
	if err := u.checkPorts("", "", []HostPort{p}); err != nil {
		return err
	}
	return tryPort(p)
}

// tryPort takes the port for a moment.
func tryPort(p HostPort) error {
	family, kind := unix.AF_INET6, unix.SOCK_STREAM
	var at unix.Sockaddr = &unix.SockaddrInet6{Port: int(p.Port)}
	if !p.IP.IsValid() && !exists(ipv6Conf) {
		p.IP = netip.IPv4Unspecified()
	}
	switch {
	case p.IP.Is4():
		family, at = unix.AF_INET, &unix.SockaddrInet4{Port: int(p.Port), Addr: p.IP.As4()}
	case p.IP.IsValid():
		at = &unix.SockaddrInet6{Port: int(p.Port), Addr: p.IP.As16()}
	}
	protocol := int(protocolNumber(p.Protocol))
	if p.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil // then nobody has it
	}
	if err != nil {
		return fmt.Errorf("check port %s: %w", p, err)
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM { // as a server would: connections that a server has left behind do not count
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("check port %s: %w", p, err)
		}
	}
	if !p.IP.IsValid() { // IPv4's as well
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return fmt.Errorf("check port %s: %w", p, err)
		}
	}
	err = unix.Bind(fd, at)
	if err == nil && p.Protocol == "tcp" {
		err = unix.Listen(fd, 1)
	}
	return portError(p, err)
}

func portError(p HostPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return &TakenError{Port: p, By: "another process (ss -lntup shows which)"}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("port %s: this machine has no address %s", p, p.IP)
	case err != nil:
		return fmt.Errorf("check port %s: %w", p, err)
	}
	return nil
}
