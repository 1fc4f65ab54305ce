package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Findings looks at the machine as the network n would find it, with CNI plugins in dirs. It changes nothing, but for
// a network namespace that it makes and drops. The findings come in the order in which they matter.
func (n Network) Findings(dirs ...string) []Finding {
	filters := findFilters()
	return []Finding{
		findNamespaces(),
		findPlugins(dirs),
		findNftables(),
		n.findSubnet(),
		findForwarding(),
		filters,
		findBridgeFilter(filters.OK),
		findIPv6(),
	}
}

// findNamespaces makes the namespaces of a pod and enters one.
func findNamespaces() Finding {
	f := Finding{Name: "namespaces", OK: true, Detail: "network, ipc and uts namespaces can be made and pinned"}
	dir, err := os.MkdirTemp("", "podsim-doctor-")
	if err != nil {
		return f.bad(err.Error(), "make "+os.TempDir()+" writable")
	}
	defer os.Remove(dir)
	p := PinsIn(dir)
	err = p.Create(PinOptions{})
	if err == nil {
		err = errors.Join(Do(p.Net, func() error { return nil }), p.Remove())
	}
	if err != nil {
		f.Fatal = true
		return f.bad(err.Error(), "sudo podsim ...; where podsim runs in a container, docker run --privileged ... (podman the same), or --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt apparmor=unconfined")
	}
	return f
}

func findPlugins(dirs []string) Finding {
	f := Finding{Name: "cni-plugins", OK: true, Detail: "bridge and host-local are there"}
	for _, plugin := range []string{"bridge", "host-local"} {
		if !pluginIn(plugin, dirs) {
			f.Fatal = true
			return f.bad((&MissingPluginError{Plugin: plugin, Dirs: dirs}).Error(), "make build")
		}
	}
	return f
}

// findNftables writes a nat chain into a namespace of its own.
func findNftables() Finding {
	f := Finding{Name: "nftables", OK: true, Detail: "the kernel takes nat chains with redirect and masquerade"}
	dir, err := os.MkdirTemp("", "podsim-doctor-")
	if err != nil {
		return f.bad(err.Error(), "make "+os.TempDir()+" writable")
	}
	defer os.Remove(dir)
	p := Pins{Net: filepath.Join(dir, "net")}
	if err := p.Create(PinOptions{}); err != nil {
		return f.bad(err.Error(), "run podsim as root")
	}
	err = errors.Join(Do(p.Net, tryNftables), p.Remove())
	if err != nil {
		f.Fatal = true
		return f.bad("the kernel refuses a nat chain: "+err.Error(), "modprobe -a nf_tables nft_chain_nat nft_redir nft_masq (on the machine itself, where podsim runs in a container)")
	}
	return f
}

func tryNftables() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	families := []family{ip4}
	if exists(ipv6Conf) {
		families = append(families, ip6)
	}
	for _, f := range families {
		table := conn.AddTable(&nftables.Table{Family: f.tables(), Name: "podsim"})
		for _, c := range []struct {
			name string
			hook *nftables.ChainHook
			do   expr.Any
		}{
			{"output", nftables.ChainHookOutput, &expr.Redir{}},
			{"postrouting", nftables.ChainHookPostrouting, &expr.Masq{}},
		} {
			chain := conn.AddChain(&nftables.Chain{Table: table, Name: c.name, Type: nftables.ChainTypeNAT, Hooknum: c.hook,
				Priority: nftables.ChainPriorityNATDest})
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{c.do}})
		}
	}
	return conn.Flush()
}

func (n Network) findSubnet() Finding {
	f := Finding{Name: "subnet", OK: true}
	r, err := n.readRecord()
	if err != nil {
		f.Fatal = true
		return f.bad(err.Error(), "podsim clean && rm "+n.recordFile())
	}
	link, err := findBridge(&netlink.Handle{}, n.BridgeName())
	if err == nil {
		r.Subnet, err = n.settleSubnet(ip4, r.Subnet, link)
	}
	lack, errLack := findLackOfIPv6()
	if err = errors.Join(err, errLack); err == nil && !lack.any() {
		r.Subnet6, err = n.settleSubnet(ip6, r.Subnet6, link)
	}
	if err != nil {
		f.Fatal = true
		return f.bad(err.Error(), "free one of the ranges, or use --cni-conf with a network of your own")
	}
	f.Detail = fmt.Sprintf("pods get addresses of %s on %s", r.Subnet, n.BridgeName())
	if !lack.any() {
		f.Detail = fmt.Sprintf("pods get addresses of %s and %s on %s", r.Subnet, r.Subnet6, n.BridgeName())
	}
	return f
}

func findForwarding() Finding {
	f := Finding{Name: "ip_forward", OK: true}
	on, err := ip4.readForwarding()
	switch {
	case err != nil:
		return f.bad(err.Error(), "mount -t proc proc /proc")
	case on:
		f.Detail = "net.ipv4.ip_forward is on"
	case unix.Access(ip4.forwardFile(), unix.W_OK) != nil:
		return f.bad("net.ipv4.ip_forward is off and podsim cannot turn it on: pods cannot reach beyond this machine", "sysctl -w net.ipv4.ip_forward=1; where podsim runs in a container, docker run --sysctl net.ipv4.ip_forward=1 ...")
	default:
		f.Detail = "net.ipv4.ip_forward is off; podsim turns it on while a pod runs"
	}
	return f
}

// findFilters looks for chains that drop forwarded packets by default. Docker's podsim passes by itself.
func findFilters() Finding {
	f := Finding{Name: "forward-filter", OK: true, Detail: "no filter drops forwarded packets by default"}
	conn, err := nftables.New()
	if err != nil {
		return f.bad(err.Error(), "run podsim as root")
	}
	chains, err := conn.ListChains()
	if err != nil {
		return f.bad("list nftables chains: "+err.Error(), "run podsim as root")
	}
	var dropping []string
	docker := false
	for _, c := range chains {
		docker = docker || c.Table.Name == dockerTable && c.Name == dockerChain
		if c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			dropping = append(dropping, familyName(c.Table.Family)+" "+c.Table.Name+" "+c.Name)
		}
	}
	others := dropping
	if docker {
		others = slices.DeleteFunc(slices.Clone(dropping), func(c string) bool { return c == "ip "+dockerTable+" FORWARD" })
	}
	switch {
	case len(dropping) == 0:
		return f
	case len(others) == 0:
		f.Detail = "Docker drops forwarded packets by default; podsim adds an accept rule to DOCKER-USER while a pod runs"
		return f
	}
	var fix []string
	for _, chain := range others {
		for _, way := range []string{"iifname", "oifname"} {
			fix = append(fix, fmt.Sprintf(`nft insert rule %s %s "podsim*" accept`, chain, way))
		}
	}
	return f.bad("dropped by default in "+strings.Join(others, ", ")+": pods cannot reach beyond this machine", strings.Join(fix, "; "))
}

// familyName is a family as nft names it.
func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyBridge:
		return "bridge"
	}
	return fmt.Sprintf("family-%d", f)
}

// findBridgeFilter looks whether bridged packets pass the machine's filters; that harms where those drop packets.
func findBridgeFilter(filtersPass bool) Finding {
	f := Finding{Name: "br_netfilter", OK: true, Detail: "packets between pods do not pass the machine's own filters"}
	data, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	if err != nil || strings.TrimSpace(string(data)) == "0" {
		return f
	}
	if filtersPass {
		f.Detail = "br_netfilter is on: packets between pods pass the machine's own filters, which let them through by default"
		return f
	}
	return f.bad("br_netfilter is on, and a filter drops forwarded packets by default: pods do not reach each other",
		"sysctl -w net.bridge.bridge-nf-call-iptables=0")
}

// findIPv6 looks whether pods get addresses of IPv6 beside those of IPv4. A pod without has ::1 and, on most kernels, a
// link-local address still.
func findIPv6() Finding {
	f := Finding{Name: "ipv6", OK: true, Detail: "pods get an IPv6 address beside their IPv4 one"}
	lack, err := findLackOfIPv6()
	switch {
	case err != nil:
		return f.bad(err.Error(), "mount -t proc proc /proc")
	case lack.any():
		return f.bad(lack.why+": pods have IPv4 alone; status.podIPs has one address, and what listens or connects by IPv6 only reaches no other pod",
			lack.fix)
	}
	on, err := ip6.readForwarding()
	switch {
	case err != nil:
		return f.bad(err.Error(), "mount -t proc proc /proc")
	case !on:
		f.Detail += "; " + ip6.forwardName() + " is off, and podsim turns it on while a pod runs"
	}
	return f
}

// bad is the finding turned to a bad one.
func (f Finding) bad(detail, fix string) Finding {
	f.OK, f.Detail, f.Fix = false, detail, fix
	return f
}
