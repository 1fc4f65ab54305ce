package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Join makes id a member and returns the bridge to attach to, which it makes if this is the first member. Joining
// twice is joining once. A subnet that has come to overlap something else is a *ConflictError.
func (n Network) Join(ctx context.Context, id string) (Bridge, error) {
	b, err := n.join(ctx, id)
	if err != nil {
		return Bridge{}, fmt.Errorf("join network %s: %w", n.BridgeName(), err)
	}
	return b, nil
}

func (n Network) join(ctx context.Context, id string) (Bridge, error) {
	if id == "" {
		return Bridge{}, errors.New("a member needs an ID")
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return Bridge{}, err
	}
	defer unlock()
	r, err := n.readRecord()
	if err != nil {
		return Bridge{}, err
	}
	b := Bridge{Name: n.BridgeName()}
	link, err := findBridge(&netlink.Handle{}, b.Name)
	if err != nil {
		return Bridge{}, err
	}
	if r.Subnet, err = n.settleSubnet(ip4, r.Subnet, link); err != nil {
		return Bridge{}, err
	}
	lack, err := findLackOfIPv6()
	if err != nil {
		return Bridge{}, err
	}
	if !lack.any() {
		if r.Subnet6, err = n.settleSubnet(ip6, r.Subnet6, link); err != nil {
			return Bridge{}, err
		}
		b.Subnet6, b.Gateway6 = r.Subnet6, r.Subnet6.Addr().Next()
	}
	if err := n.writeRecord(r.with(id)); err != nil {
		return Bridge{}, err
	}
	b.Subnet, b.Gateway = r.Subnet, r.Subnet.Addr().Next()
	if b.MTU, err = uplinkMTU(); err != nil {
		return Bridge{}, err
	}
	if err := n.ensureBridge(b, link); err != nil {
		return Bridge{}, err
	}
	if err := openUplink(b); err != nil {
		return Bridge{}, err
	}
	b.Conf = n.conf(b)
	return b, nil
}

// Leave ends id's membership. With the last member go the bridge, its rules, the forwarding switches if podsim had
// turned them on, the address reservations and the record. It is idempotent, goes on after an error, and may be called for
// an ID that never joined: then it takes away what nobody is a member of.
//
// detach, if there is one, undoes the member's attachments. It is called once, before the membership ends, and for
// the last member while the bridge goes: each waits for the kernel most of its time (40 ms on two cores).
func (n Network) Leave(ctx context.Context, id string, detach func(context.Context) error) error {
	if err := n.leave(ctx, id, detach); err != nil {
		return fmt.Errorf("leave network %s: %w", n.BridgeName(), err)
	}
	return nil
}

func (n Network) leave(ctx context.Context, id string, detach func(context.Context) error) error {
	pending := func() error {
		if detach == nil {
			return nil
		}
		f := detach
		detach = nil
		return f(ctx)
	}
	last, err := n.resign(ctx, id, false, pending)
	if err != nil || last {
		return errors.Join(err, pending())
	}
	detached := pending()
	_, err = n.resign(ctx, id, true, pending)
	return errors.Join(detached, err)
}

// resign takes id out of the record, under the lock: only if it is the last member, unless always is set. For the last
// one it dissolves the network and reports so.
func (n Network) resign(ctx context.Context, id string, always bool, detach func() error) (last bool, err error) {
	unlock, err := lockMachine(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	r, err := n.readRecord()
	if err != nil {
		return false, err
	}
	if r = r.without(id); len(r.Members) == 0 {
		return true, n.dissolve(detach)
	}
	if !always {
		return false, nil
	}
	return false, n.writeRecord(r)
}

// dissolve takes everything away that the first Join made, the record last. detach runs on the calling goroutine, the
// rest beside it, on sockets made here: a goroutine of its own may be in another network namespace.
func (n Network) dissolve(detach func() error) error {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return errors.Join(fmt.Errorf("reach the kernel's links: %w", err), detach())
	}
	defer links.Close()
	rules, err := closeUplink(n.BridgeName())
	if err != nil {
		return errors.Join(err, detach())
	}
	var bridgeGone, rulesGone error
	var wg sync.WaitGroup
	wg.Go(func() { bridgeGone = deleteBridge(links, n.BridgeName()) })
	wg.Go(func() { rulesGone = rules() })
	detached := detach()
	wg.Wait()
	err = errors.Join(bridgeGone, rulesGone, unpublish(n.BridgeName(), ""),
		os.RemoveAll(filepath.Join(n.ipamDir(), n.BridgeName())),
		removeIfEmpty(n.ipamDir(), filepath.Join(n.stateDir(), "cni", "results"), filepath.Join(n.stateDir(), "cni")),
	)
	if err == nil {
		err = n.removeRecord()
	}
	return errors.Join(detached, err)
}

// removeIfEmpty removes directories that are there and hold nothing.
func removeIfEmpty(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		err := os.Remove(dir)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// settleSubnet is the family's subnet to use: that of a bridge which is there, or the recorded one if it is still free,
// or the first free one.
func (n Network) settleSubnet(f family, recorded netip.Prefix, link netlink.Link) (netip.Prefix, error) {
	claims, err := f.machineClaims(link)
	if err != nil {
		return netip.Prefix{}, err
	}
	if link != nil {
		subnet, err := f.bridgeSubnet(link)
		if err != nil {
			return netip.Prefix{}, err
		}
		if subnet.IsValid() {
			recorded = subnet
		}
	}
	if !recorded.IsValid() {
		if f == ip6 {
			return n.chooseSubnet6(claims)
		}
		return chooseSubnet(claims)
	}
	if conflict := checkSubnet(recorded, claims); conflict != nil {
		return netip.Prefix{}, fmt.Errorf("%w (remove that route, or stop all pods of this state directory, podsim clean, and a free subnet is chosen)", conflict)
	}
	return recorded, nil
}

// findBridge returns the bridge of that name, or nil. A link of another kind is an error.
func findBridge(links *netlink.Handle, name string) (netlink.Link, error) {
	link, err := links.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for link %s: %w", name, err)
	}
	if _, ok := link.(*netlink.Bridge); !ok {
		return nil, fmt.Errorf("link %s exists and is a %s, not podsim's bridge (rename or delete it: ip link delete %s)", name, link.Type(), name)
	}
	return link, nil
}

// bridgeSubnet is the subnet of a bridge's address in the family; invalid if it has none yet. The link-local one, which
// every link has, is not meant.
func (f family) bridgeSubnet(link netlink.Link) (netip.Prefix, error) {
	addrs, err := redump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, f.links()) })
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	addrs = slices.DeleteFunc(addrs, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() })
	if len(addrs) == 0 {
		return netip.Prefix{}, nil
	}
	p := prefixOf(addrs[0].IPNet)
	if p.Addr() != p.Masked().Addr().Next() {
		return netip.Prefix{}, fmt.Errorf("bridge %s has the address %s, which podsim did not give it (ip address delete %s dev %s)",
			link.Attrs().Name, p, p, link.Attrs().Name)
	}
	return p.Masked(), nil
}

// machineClaims lists the machine's addresses and routes in the family, but for default routes and those of except.
func (f family) machineClaims(except netlink.Link) ([]claim, error) {
	own := 0
	if except != nil {
		own = except.Attrs().Index
	}
	var claims []claim
	addrs, err := redump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, f.links()) })
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	for _, a := range addrs {
		if a.LinkIndex != own {
			claims = append(claims, claim{prefixOf(a.IPNet).Masked(), "address " + a.IPNet.String() + " of " + linkName(a.LinkIndex)})
		}
	}
	routes, err := redump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(f.links(), &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list the machine's routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || r.LinkIndex == own && own != 0 {
			continue
		}
		if f == ip6 && (r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_ANYCAST) {
			continue // made for an address, by whatever link
		}
		if p := prefixOf(r.Dst); p.Bits() > f.widest() {
			claims = append(claims, claim{p, "route " + p.String() + " dev " + linkName(r.LinkIndex)})
		}
	}
	return claims, nil
}

func linkName(index int) string {
	if link, err := netlink.LinkByIndex(index); err == nil {
		return link.Attrs().Name
	}
	return fmt.Sprintf("link %d", index)
}

// prefixOf converts an address with its mask; it keeps the host bits.
func prefixOf(n *net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}

// ipNet is an address with its mask in package net's form.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// uplinkMTU is the MTU of the link of the machine's default route, or 1500 without one.
func uplinkMTU() (int, error) {
	routes, err := redump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_DST)
	})
	if err != nil {
		return 0, fmt.Errorf("find the machine's default route: %w", err)
	}
	for _, r := range routes {
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			return link.Attrs().MTU, nil
		}
	}
	return 1500, nil
}

// ensureBridge makes the bridge and its address where they are missing. The hardware address is fixed: otherwise the
// bridge takes the lowest of its ports' and pods' ARP entries go stale as ports come and go.
func (n Network) ensureBridge(b Bridge, link netlink.Link) error {
	if link == nil {
		digest := n.digest()
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = b.Name, b.MTU
		attrs.HardwareAddr = net.HardwareAddr{0x0e, 0x70, digest[0], digest[1], digest[2], digest[3]}
		link = &netlink.Bridge{LinkAttrs: attrs}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("make bridge %s: %w", b.Name, notRoot(err))
		}
	}
	addrs := []netlink.Addr{{IPNet: ipNet(netip.PrefixFrom(b.Gateway, b.Subnet.Bits()))}}
	if b.Subnet6.IsValid() {
		// Nobody else can have this address; to look for one who has would take a second.
		addrs = append(addrs, netlink.Addr{IPNet: ipNet(netip.PrefixFrom(b.Gateway6, b.Subnet6.Bits())), Flags: unix.IFA_F_NODAD})
	}
	for _, addr := range addrs {
		if err := netlink.AddrAdd(link, &addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("give bridge %s the address %s: %w", b.Name, addr.IPNet, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring bridge %s up: %w", b.Name, err)
	}
	return nil
}

// deleteBridge deletes the bridge of that name, if it is there.
func deleteBridge(links *netlink.Handle, name string) error {
	link, err := findBridge(links, name)
	if err != nil || link == nil {
		return err
	}
	if err := links.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete bridge %s: %w", name, notRoot(err))
	}
	return nil
}
