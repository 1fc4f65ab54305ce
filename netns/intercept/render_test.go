package intercept

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got; rewrite with -update):\n%s", file, diff)
	}
}

// rendered renders a profile as annotations change it.
func rendered(t testing.TB, p Profile, annotations map[string]string, change ...func(*Config)) Ruleset {
	t.Helper()
	c, err := Annotated(p, annotations)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&c)
	}
	s, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const istioTraffic = "traffic.sidecar.istio.io/"

func TestRenderedProfiles(t *testing.T) {
	tests := []struct {
		file        string
		profile     Profile
		annotations map[string]string
		change      func(*Config)
	}{
		{file: "istio.nft", profile: Istio},
		{file: "istio-excluded.nft", profile: Istio, annotations: map[string]string{
			istioTraffic + "excludeInboundPorts": "22, 9090", istioTraffic + "excludeOutboundPorts": "5432",
			istioTraffic + "excludeOutboundIPRanges": "169.254.169.254,192.168.0.0/16,fd00::/8", istioTraffic + "excludeInterfaces": "net1",
		}},
		{file: "istio-included.nft", profile: Istio, annotations: map[string]string{
			istioTraffic + "includeInboundPorts": "8080,8443", istioTraffic + "includeOutboundPorts": "6379",
			istioTraffic + "includeOutboundIPRanges": "10.0.0.0/8,2001:db8::/32",
		}},
		{file: "istio-nothing.nft", profile: Istio, annotations: map[string]string{
			istioTraffic + "includeInboundPorts": "", istioTraffic + "includeOutboundIPRanges": "",
		}},
		{file: "istio-loopback-v4.nft", profile: Istio, annotations: map[string]string{istioTraffic + "includeOutboundIPRanges": "127.1.2.3/32"},
			change: func(c *Config) { c.IPv6, c.ExcludeUIDs = IPv6Bypass, []uint32{999} }},
		{file: "linkerd.nft", profile: Linkerd},
		{file: "linkerd-skipped.nft", profile: Linkerd, annotations: map[string]string{
			"config.linkerd.io/skip-inbound-ports": "25,4000-5000", "config.linkerd.io/skip-outbound-ports": "3306",
			"config.linkerd.io/skip-subnets": "10.1.0.0/16", "config.linkerd.io/proxy-uid": "2103", "config.linkerd.io/admin-port": "4999",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			var change []func(*Config)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			golden(t, tt.file, rendered(t, tt.profile, tt.annotations, change...).String())
		})
	}
}

func TestConfigsThatCannotBeAreRefusedInWords(t *testing.T) {
	tests := []struct {
		name   string
		from   Profile
		change func(*Config)
		want   string
	}{
		{"no profile", Istio, func(c *Config) { *c = Config{} }, "interception profile Profile(0) is not known"},
		{"a proxy that is not exempt", Istio, func(c *Config) { c.ProxyUIDs, c.ProxyGIDs = nil, nil }, "its own traffic would loop"},
		{"no outbound port", Istio, func(c *Config) { c.OutboundPort = 0 }, "outbound port is missing"},
		{"a range that ends before it begins", Istio, func(c *Config) { c.ExcludeInbound = []PortRange{{5, 4}} }, "ports 5-4 are no range"},
		{"everything and a list", Istio, func(c *Config) { c.IncludeInbound.List = []PortRange{Port(1)} }, "all included and listed"},
		{"a link's name that is none", Istio, func(c *Config) { c.ExcludeInterfaces = []string{`a" accept`} }, "is no link's name"},
		{"sources under istio", Istio, func(c *Config) { c.ExcludeSources = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, "cannot exclude sources"},
		{"destinations under linkerd", Linkerd, func(c *Config) { c.ExcludeOutbound = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, "cannot exclude destinations"},
		{"listed ports under linkerd", Linkerd, func(c *Config) { c.IncludeInbound = Ports{} }, "redirects all inbound ports"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Default(tt.from)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&c)
			if _, err := Render(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestAnnotationsThatAreWrongAreNamed(t *testing.T) {
	tests := []struct {
		name              string
		profile           Profile
		annotation, value string
		want              string
	}{
		{"a port that is none", Istio, istioTraffic + "excludeOutboundPorts", "80,http", `annotation traffic.sidecar.istio.io/excludeOutboundPorts: "http" is no port`},
		{"port 0", Istio, istioTraffic + "excludeInboundPorts", "0", `"0" is no port`},
		{"a port too high", Istio, istioTraffic + "includeInboundPorts", "65536", `"65536" is no port`},
		{"a range of addresses that is none", Istio, istioTraffic + "includeOutboundIPRanges", "10.0.0.0/33", `"10.0.0.0/33" is no range of addresses`},
		{"everything excluded", Istio, istioTraffic + "excludeOutboundIPRanges", "*", `"*" is no range of addresses`},
		{"an IPv4-mapped range", Istio, istioTraffic + "excludeOutboundIPRanges", "::ffff:10.0.0.0/104", "is no range of addresses"},
		{"an unknown annotation", Istio, istioTraffic + "excludeOutboundPort", "80", "is not known (known: "},
		{"TPROXY", Istio, "sidecar.istio.io/interceptionMode", "TPROXY", "TPROXY is not supported"},
		{"virtual interfaces", Istio, istioTraffic + "kubevirtInterfaces", "net1", "not supported"},
		{"a backward range", Linkerd, "config.linkerd.io/skip-inbound-ports", "20-10", "ends before it begins"},
		{"a uid that is none", Linkerd, "config.linkerd.io/proxy-uid", "-1", `"-1" is no user or group ID`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Annotated(tt.profile, map[string]string{tt.annotation: tt.value, "unrelated/annotation": "x"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestProfilesAreNamedAndParsed(t *testing.T) {
	for _, p := range Profiles() {
		text, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Profile
		if err := back.UnmarshalText(text); err != nil || back != p {
			t.Errorf("%q parses to %v, %v, want %v", text, back, err, p)
		}
	}
	if _, err := ParseProfile("itsio"); err == nil || !strings.Contains(err.Error(), "known: istio, linkerd") {
		t.Errorf("got error %v, want one that names the known profiles", err)
	}
	if _, err := Profile(99).MarshalText(); err == nil {
		t.Error("a profile that does not exist has a name")
	}
	if _, err := Default(Profile(99)); err == nil {
		t.Error("a profile that does not exist has defaults")
	}
}

// A packet is the first of a connection, as a chain sees it.
type packet struct {
	out      bool // output, else prerouting
	link     string
	src, dst netip.Addr
	port     uint16
	uid, gid uint32
}

// walk is what becomes of the packet: the port it is redirected to, or 0. It reads the ruleset as the kernel does, so
// that properties can be stated over all configs without a kernel.
func (s Ruleset) walk(p packet) (uint16, error) {
	for _, t := range s.Tables {
		if (t.Family == IP6) != p.dst.Is6() {
			continue
		}
		for _, c := range t.Chains {
			if c.Hook == Output && p.out || c.Hook == Prerouting && !p.out {
				port, _, err := t.walk(c.Name, p, 0)
				return port, err
			}
		}
	}
	return 0, nil
}

func (t Table) walk(chain string, p packet, depth int) (port uint16, done bool, err error) {
	if depth > 8 {
		return 0, false, errors.New("chains jump in a circle")
	}
	for _, c := range t.Chains {
		if c.Name != chain {
			continue
		}
		for _, r := range c.Rules {
			if !r.meets(p) {
				continue
			}
			switch {
			case r.Verdict.Redirect != 0:
				return r.Verdict.Redirect, true, nil
			case r.Verdict.Jump != "":
				if port, done, err := t.walk(r.Verdict.Jump, p, depth+1); done || err != nil {
					return port, done, err
				}
			default:
				return 0, false, nil
			}
		}
		return 0, false, nil
	}
	return 0, false, errors.New("no chain " + chain)
}

func (r Rule) meets(p packet) bool {
	for _, m := range r.Match {
		ok := true
		switch m.Key {
		case InLink:
			ok = !p.out && p.link == m.Link
		case OutLink:
			ok = p.out && p.link == m.Link
		case DestPort:
			ok = m.Ports.Contains(p.port)
		case Source:
			ok = m.Prefix.Contains(p.src)
		case Dest:
			ok = m.Prefix.Contains(p.dst)
		case SocketUID:
			ok = p.uid == m.ID
		case SocketGID:
			ok = p.gid == m.ID
		}
		if ok == m.Not {
			return false
		}
	}
	return true
}

func drawPorts(t *rapid.T, name string) []PortRange {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) PortRange { return Port(rapid.Uint16Range(1, 40).Draw(t, "port")) }), 0, 5).Draw(t, name)
}

func drawCIDRs(t *rapid.T, name string) []netip.Prefix {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "b")})
		return netip.PrefixFrom(a, rapid.IntRange(8, 16).Draw(t, "bits")).Masked()
	}), 0, 4).Draw(t, name)
}

func TestIstioPropertiesOverAllConfigs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := Default(Istio)
		if err != nil {
			t.Fatal(err)
		}
		c.ExcludeOutboundPorts, c.IncludeOutboundPorts = drawPorts(t, "excluded ports"), drawPorts(t, "included ports")
		c.ExcludeOutbound = drawCIDRs(t, "excluded")
		if !rapid.Bool().Draw(t, "all") {
			c.IncludeOutbound = CIDRs{List: drawCIDRs(t, "included")}
		}
		s, err := Render(c)
		if err != nil {
			t.Fatal(err)
		}
		p := packet{out: true, link: "eth0", src: netip.MustParseAddr("10.0.0.2"), port: rapid.Uint16Range(1, 40).Draw(t, "port"),
			dst: netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "dst"), 3, 4})}
		walk := func(p packet) uint16 {
			got, err := s.walk(p)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}

		has := func(ports []PortRange) bool {
			for _, r := range ports {
				if r.Contains(p.port) {
					return true
				}
			}
			return false
		}
		in := func(cidrs []netip.Prefix) bool {
			for _, r := range cidrs {
				if r.Contains(p.dst) {
					return true
				}
			}
			return false
		}
		want := uint16(0) // T14, T15: exclusion wins, then any inclusion is enough
		if !has(c.ExcludeOutboundPorts) && !in(c.ExcludeOutbound) &&
			(c.IncludeOutbound.All || has(c.IncludeOutboundPorts) || in(c.IncludeOutbound.List)) {
			want = c.OutboundPort
		}
		if got := walk(p); got != want {
			t.Fatalf("a packet to %s:%d goes to port %d, want %d under\n%s", p.dst, p.port, got, want, s)
		}
		for _, proxy := range []packet{{uid: 1337}, {gid: 1337}} { // T05, T11
			own := p
			own.uid, own.gid = proxy.uid, proxy.gid
			if got := walk(own); got != 0 {
				t.Fatalf("the proxy's own packet to %s:%d is redirected to %d", p.dst, p.port, got)
			}
			own.link, own.src = "lo", own.dst // to the pod itself: never to the outbound listener
			if got := walk(own); got == c.OutboundPort {
				t.Fatalf("the proxy's packet to the pod itself loops to %d", got)
			}
		}
	})
}

func FuzzAnnotations(f *testing.F) {
	for _, v := range []string{"80,443", "*", "", "10.0.0.0/8, fd00::/8", "1-65535", "::ffff:1.2.3.4", "eth0,net1", "1337", "REDIRECT", "0", "-", ","} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for p, known := range map[Profile]map[string]setter{Istio: istioAnnotations, Linkerd: linkerdAnnotations} {
			for name := range known {
				c, err := Annotated(p, map[string]string{name: value})
				if err != nil {
					if !strings.Contains(err.Error(), name) {
						t.Errorf("the error %q does not name %s", err, name)
					}
					continue
				}
				s, err := Render(c)
				if err != nil {
					continue
				}
				lines := len(s.Notes)
				for _, table := range s.Tables {
					lines += 2
					for _, chain := range table.Chains {
						lines += 2 + len(chain.Rules)
						if chain.Hook != NoHook {
							lines++
						}
					}
				}
				text := s.String()
				if got := strings.Count(text, "\n"); got != lines || strings.Count(text, `"`)%2 != 0 {
					t.Errorf("%s: %q breaks out of its rule:\n%s", name, value, text)
				}
			}
		}
	})
}
