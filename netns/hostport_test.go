//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// publishes joins the machine's network and attaches a new namespace with ports.
func (m *machine) publishes(t testing.TB, id string, ports ...HostPort) (Attachment, Result, error) {
	t.Helper()
	n := Network{StateDir: m.state}
	a := Attachment{ContainerID: id, IfName: "eth0", NetNS: newNetns(t), Ports: ports}
	var res Result
	err := Do(m.netns, func() error {
		b, err := n.Join(t.Context(), id)
		if err != nil {
			return err
		}
		a.Conf = b.Conf
		res, err = n.CNI(m.dirs...).Attach(t.Context(), a)
		return err
	})
	return a, res, err
}

// reaches connects from a namespace to an address behind which a listener in another is, and returns the source
// address that the listener saw.
func reaches(t testing.TB, server, listen, client, address string) (netip.Addr, error) {
	t.Helper()
	l, err := Listen(t.Context(), server, "tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := Dialer{Path: client, Dialer: net.Dialer{Timeout: 2 * time.Second}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(), nil
}

func TestAPortOfTheMachineLeadsToItsPodFromEverywhere(t *testing.T) { // NW-04
	m := newMachine(t)
	before := m.describe(t)
	a, _, err := m.publishes(t, "web", HostPort{Protocol: "tcp", Port: 8080, Target: 80})
	if err != nil {
		t.Fatal(err)
	}
	other, _, b := m.attachAs(t, "other")
	tests := []struct {
		name, client, address string
		source                string // empty: whatever it is
	}{
		{"from outside", m.outside, "198.51.100.2:8080", "198.51.100.1"},
		{"from outside by IPv6", m.outside, "[2001:db8::2]:8080", "2001:db8::1"},
		{"from the machine by 127.0.0.1", m.netns, "127.0.0.1:8080", b.Gateway.String()},
		{"from the machine by its address", m.netns, "198.51.100.2:8080", ""},
		{"from the machine by its IPv6 address", m.netns, "[2001:db8::2]:8080", ""},
		{"from another pod", other.NetNS, "198.51.100.2:8080", ""},
		{"from another pod by IPv6", other.NetNS, netip.AddrPortFrom(b.Gateway6, 8080).String(), ""},
		{"from the pod itself", a.NetNS, "198.51.100.2:8080", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := reaches(t, a.NetNS, ":80", tt.client, tt.address)
			if err != nil || tt.source != "" && got.String() != tt.source {
				t.Errorf("got source %s, %v; want %s", got, err, tt.source)
			}
		})
	}
	inside(t, other.NetNS, func() error { // a pod that routes 127.0.0.1 to the machine
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrDel(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("127.0.0.1/8"))}),
			os.WriteFile("/proc/sys/net/ipv4/conf/eth0/route_localnet", []byte("1"), 0),
			netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("127.0.0.1/32")), Gw: b.Gateway.AsSlice()}))
	})
	if _, err := reaches(t, m.netns, "127.0.0.1:9", other.NetNS, "127.0.0.1:9"); err == nil {
		t.Error("a pod reaches the machine's 127.0.0.1")
	}
	m.drop(t, a)
	if _, err := reaches(t, a.NetNS, ":80", m.outside, "198.51.100.2:8080"); err == nil {
		t.Error("the port leads to its pod after the detach")
	}
	m.drop(t, other)
	m.wantAs(t, before, "at the end")
}

func TestAPortWithAnAddressIsThatAddressesAlone(t *testing.T) {
	m := newMachine(t)
	local := HostPort{Protocol: "tcp", Port: 8080, IP: netip.MustParseAddr("127.0.0.1"), Target: 80}
	a, _, err := m.publishes(t, "web", local)
	if err != nil {
		t.Fatal(err)
	}
	if err := Do(m.netns, func() error { return CheckPort(local) }); err == nil || !strings.Contains(err.Error(), "is taken by pod web on podsim-") {
		t.Errorf("got %v of a pod's port, want an error that names the pod", err)
	}
	if _, err := reaches(t, a.NetNS, ":80", m.netns, "127.0.0.1:8080"); err != nil {
		t.Errorf("the port's own address: %v", err)
	}
	for client, address := range map[string]string{m.netns: "198.51.100.2:8080", m.outside: "198.51.100.2:8080"} {
		if _, err := reaches(t, a.NetNS, ":80", client, address); err == nil {
			t.Errorf("another address, %s, leads to the pod", address)
		}
	}
	b, _, err := m.publishes(t, "next", HostPort{Protocol: "tcp", Port: 8080, IP: netip.MustParseAddr("198.51.100.2"), Target: 80})
	if err != nil {
		t.Errorf("the same port of another address: %v", err)
	}
	c, _, err := m.publishes(t, "all", HostPort{Protocol: "tcp", Port: 8080, Target: 80})
	if taken, ok := errors.AsType[*TakenError](err); !ok || !strings.Contains(taken.Error(), "port 8080/tcp of this machine is taken by pod ") {
		t.Errorf("got error %v, want one that names the port and the pod", err)
	}
	d, _, err := m.publishes(t, "udp", HostPort{Protocol: "udp", Port: 8080, Target: 80})
	if err != nil {
		t.Errorf("the same port of another protocol: %v", err)
	}
	m.drop(t, a, b, c, d)
}

func TestUDPIsPublishedToo(t *testing.T) {
	m := newMachine(t)
	a, _, err := m.publishes(t, "dns", HostPort{Protocol: "udp", Port: 5300, Target: 53})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ListenPacket(t.Context(), a.NetNS, "udp4", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	d := Dialer{Path: m.outside}
	c, err := d.DialContext(t.Context(), "udp", "198.51.100.2:5300")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	deadline := time.Now().Add(5 * time.Second)
	if err := errors.Join(c.SetDeadline(deadline), p.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	n, from, err := p.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteTo(buf[:n], from); err != nil {
		t.Fatal(err)
	}
	if n, err = c.Read(buf); err != nil || string(buf[:n]) != "ping" {
		t.Errorf("got %q, %v back by the port, want ping", buf[:n], err)
	}
	m.drop(t, a)
}

func TestPortsGoWithTheNetworkWhoeverForgetsThem(t *testing.T) {
	for _, last := range []bool{true, false} {
		t.Run(fmt.Sprintf("the last of all networks %t", last), func(t *testing.T) {
			m := newMachine(t)
			neighbour := *m
			neighbour.state += "-2"
			var other Attachment
			before := ""
			if !last {
				other, _, _ = neighbour.attachAs(t, "neighbour")
			}
			before = m.describe(t)
			a, _, err := m.publishes(t, "web", HostPort{Protocol: "tcp", Port: 8080, Target: 80})
			if err != nil {
				t.Fatal(err)
			}
			n := Network{StateDir: m.state}
			inside(t, m.netns, func() error { // as with a run whose record is lost
				a.Ports = nil
				return n.Leave(t.Context(), "web", func(ctx context.Context) error { return n.CNI(m.dirs...).Detach(ctx, a) })
			})
			if strings.Contains(m.describe(t), "8080/tcp") {
				t.Errorf("the port is still there:\n%s", m.describe(t))
			}
			without := strings.NewReplacer("chain podsim hostports\n", "", "chain podsim hostports_output\n", "",
				"chain podsim hostports_return\n", "", "chain podsim hostports_guard\n", "")
			if got := without.Replace(m.describe(t)); got != before {
				t.Errorf("the machine was\n%s\nand is\n%s", before, got)
			}
			if !last {
				neighbour.drop(t, other)
			}
		})
	}
}

func TestCheckPortNamesWhatIsWrong(t *testing.T) {
	m := newMachine(t)
	l, err := Listen(t.Context(), m.netns, "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddr
	u, err := ListenPacket(t.Context(), m.netns, "udp4", "0.0.0.0:5300")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, tt := range []struct {
		port HostPort
		want string
	}{
		{HostPort{Protocol: "udp", Port: 5300}, "port 5300/udp of this machine is taken by another process"},
		{HostPort{Protocol: "tcp", Port: 8080}, "port 8080/tcp of this machine is taken by another process"},
		{HostPort{Protocol: "tcp", Port: 8080, IP: at("127.0.0.1")}, "port 127.0.0.1:8080/tcp of this machine is taken"},
		{HostPort{Protocol: "tcp", Port: 8080, IP: at("198.51.100.2")}, ""},
		{HostPort{Protocol: "tcp", Port: 8080, IP: at("::1")}, ""},
		{HostPort{Protocol: "tcp", Port: 8081}, ""},
		{HostPort{Protocol: "udp", Port: 8080}, ""},
		{HostPort{Protocol: "tcp", Port: 8081, IP: at("203.0.113.7")}, "this machine has no address 203.0.113.7"},
	} {
		err := Do(m.netns, func() error { return CheckPort(tt.port) })
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.port, err, tt.want)
		}
	}
}

func TestPortsNeedAPluginOnANetworkOfTheUsers(t *testing.T) {
	m := newMachine(t)
	conf := []byte(`{"cniVersion":"1.0.0","name":"mine","plugins":[{"type":"bridge","bridge":"mine0","ipam":{"type":"host-local","dataDir":"` +
		filepath.Join(m.state, "mine") + `","ranges":[[{"subnet":"192.0.2.0/24"}]]}}]}`)
	a := Attachment{Conf: conf, ContainerID: "x", IfName: "eth0", NetNS: newNetns(t), Ports: []HostPort{{Protocol: "tcp", Port: 8080, Target: 80}}}
	err := Do(m.netns, func() error {
		_, err := CNI{Dirs: m.dirs, CacheDir: filepath.Join(m.state, "cni")}.Attach(t.Context(), a)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "capability portMappings") {
		t.Errorf("got error %v, want one that says what is missing", err)
	}
}
