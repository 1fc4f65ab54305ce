//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"
)

func TestNetworkGivesAPodAWayOutAndLeavesTheMachineAsItWas(t *testing.T) {
	m := newMachine(t)
	before := m.describe(t)
	n := Network{StateDir: m.state}
	pod := newNetns(t)
	cni := n.CNI(m.dirs...)
	var a Attachment

	inside(t, m.netns, func() error {
		b, err := n.Join(t.Context(), "web-1")
		if err != nil {
			return err
		}
		if b.MTU != 1400 {
			t.Errorf("the bridge's MTU is %d, want the default route's 1400", b.MTU)
		}
		a = Attachment{Conf: b.Conf, ContainerID: "web-1", IfName: "eth0", NetNS: pod}
		begin := time.Now()
		res, err := cni.Attach(t.Context(), a)
		if err != nil {
			return err
		}
		t.Logf("attached in %s", time.Since(begin))
		if res.Gateway != b.Gateway || len(res.IPs) != 2 || !b.Subnet.Contains(res.IPs[0].Addr()) || !b.Subnet6.Contains(res.IPs[1].Addr()) {
			t.Errorf("got %+v, want one address in %s, one in %s and the gateway %s", res, b.Subnet, b.Subnet6, b.Gateway)
		}
		left, err := n.Leftovers(filepath.Dir(pod))
		if err != nil {
			return err
		}
		var kinds []string
		for _, l := range left {
			if l.ID == "web-1" {
				kinds = append(kinds, l.Kind)
			}
		}
		if diff := cmp.Diff([]string{"link", "member", "reservation"}, kinds); diff != "" {
			t.Errorf("what web-1 has (-want +got):\n%s", diff)
		}
		return nil
	})

	if got := seenFrom(t, m.outside, "198.51.100.1:8080", pod); got != netip.MustParseAddr("198.51.100.2") {
		t.Errorf("the outside saw %s, want the machine's own 198.51.100.2", got)
	}
	if got := seenFrom(t, m.outside, "[2001:db8::1]:8080", pod); got != netip.MustParseAddr("2001:db8::2") {
		t.Errorf("the outside saw %s, want the machine's own 2001:db8::2", got)
	}

	inside(t, m.netns, func() error {
		for range 2 { // both are idempotent
			if err := errors.Join(cni.Detach(t.Context(), a), n.Leave(t.Context(), "web-1", nil)); err != nil {
				return err
			}
		}
		return nil
	})
	m.wantAs(t, before, "at the end")
}

func TestNetworkDetachesWithoutPluginsNetnsOrStateDirectory(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, m *machine, c *CNI, pod Pins)
	}{
		{"the namespace is gone", func(t *testing.T, _ *machine, _ *CNI, pod Pins) { pod.Remove() }},
		{"the plugins are gone", func(t *testing.T, _ *machine, c *CNI, _ Pins) { c.Dirs = []string{t.TempDir()} }},
		{"plugins and namespace are gone", func(t *testing.T, _ *machine, c *CNI, pod Pins) { c.Dirs = nil; pod.Remove() }},
		{"the state directory is gone", func(t *testing.T, m *machine, _ *CNI, _ Pins) { os.RemoveAll(m.state) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			os.Mkdir(m.state, 0o755)
			before := m.describe(t)
			n := Network{StateDir: m.state}
			pod := Pins{Net: newNetns(t)}
			cni := n.CNI(m.dirs...)
			inside(t, m.netns, func() error {
				b, err := n.Join(t.Context(), "x")
				if err != nil {
					return err
				}
				a := Attachment{Conf: b.Conf, ContainerID: "x", IfName: "eth0", NetNS: pod.Net}
				if _, err := cni.Attach(t.Context(), a); err != nil {
					return err
				}
				tt.spoil(t, m, &cni, pod)
				if err := cni.Detach(t.Context(), a); err != nil {
					t.Error(err)
				}
				links, err := ourLinks()
				if err != nil {
					return err
				}
				for _, l := range links {
					t.Errorf("link %s is left after the detach", l.Attrs().Name)
				}
				if held, _ := reservations(filepath.Join(n.ipamDir(), b.Name)); len(held) > 0 {
					t.Errorf("left after the detach: %v", held)
				}
				return n.Leave(t.Context(), "x", nil)
			})
			m.wantAs(t, before, "at the end")
		})
	}
}

func TestNetworkFortyAttachmentsOneAfterTheOtherLeakNothing(t *testing.T) {
	m := newMachine(t)
	before := m.describe(t)
	n := Network{StateDir: m.state}
	cni := n.CNI(m.dirs...)
	var add, del []time.Duration
	for i := range 40 {
		id := fmt.Sprintf("pod-%d", i)
		pins := Pins{Net: filepath.Join(t.TempDir(), "net")}
		if err := pins.Create(PinOptions{}); err != nil {
			t.Fatal(err)
		}
		inside(t, m.netns, func() error {
			b, err := n.Join(t.Context(), id)
			if err != nil {
				return err
			}
			a := Attachment{Conf: b.Conf, ContainerID: id, IfName: "eth0", NetNS: pins.Net}
			begin := time.Now()
			if _, err := cni.Attach(t.Context(), a); err != nil {
				return err
			}
			add = append(add, time.Since(begin))
			begin = time.Now()
			err = n.Leave(t.Context(), id, func(ctx context.Context) error { return cni.Detach(ctx, a) })
			del = append(del, time.Since(begin))
			return err
		})
		if err := pins.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(add)
	slices.Sort(del)
	t.Logf("median attach %s, detach and leave %s", add[20], del[20])
	m.wantAs(t, before, "at the end")
}

func TestNetworkEightAtOnceGetAddressesOfTheirOwnAndReachEachOther(t *testing.T) {
	m := newMachine(t)
	before := m.describe(t)
	n := Network{StateDir: m.state}
	cni := n.CNI(m.dirs...)
	pods := make([]string, 8)
	for i := range pods {
		pods[i] = newNetns(t)
	}
	addrs := make([]netip.Addr, len(pods))
	attached := make([]Attachment, len(pods))
	each(t, len(pods), func(i int) error {
		return Do(m.netns, func() error {
			id := fmt.Sprintf("pod-%d", i)
			b, err := n.Join(t.Context(), id)
			if err != nil {
				return err
			}
			attached[i] = Attachment{Conf: b.Conf, ContainerID: id, IfName: "eth0", NetNS: pods[i]}
			res, err := cni.Attach(t.Context(), attached[i])
			if err == nil {
				addrs[i] = res.IPs[0].Addr()
			}
			return err
		})
	})
	for i := range pods {
		next := (i + 1) % len(pods)
		if got := seenFrom(t, pods[next], netip.AddrPortFrom(addrs[next], 80).String(), pods[i]); got != addrs[i] {
			t.Errorf("pod %d saw %s, want the address of pod %d, %s", next, got, i, addrs[i])
		}
	}
	each(t, len(pods), func(i int) error {
		return Do(m.netns, func() error {
			return n.Leave(t.Context(), attached[i].ContainerID, func(ctx context.Context) error { return cni.Detach(ctx, attached[i]) })
		})
	})
	m.wantAs(t, before, "at the end")
}

// wantForwarding is an error unless the machine forwards, as it must for a network's member.
func wantForwarding(member string) error {
	for _, f := range []family{ip4, ip6} {
		on, err := f.readForwarding()
		if err != nil {
			return err
		}
		if !on {
			return fmt.Errorf("%s is a member and %s is off", member, f.forwardName())
		}
	}
	return nil
}

func TestNetworkMembersOfTwoStateDirectoriesRacingAgree(t *testing.T) {
	m := newMachine(t)
	before := m.describe(t)
	networks := []Network{{StateDir: m.state}, {StateDir: m.state + "-2"}}
	var mu sync.Mutex
	subnets := map[string]netip.Prefix{}
	var wg sync.WaitGroup
	for i := range 12 {
		n := networks[i%2]
		wg.Go(func() {
			id := fmt.Sprintf("m%d", i)
			err := Do(m.netns, func() error {
				for range 5 {
					b, err := n.Join(t.Context(), id)
					if err != nil {
						return err
					}
					if err := wantForwarding(id); err != nil {
						return err
					}
					link, err := findBridge(&netlink.Handle{}, b.Name)
					if err != nil {
						return err
					}
					if link == nil {
						return fmt.Errorf("%s is a member and the bridge is not there", id)
					}
					mu.Lock()
					subnets[b.Name] = b.Subnet
					mu.Unlock()
					if err := n.Leave(t.Context(), id, nil); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(subnets) != 2 {
		t.Errorf("got bridges %v, want two", subnets)
	}
	m.wantAs(t, before, "at the end")
}

func TestNetworkLastToLeaveTurnsForwardingOffForAllStateDirectories(t *testing.T) {
	m := newMachine(t)
	one, two := Network{StateDir: m.state}, Network{StateDir: m.state + "-2"}
	inside(t, m.netns, func() error {
		a, err := one.Join(t.Context(), "a")
		if err != nil {
			return err
		}
		b, err := two.Join(t.Context(), "b")
		if err != nil {
			return err
		}
		if a.Subnet.Overlaps(b.Subnet) {
			t.Errorf("both state directories use %s", a.Subnet)
		}
		if err := one.Leave(t.Context(), "a", nil); err != nil {
			return err
		}
		if err := wantForwarding("b"); err != nil {
			t.Errorf("after the first state directory's last member left: %v", err)
		}
		if err := two.Leave(t.Context(), "b", nil); err != nil {
			return err
		}
		if wantForwarding("nobody") == nil {
			t.Error("forwarding is still on after the very last member left")
		}
		return nil
	})
}

func TestNetworkPassesDockersFilterAndGivesItBack(t *testing.T) {
	m := newMachine(t)
	inside(t, m.netns, func() error { // as Docker does it
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for _, f := range []family{ip4, ip6} {
			drop := nftables.ChainPolicyDrop
			filter := conn.AddTable(&nftables.Table{Family: f.tables(), Name: "filter"})
			user := conn.AddChain(&nftables.Chain{Table: filter, Name: "DOCKER-USER"})
			forward := conn.AddChain(&nftables.Chain{Table: filter, Name: "FORWARD", Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
			conn.AddRule(&nftables.Rule{Table: filter, Chain: forward, Exprs: jump(user.Name)})
		}
		return errors.Join(conn.Flush(), ip4.setForwarding(true), ip6.setForwarding(true))
	})
	before := m.describe(t)
	n := Network{StateDir: m.state}
	pod := newNetns(t)
	cni := n.CNI(m.dirs...)
	var a Attachment
	inside(t, m.netns, func() error {
		b, err := n.Join(t.Context(), "x")
		if err != nil {
			return err
		}
		if _, err := n.Join(t.Context(), "x"); err != nil { // adds no rule twice
			return err
		}
		a = Attachment{Conf: b.Conf, ContainerID: "x", IfName: "eth0", NetNS: pod}
		_, err = cni.Attach(t.Context(), a)
		return err
	})
	if got := strings.Count(m.describe(t), "rule podsim-"); got != 6 {
		t.Errorf("got %d rules of ours, want a masquerade and two accepts of each family:\n%s", got, m.describe(t))
	}
	seenFrom(t, m.outside, "198.51.100.1:8080", pod)
	seenFrom(t, m.outside, "[2001:db8::1]:8080", pod)
	inside(t, m.netns, func() error {
		return errors.Join(cni.Detach(t.Context(), a), n.Leave(t.Context(), "x", nil))
	})
	m.wantAs(t, before, "at the end")
}

func TestNetworkKnowsItsRulesInDockersChainWithoutTheirComments(t *testing.T) {
	m := newMachine(t)
	n := Network{StateDir: m.state}
	inside(t, m.netns, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		filter := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"})
		user := conn.AddChain(&nftables.Chain{Table: filter, Name: "DOCKER-USER"})
		// As iptables-restore leaves our two rules, and one that is none of ours.
		for _, link := range []string{n.BridgeName(), n.BridgeName(), "docker0"} {
			conn.AddRule(&nftables.Rule{Table: filter, Chain: user, Exprs: acceptLink(expr.MetaKeyOIFNAME, link)})
		}
		if err := errors.Join(conn.Flush(), ip4.setForwarding(true)); err != nil {
			return err
		}
		rulesLeft := func() int {
			rules, err := conn.GetRules(filter, user)
			if err != nil {
				t.Error(err)
			}
			return len(rules)
		}
		if _, err := n.Join(t.Context(), "x"); err != nil {
			return err
		}
		if got := rulesLeft(); got != 3 {
			t.Errorf("after joining there are %d rules, want our two in the place of the old ones, and docker0's", got)
		}
		if err := n.Leave(t.Context(), "x", nil); err != nil {
			return err
		}
		if got := rulesLeft(); got != 1 {
			t.Errorf("after leaving there are %d rules, want docker0's alone", got)
		}
		return nil
	})
}

func TestNetworkLeavesNothingWhereverJoiningOrLeavingWasCutShort(t *testing.T) {
	subnet := netip.MustParsePrefix("10.222.0.0/20")
	record := func(n Network, _ Bridge) error { return n.writeRecord(record{Subnet: subnet, Members: []string{"x"}}) }
	torn := func(n Network, _ Bridge) error { return os.WriteFile(n.recordFile()+".new", []byte("{"), 0o644) }
	bare := func(_ Network, b Bridge) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = b.Name
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	}
	whole := func(n Network, b Bridge) error { return n.ensureBridge(b, nil) }
	uplink := func(_ Network, b Bridge) error { return openUplink(b) }
	off := func(Network, Bridge) error {
		return errors.Join(ip4.setForwarding(false), ip6.setForwarding(false))
	}
	noBridge := func(_ Network, b Bridge) error { return deleteBridge(&netlink.Handle{}, b.Name) }
	tests := []struct {
		name  string
		steps []func(Network, Bridge) error
	}{
		{"nothing was done", nil},
		{"the record was being written", []func(Network, Bridge) error{record, torn}},
		{"the record was written", []func(Network, Bridge) error{record}},
		{"the bridge had no address", []func(Network, Bridge) error{record, bare}},
		{"the bridge was made", []func(Network, Bridge) error{record, whole}},
		{"the rules were written and forwarding was not on", []func(Network, Bridge) error{record, whole, uplink, off}},
		{"all was done", []func(Network, Bridge) error{record, whole, uplink}},
		{"the bridge was gone and the rules were not", []func(Network, Bridge) error{record, whole, uplink, noBridge}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			if err := os.MkdirAll(m.state, 0o755); err != nil {
				t.Fatal(err)
			}
			before := m.describe(t)
			n := Network{StateDir: m.state}
			b := Bridge{Name: n.BridgeName(), Subnet: subnet, Gateway: subnet.Addr().Next(), MTU: 1500}
			cutShort := func() error {
				for _, step := range tt.steps {
					if err := step(n, b); err != nil {
						return err
					}
				}
				return nil
			}
			inside(t, m.netns, func() error { // cleaned up as it is
				return errors.Join(cutShort(), n.Leave(t.Context(), "x", nil))
			})
			m.wantAs(t, before, "after a leave")
			inside(t, m.netns, func() error { // and with another that joins first
				if err := cutShort(); err != nil {
					return err
				}
				if _, err := n.Join(t.Context(), "y"); err != nil {
					return err
				}
				if err := wantForwarding("y"); err != nil {
					return err
				}
				return errors.Join(n.Leave(t.Context(), "x", nil), n.Leave(t.Context(), "y", nil))
			})
			m.wantAs(t, before, "after another member")
		})
	}
}

func TestLockIsWaitedForAsLongAsTheContextAllows(t *testing.T) {
	inside(t, newNetns(t), func() error {
		unlock, err := lockMachine(t.Context())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the user gave up"))
		if _, err := lockMachine(ctx); err == nil || err.Error() != "lock the network: the user gave up" {
			t.Errorf("got error %v, want the context's cause", err)
		}
		unlock()
		if unlock, err = lockMachine(t.Context()); err != nil {
			return err
		}
		unlock()
		return nil
	})
}

func TestNetworkNamesWhatItsSubnetConflictsWith(t *testing.T) {
	m := newMachine(t)
	n := Network{StateDir: m.state}
	inside(t, m.netns, func() error {
		if err := address("lo", "10.222.15.255/32"); err != nil {
			return err
		}
		b, err := n.Join(t.Context(), "x")
		if err != nil {
			return err
		}
		if want := netip.MustParsePrefix("10.222.16.0/20"); b.Subnet != want {
			t.Errorf("got %s, want %s, the first that is free", b.Subnet, want)
		}
		if err := address("up0", "10.222.30.1/24"); err != nil {
			return err
		}
		_, err = n.Join(t.Context(), "y")
		if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.By != "address 10.222.30.1/24 of up0" {
			t.Errorf("got error %v, want one that names the address of up0", err)
		}
		return n.Leave(t.Context(), "x", nil)
	})
}

func TestNetworkRefusesALinkAndARecordThatAreNotItsOwn(t *testing.T) {
	m := newMachine(t)
	n := Network{StateDir: m.state}
	inside(t, m.netns, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.BridgeName()
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer0"}); err != nil {
			return err
		}
		if _, err := n.Join(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "is a veth, not podsim's bridge") {
			t.Errorf("got error %v, want one that says what the link is", err)
		}
		if err := deleteLink(n.BridgeName()); err != nil {
			return err
		}
		if err := os.MkdirAll(m.state, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(n.recordFile(), []byte("{torn"), 0o644); err != nil {
			return err
		}
		if _, err := n.Join(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), n.recordFile()+" (remove it if no pod runs)") {
			t.Errorf("got error %v, want one that names the damaged file and what to do", err)
		}
		return nil
	})
}

func TestBridgeNamesFitALinkAndDependOnTheDirectoryOnly(t *testing.T) {
	if got := (Network{}).BridgeName(); got != "podsim0" {
		t.Errorf("the default state directory's bridge is %s, want podsim0", got)
	}
	if a, b := (Network{StateDir: "/a/b"}).BridgeName(), (Network{StateDir: "/a/./b/"}).BridgeName(); a != b || len(a) > 15 {
		t.Errorf("one directory has the bridges %s and %s", a, b)
	}
}

func TestChosenSubnetOverlapsNoClaim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var claims []claim
		for range rapid.IntRange(0, 40).Draw(t, "claims") {
			pool := rapid.SampledFrom(pools).Draw(t, "pool")
			base := pool.Addr().As4()
			base[1] |= rapid.Byte().Draw(t, "b1") & 1
			base[2], base[3] = rapid.Byte().Draw(t, "b2"), rapid.Byte().Draw(t, "b3")
			p := netip.PrefixFrom(netip.AddrFrom4(base), rapid.IntRange(8, 32).Draw(t, "bits"))
			claims = append(claims, claim{p.Masked(), "route " + p.Masked().String()})
		}
		got, err := chooseSubnet(claims)
		if err != nil {
			if _, ok := errors.AsType[*ConflictError](err); !ok {
				t.Fatalf("got %v, want a ConflictError", err)
			}
			return
		}
		if got.Bits() != subnetBits || got != got.Masked() {
			t.Fatalf("%s is no /%d", got, subnetBits)
		}
		for _, c := range claims {
			if got.Overlaps(c.Prefix) {
				t.Fatalf("chose %s, which overlaps %s", got, c.By)
			}
		}
	})
}

func BenchmarkNetworkJoinSecondMember(b *testing.B) {
	m := newMachine(b)
	n := Network{StateDir: m.state}
	inside(b, m.netns, func() error {
		if _, err := n.Join(b.Context(), "first"); err != nil {
			return err
		}
		for b.Loop() {
			if _, err := n.Join(b.Context(), "second"); err != nil {
				return err
			}
			if err := n.Leave(b.Context(), "second", nil); err != nil {
				return err
			}
		}
		return n.Leave(b.Context(), "first", nil)
	})
}

func BenchmarkNetworkJoinFirstAndLeave(b *testing.B) {
	m := newMachine(b)
	n := Network{StateDir: m.state}
	inside(b, m.netns, func() error {
		for b.Loop() {
			if _, err := n.Join(b.Context(), "first"); err != nil {
				return err
			}
			if err := n.Leave(b.Context(), "first", nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkAttach(b *testing.B) {
	m := newMachine(b)
	n := Network{StateDir: m.state}
	cni := n.CNI(m.dirs...)
	var a Attachment
	inside(b, m.netns, func() (err error) {
		bridge, err := n.Join(b.Context(), "x")
		a = Attachment{Conf: bridge.Conf, ContainerID: "x", IfName: "eth0"}
		return err
	})
	for b.Loop() {
		b.StopTimer()
		a.NetNS = newNetns(b)
		b.StartTimer()
		inside(b, m.netns, func() error { _, err := cni.Attach(b.Context(), a); return err })
		b.StopTimer()
		inside(b, m.netns, func() error { return cni.Detach(b.Context(), a) })
		b.StartTimer()
	}
	inside(b, m.netns, func() error { return n.Leave(b.Context(), "x", nil) })
}
