//go:build linux

package netns

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// finding picks one by its name.
func finding(t *testing.T, all []Finding, name string) Finding {
	t.Helper()
	i := slices.IndexFunc(all, func(f Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no finding %q in %v", name, all)
	}
	if f := all[i]; f.OK != (f.Fix == "") || f.Detail == "" {
		t.Errorf("%+v: a finding has a detail, and a fix unless it is OK", f)
	}
	return all[i]
}

func TestFindingsOfAMachineThatCanRunPodsAreNotFatalAndChangeNothing(t *testing.T) {
	m := newMachine(t)
	before := m.describe(t)
	var all []Finding
	inside(t, m.netns, func() error { all = (Network{StateDir: m.state}).Findings(m.dirs...); return nil })
	for _, f := range all {
		finding(t, all, f.Name)
		if f.Fatal {
			t.Errorf("%+v is fatal on a machine on which the other tests run", f)
		}
	}
	if f := finding(t, all, "ip_forward"); !strings.Contains(f.Detail, "podsim turns it on") {
		t.Errorf("got %+v, want it said that podsim turns forwarding on", f)
	}
	if f := finding(t, all, "ipv6"); !f.OK || !strings.Contains(f.Detail, "all.forwarding is off, and podsim turns it on") {
		t.Errorf("got %+v, want it said that podsim turns forwarding on", f)
	}
	if f := finding(t, all, "subnet"); !strings.Contains(f.Detail, "::/64") {
		t.Errorf("got %+v, want both subnets", f)
	}
	if after := m.describe(t); after != before {
		t.Errorf("looking changed the machine from\n%s\nto\n%s", before, after)
	}
}

func TestFindingsNameWhatIsWrongAndTheFix(t *testing.T) {
	m := newMachine(t)
	n := Network{StateDir: m.state}
	inside(t, m.netns, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		drop := nftables.ChainPolicyDrop
		table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "firewall"})
		conn.AddChain(&nftables.Chain{Table: table, Name: "fwd", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
		if err := conn.Flush(); err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.BridgeName()
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer0"}); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil {
			return err
		}
		all := n.Findings("/nowhere")
		for name, want := range map[string]string{
			"forward-filter": "ip firewall fwd", "subnet": "is a veth", "cni-plugins": `"bridge" is not in /nowhere`, "ipv6": "default.disable_ipv6 is 1: pods have IPv4 alone",
		} {
			if f := finding(t, all, name); f.OK || !strings.Contains(f.Detail, want) {
				t.Errorf("got %+v, want it bad with %q", f, want)
			}
		}
		return nil
	})
}
