package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Attach joins the namespace to the network: CNI's ADD. It takes 10 to 20 milliseconds with podsim's own bridge, the
// start of two plugins. An attachment that exists already is undone first, so that a repeated Attach succeeds;
// after an error nothing is left, as far as the plugins' DEL can tell.
//
// The link's end in the machine is marked with an alias that names the attachment: Leftovers finds it by that.
func (c CNI) Attach(ctx context.Context, a Attachment) (Result, error) {
	if !Pinned(a.NetNS) {
		return Result{}, fmt.Errorf("attach %s to the network: %s: %w", a.ContainerID, a.NetNS, ErrNotPinned)
	}
	list, err := c.open(a)
	if err != nil {
		return Result{}, fmt.Errorf("attach %s to the network: %w", a.ContainerID, err)
	}
	if exists(c.cacheFile(list.Name, a)) {
		if err := c.Detach(ctx, a); err != nil {
			return Result{}, err
		}
	}
	if err := a.checkPublishable(list); err != nil {
		return Result{}, fmt.Errorf("attach %s to network %s: %w", a.ContainerID, list.Name, err)
	}
	res, err := c.add(ctx, list, a)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), detachPatience)
		defer cancel()
		return Result{}, errors.Join(fmt.Errorf("attach %s to network %s: %w", a.ContainerID, list.Name, err), c.Detach(ctx, a))
	}
	return res, nil
}

func (c CNI) add(ctx context.Context, list *libcni.NetworkConfigList, a Attachment) (Result, error) {
	raw, err := c.libcni().AddNetworkList(ctx, list, a.runtimeConf())
	if err != nil {
		return Result{}, err
	}
	res, err := readResult(raw, a)
	if err != nil {
		return Result{}, err
	}
	if own, ok := a.ownConf(); ok {
		if res.IPs, err = a.finish(ctx, own, res.IPs); err != nil {
			return Result{}, err
		}
	}
	if res.HostLink == "" {
		return res, nil
	}
	link, err := netlink.LinkByName(res.HostLink)
	if err == nil {
		err = netlink.LinkSetAlias(link, a.alias())
	}
	if err != nil {
		return Result{}, fmt.Errorf("mark link %s as ours: %w", res.HostLink, err)
	}
	if _, own := a.ownConf(); own && len(a.Ports) > 0 {
		// A pod that connects to its own port comes back by the link it went out by.
		if err := netlink.LinkSetHairpin(link, true); err != nil {
			return Result{}, fmt.Errorf("let link %s turn packets round: %w", res.HostLink, err)
		}
	}
	return res, nil
}

// finish does podsim's own part of an attachment with an address of IPv4, and returns all that it has then.
func (a Attachment) finish(ctx context.Context, own ownConf, addrs []netip.Prefix) ([]netip.Prefix, error) {
	if own.Subnet6.IsValid() {
		second, err := a.addSecondFamily(own, addrs[0].Addr())
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, second...)
	}
	if len(a.Ports) > 0 {
		if err := a.publish(ctx, own, addrs); err != nil {
			return nil, err
		}
	}
	return addrs, nil
}

// addSecondFamily gives the namespace's link its IPv6 address, if IPv6 is on in the namespace: a pod's own sysctls may
// have turned it off. The address goes with the link.
func (a Attachment) addSecondFamily(conf ownConf, first netip.Addr) ([]netip.Prefix, error) {
	own := conf.of(first)
	added := false
	err := Do(a.NetNS, func() error {
		off, err := readSysctl(filepath.Join(ipv6Conf, a.IfName, "disable_ipv6"))
		if errors.Is(err, fs.ErrNotExist) || err == nil && off != "0" {
			return nil
		}
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName(a.IfName)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(own), Flags: unix.IFA_F_NODAD}); err != nil {
			return err
		}
		added = true
		return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(anywhere6), Gw: conf.Gateway6.AsSlice()})
	})
	if err != nil {
		return nil, fmt.Errorf("give %s the address %s: %w", a.IfName, own, err)
	}
	if !added {
		return nil, nil
	}
	return []netip.Prefix{own}, nil
}

var anywhere6 = netip.MustParsePrefix("::/0")

// Detach undoes the attachment: CNI's DEL. It is idempotent, and works from the stored Attachment alone when the
// namespace, the state directory or the bridge is gone. Where a plugin is gone as well, podsim undoes an attachment
// of bridge with host-local by itself; for any other plugin that is a *MissingPluginError.
func (c CNI) Detach(ctx context.Context, a Attachment) error {
	var unpublished error
	if own, ok := a.ownConf(); ok { // whatever ports it names: the run's record may be lost, and this a guess
		unpublished = unpublish(own.Bridge, a.ContainerID)
	}
	list, err := c.open(a)
	_, missing := errors.AsType[*MissingPluginError](err)
	dir, ours := a.hostLocalBridge()
	switch {
	case err == nil && ours && !exists(dir):
		// host-local would make its directory again, in a state directory that has been cleaned up.
		err = c.detachBridge(a, dir)
	case err == nil:
		err = c.del(ctx, list, a)
	case missing && ours:
		err = c.detachBridge(a, dir)
	}
	if err := errors.Join(unpublished, err); err != nil {
		return fmt.Errorf("detach %s from the network: %w", a.ContainerID, err)
	}
	return nil
}

// detachPatience bounds the clean-up after a failed Attach.
const detachPatience = 20 * time.Second

func (c CNI) del(ctx context.Context, list *libcni.NetworkConfigList, a Attachment) error {
	pinned := Pinned(a.NetNS)
	if !pinned {
		a.NetNS = "" // as the specification wants it for a namespace that is gone
	}
	if err := c.libcni().DelNetworkList(ctx, list, a.runtimeConf()); err != nil {
		return err
	}
	if pinned {
		return nil
	}
	return a.deleteHostLink()
}

// open parses the configuration and checks that its plugins are there.
func (c CNI) open(a Attachment) (*libcni.NetworkConfigList, error) {
	list, err := libcni.NetworkConfFromBytes(a.Conf)
	if err != nil {
		return nil, err
	}
	for _, p := range list.Plugins {
		for _, plugin := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if plugin != "" && !pluginIn(plugin, c.Dirs) {
				return nil, &MissingPluginError{Plugin: plugin, Dirs: c.Dirs}
			}
		}
	}
	return list, nil
}

func (c CNI) libcni() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(c.Dirs, c.CacheDir, &pluginRunner{})
}

// cacheFile is where libcni keeps the attachment's result.
func (c CNI) cacheFile(network string, a Attachment) string {
	return filepath.Join(c.CacheDir, "results", network+"-"+a.ContainerID+"-"+a.IfName)
}

func (a Attachment) runtimeConf() *libcni.RuntimeConf {
	conf := &libcni.RuntimeConf{ContainerID: a.ContainerID, NetNS: a.NetNS, IfName: a.IfName}
	if _, own := a.ownConf(); own || len(a.Ports) == 0 {
		return conf
	}
	mappings := make([]portMapping, len(a.Ports))
	for i, p := range a.Ports {
		mappings[i] = portMapping{HostPort: p.Port, ContainerPort: p.Target, Protocol: p.Protocol}
		if p.IP.IsValid() {
			mappings[i].HostIP = p.IP.String()
		}
	}
	conf.CapabilityArgs = map[string]any{capabilityPorts: mappings}
	return conf
}

// capabilityPorts is what a plugin calls itself that publishes ports; a portMapping is one of them in its words.
const capabilityPorts = "portMappings"

type portMapping struct {
	HostPort      uint16 `json:"hostPort"`
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

// checkPublishable looks whether there is who publishes the attachment's ports.
func (a Attachment) checkPublishable(list *libcni.NetworkConfigList) error {
	if _, own := a.ownConf(); own || len(a.Ports) == 0 {
		return nil
	}
	for _, p := range list.Plugins {
		if p.Network.Capabilities[capabilityPorts] {
			return nil
		}
	}
	return fmt.Errorf("publish port %s: none of the network's plugins has the capability %s (add portmap to the CNI configuration, or leave hostPort out)", a.Ports[0], capabilityPorts)
}

// alias marks the attachment's link in the machine.
func (a Attachment) alias() string { return aliasPrefix + a.ContainerID + "/" + a.IfName }

const aliasPrefix = "podsim:"

// deleteHostLink deletes the link in the machine that a namespace which is gone, or going, was attached by.
func (a Attachment) deleteHostLink() error {
	links, err := ourLinks()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Attrs().Alias != a.alias() {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("delete link %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

// readResult takes from a plugin's answer what concerns the namespace's link.
func readResult(raw types.Result, a Attachment) (Result, error) {
	r, err := types100.NewResultFromResult(raw)
	if err != nil {
		return Result{}, fmt.Errorf("understand the plugin's result: %w", err)
	}
	res := Result{Nameservers: r.DNS.Nameservers}
	for _, i := range r.Interfaces {
		switch {
		case i.Name == a.IfName && i.Sandbox != "":
			res.MAC = i.Mac
		case i.Sandbox == "" && isVeth(i.Name):
			res.HostLink = i.Name
		}
	}
	for _, ip := range r.IPs {
		res.IPs = append(res.IPs, prefixOf(&ip.Address))
		if gw, ok := netip.AddrFromSlice(ip.Gateway); ok && !res.Gateway.IsValid() {
			res.Gateway = gw.Unmap()
		}
	}
	if len(res.IPs) == 0 {
		return Result{}, errors.New("the plugins gave no address (the configuration needs an ipam section)")
	}
	return res, nil
}

func isVeth(name string) bool {
	link, err := netlink.LinkByName(name)
	return err == nil && link.Type() == "veth"
}
