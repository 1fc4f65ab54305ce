package netns

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
)

// DefaultStateDir is podsim's state directory unless told otherwise; its bridge is podsim0.
const DefaultStateDir = "/var/lib/podsim"

// A Network is the bridge network that the pods of one state directory share. Its zero value is that of
// DefaultStateDir. Any number of processes may work with it at once.
//
// A member joins before it attaches anything and leaves after it has detached; the first makes the bridge and
// what the machine needs beside it, the last takes all of it away:
//
//	Join ──► CNI.Attach ··· CNI.Detach ──► Leave
//
// Members are remembered by ID in network.json in the state directory, from before the first effect on: a
// process that is killed leaves its members behind, and whoever cleans up after it calls Leave with their IDs.
type Network struct {
	StateDir string
}

// A Bridge is what members of a Network attach to.
type Bridge struct {
	Name    string       `json:"name"`    // of the link and of the CNI network; at most 15 bytes
	Subnet  netip.Prefix `json:"subnet"`  // a /20
	Gateway netip.Addr   `json:"gateway"` // the machine's address on it, the pods' next hop; the first of Subnet
	// Subnet6 and Gateway6 are the same in IPv6 (NW-14), a /64; invalid where the machine has none for pods.
	Subnet6  netip.Prefix `json:"subnet6,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`
	MTU      int          `json:"mtu"` // of the link that the machine's default route uses
	// Conf is the CNI configuration list that attaches to it, for an Attachment.
	Conf json.RawMessage `json:"conf"`
}

// stateDir is the cleaned absolute state directory.
func (n Network) stateDir() string {
	if n.StateDir == "" {
		return DefaultStateDir
	}
	if abs, err := filepath.Abs(n.StateDir); err == nil {
		return abs
	}
	return filepath.Clean(n.StateDir)
}

// BridgeName is the name of the network's bridge: podsim0 for DefaultStateDir, else podsim- and eight hexadecimal
// digits that are a function of the directory's path.
func (n Network) BridgeName() string {
	dir := n.stateDir()
	if dir == DefaultStateDir {
		return "podsim0"
	}
	digest := n.digest()
	return "podsim-" + hex.EncodeToString(digest[:4])
}

func (n Network) digest() [sha256.Size]byte { return sha256.Sum256([]byte(n.stateDir())) }

// CNI returns the runner of plugins from dirs that keeps libcni's cache in the state directory.
func (n Network) CNI(dirs ...string) CNI {
	return CNI{Dirs: dirs, CacheDir: filepath.Join(n.stateDir(), "cni")}
}

func (n Network) ipamDir() string    { return filepath.Join(n.stateDir(), "ipam") }
func (n Network) recordFile() string { return filepath.Join(n.stateDir(), "network.json") }

// conf renders the CNI configuration list of the bridge. isGateway gives the pods a next hop; ipMasq is off, as
// the plugin would need the host's iptables or nft for it. The rest is
// podsim's own to do: see ownConf.
func (n Network) conf(b Bridge) json.RawMessage {
	type object = map[string]any
	list := object{
		"cniVersion": "1.0.0",
		"name":       b.Name,
		"plugins": []object{{
			"type":      "bridge",
			"bridge":    b.Name,
			"isGateway": true,
			"ipMasq":    false,
			"mtu":       b.MTU,
			"ipam": object{
				"type":    "host-local",
				"dataDir": n.ipamDir(),
				"ranges":  [][]object{{{"subnet": b.Subnet.String(), "gateway": b.Gateway.String()}}},
				"routes":  []object{{"dst": "0.0.0.0/0"}},
			},
		}},
		"podsim": ownConf{Bridge: b.Name, Subnet: b.Subnet, Subnet6: b.Subnet6, Gateway6: b.Gateway6},
	}
	out, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings, numbers, booleans and addresses always marshal
	}
	return out
}

// An ownConf is a part of podsim's own in its configuration lists, which CNI and its plugins pass over: what podsim does
// itself once the plugins have given an attachment its IPv4 address.
//
// It gives the link its IPv6 address (NW-14). The plugins could, from a second range, but bridge polls every 50 ms until
// the kernel has done with its detection of duplicate addresses, which even where it is turned off ends on a thread of
// the kernel's own, later. podsim adds the address as one that needs no detection, in well under a millisecond.
//
// It publishes the attachment's ports (NW-04). The plugin portmap would need the host's nft or iptables.
type ownConf struct {
	Bridge string       `json:"bridge"`
	Subnet netip.Prefix `json:"subnet"`
	// Subnet6 and Gateway6 are the bridge's; invalid: there is no IPv6.
	Subnet6  netip.Prefix `json:"subnet6,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`
}

// ownConf reads that part. There is none in a configuration of the user's.
func (a Attachment) ownConf() (own ownConf, ok bool) {
	var list struct {
		Podsim *ownConf `json:"podsim"`
	}
	if err := json.Unmarshal(a.Conf, &list); err != nil || list.Podsim == nil {
		return ownConf{}, false
	}
	return *list.Podsim, true
}

// of is the IPv6 address that belongs to one of Subnet: that of Subnet6 with the same number. It is nobody else's as
// long as the IPv4 address is not, so that it needs no reservation.
func (s ownConf) of(v4 netip.Addr) netip.Prefix {
	number, base := v4.As4(), s.Subnet.Masked().Addr().As4()
	out := s.Subnet6.Masked().Addr().As16()
	for i := range number {
		out[12+i] = number[i] ^ base[i]
	}
	return netip.PrefixFrom(netip.AddrFrom16(out), s.Subnet6.Bits())
}

// pools are where a subnet is looked for, in this order. Those of Docker (172.17.0.0/16 and up), kubeadm
// (10.244.0.0/16, 10.96.0.0/12) and most home routers (192.168.0.0/23) are not among them.
var pools = []netip.Prefix{
	netip.MustParsePrefix("10.222.0.0/15"),
	netip.MustParsePrefix("172.30.0.0/16"),
	netip.MustParsePrefix("192.168.192.0/18"),
}

const subnetBits = 20

// A claim is a range of addresses that the machine uses already, and by what: "route 10.0.0.0/8 dev tun0".
type claim struct {
	Prefix netip.Prefix
	By     string
}

// chooseSubnet is the first /20 of the pools that overlaps no claim.
func chooseSubnet(claims []claim) (netip.Prefix, error) {
	var first *ConflictError
	for _, pool := range pools {
		for p := netip.PrefixFrom(pool.Addr(), subnetBits); pool.Contains(p.Addr()); p = following(p) {
			err := checkSubnet(p, claims)
			if err == nil {
				return p, nil
			}
			if first == nil {
				first = err
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("choose a subnet for pods: none of %v has a free /%d (use --cni-conf with a network of your own): %w",
		pools, subnetBits, first)
}

// checkSubnet returns the first claim that p overlaps, as an error.
func checkSubnet(p netip.Prefix, claims []claim) *ConflictError {
	for _, c := range claims {
		if p.Overlaps(c.Prefix) {
			return &ConflictError{Subnet: p, By: c.By}
		}
	}
	return nil
}

// following is the prefix of the same length right behind p.
func following(p netip.Prefix) netip.Prefix {
	a := p.Addr().As4()
	n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	n += 1 << (32 - p.Bits())
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), p.Bits())
}

// candidates6 are how many subnets of IPv6 are tried before a machine is said to have no room for one.
const candidates6 = 16

// chooseSubnet6 is the first /64 that overlaps no claim: of unique local addresses (RFC 4193), with a global ID and a
// subnet ID that are a function of the state directory's path.
func (n Network) chooseSubnet6(claims []claim) (netip.Prefix, error) {
	var first *ConflictError
	digest := n.digest()
	for range candidates6 {
		a := [16]byte{0: 0xfd}
		copy(a[1:8], digest[:])
		p := netip.PrefixFrom(netip.AddrFrom16(a), 64)
		err := checkSubnet(p, claims)
		if err == nil {
			return p, nil
		}
		if first == nil {
			first = err
		}
		digest = sha256.Sum256(digest[:])
	}
	return netip.Prefix{}, fmt.Errorf("choose an IPv6 subnet for pods: none of %d is free (use --cni-conf with a network of your own): %w", candidates6, first)
}

// A ConflictError says that the pods' subnet overlaps addresses that the machine uses for something else.
type ConflictError struct {
	Subnet netip.Prefix
	By     string // the conflicting route or address
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("subnet %s overlaps %s", e.Subnet, e.By)
}
