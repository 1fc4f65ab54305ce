//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"
)

// A machine is a network namespace that plays the machine, with one link to an outside of its own.
type machine struct {
	netns   string // the machine's
	outside string // 198.51.100.1/24; the machine is .2 there and has its default route to it
	state   string
	dirs    []string // of CNI plugins
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{netns: newNetns(t), outside: newNetns(t), state: filepath.Join(t.TempDir(), "state"), dirs: []string{pluginDir(t)}}
	out, err := openPin(m.outside)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(out)
	inside(t, m.netns, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "up0", 1400
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "up1", PeerNamespace: netlink.NsFd(out)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return errors.Join(address("up0", "198.51.100.2/24"), defaultRoute("198.51.100.1"))
	})
	inside(t, m.outside, func() error { return address("up1", "198.51.100.1/24") })
	return m
}

// pluginDir is where the CNI plugins were built.
func pluginDir(t testing.TB) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("PODSIM_BUNDLE"), "../bin", "/tmp/bundle"} {
		if dir != "" && pluginIn("bridge", []string{dir}) && pluginIn("host-local", []string{dir}) {
			return dir
		}
	}
	if os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal("PODSIM_REQUIRE_HOST=1, but the CNI plugins are not built (go build -o bin/ tool)")
	}
	t.Skip("needs the CNI plugins (go build -o bin/ tool)")
	return ""
}

func address(link, cidr string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, addr), netlink.LinkSetUp(l))
}

func defaultRoute(gw string) error {
	return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)})
}

// state describes all that a Network changes in a machine and its state directory.
func (m *machine) describe(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	inside(t, m.netns, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			fmt.Fprintf(&b, "link %s %s\n", l.Attrs().Name, l.Type())
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		if err != nil {
			return err
		}
		for _, c := range chains {
			fmt.Fprintf(&b, "chain %s %s\n", c.Table.Name, c.Name)
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				return err
			}
			for _, r := range rules {
				comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
				fmt.Fprintf(&b, "  rule %s\n", comment)
			}
		}
		on, err := readForwarding()
		fmt.Fprintf(&b, "forwarding %t\n", on)
		return err
	})
	filepath.WalkDir(m.state, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != m.state {
			fmt.Fprintln(&b, "file", strings.TrimPrefix(path, m.state))
		}
		return nil
	})
	return b.String()
}

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
		if res.Gateway != b.Gateway || len(res.IPs) != 1 || !b.Subnet.Contains(res.IPs[0].Addr()) {
			t.Errorf("got %+v, want one address in %s and the gateway %s", res, b.Subnet, b.Gateway)
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

	inside(t, m.netns, func() error {
		for range 2 { // both are idempotent
			if err := errors.Join(cni.Detach(t.Context(), a), n.Leave(t.Context(), "web-1", nil)); err != nil {
				return err
			}
		}
		return nil
	})
	if diff := cmp.Diff(before, m.describe(t)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
}

// seenFrom connects from one namespace to a listener in another and returns the source address that the listener saw.
func seenFrom(t testing.TB, server, address, client string) netip.Addr {
	t.Helper()
	l, err := Listen(t.Context(), server, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := Dialer{Path: client, Dialer: net.Dialer{Timeout: 5 * time.Second}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
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
			if diff := cmp.Diff(before, m.describe(t)); diff != "" {
				t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
			}
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
	if diff := cmp.Diff(before, m.describe(t)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
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
					if on, err := readForwarding(); err != nil || !on {
						return fmt.Errorf("%s is a member and forwarding is off (%v)", id, err)
					}
					if link, err := findBridge(&netlink.Handle{}, b.Name); err != nil || link == nil {
						return fmt.Errorf("%s is a member and the bridge is not there (%v)", id, err)
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
	if diff := cmp.Diff(before, m.describe(t)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
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
		if on, _ := readForwarding(); !on {
			t.Error("the first state directory's last member turned forwarding off under the second")
		}
		if err := two.Leave(t.Context(), "b", nil); err != nil {
			return err
		}
		if on, _ := readForwarding(); on {
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
		drop := nftables.ChainPolicyDrop
		filter := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"})
		user := conn.AddChain(&nftables.Chain{Table: filter, Name: "DOCKER-USER"})
		forward := conn.AddChain(&nftables.Chain{Table: filter, Name: "FORWARD", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
		conn.AddRule(&nftables.Rule{Table: filter, Chain: forward, Exprs: jump(user.Name)})
		return errors.Join(conn.Flush(), setForwarding(true))
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
	if got := strings.Count(m.describe(t), "rule podsim-"); got != 3 {
		t.Errorf("got %d rules of ours, want a masquerade and two accepts:\n%s", got, m.describe(t))
	}
	seenFrom(t, m.outside, "198.51.100.1:8080", pod)
	inside(t, m.netns, func() error {
		return errors.Join(cni.Detach(t.Context(), a), n.Leave(t.Context(), "x", nil))
	})
	if diff := cmp.Diff(before, m.describe(t)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
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
		if err := errors.Join(conn.Flush(), setForwarding(true)); err != nil {
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

func TestReadConfSaysWhatIsWrongWithTheFile(t *testing.T) {
	dir := t.TempDir()
	plugins := t.TempDir()
	for _, p := range []string{"bridge", "host-local"} {
		if err := os.WriteFile(filepath.Join(plugins, p), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, conf, want string }{
		{"a list", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","ipam":{"type":"host-local"}}]}`, ""},
		{"a single plugin", `{"cniVersion":"0.4.0","name":"n","type":"bridge","ipam":{"type":"host-local"}}`, ""},
		{"no JSON", "{\n\"name\": \"n\",\n]", "line 3: invalid character"},
		{"neither plugins nor type", `{"cniVersion":"1.0.0","name":"n"}`, `neither "plugins"`},
		{"no version", `{"name":"n","plugins":[{"type":"bridge"}]}`, "cniVersion is missing"},
		{"a version from the future", `{"cniVersion":"9.0.0","name":"n","plugins":[{"type":"bridge"}]}`, "newer than"},
		{"no name", `{"cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}`, "no name"},
		{"a plugin that is not there", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"calico"}]}`, `CNI plugin "calico" is not in ` + plugins},
		{"an ipam plugin that is not there", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","ipam":{"type":"dhcp"}}]}`, `CNI plugin "dhcp"`},
		{"a plugin with a path", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"../bridge"}]}`, `CNI plugin "../bridge"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "conf.json")
			if err := os.WriteFile(file, []byte(tt.conf), 0o644); err != nil {
				t.Fatal(err)
			}
			conf, err := ReadConf(file, plugins)
			if tt.want == "" {
				if err != nil || !json.Valid(conf) || !strings.Contains(string(conf), `"plugins"`) {
					t.Errorf("got %s, %v, want a list", conf, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("got error %v, want one with the file and %q", err, tt.want)
			}
		})
	}
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
