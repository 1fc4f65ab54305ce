package intercept_test

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diffs "github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/netns/lab"
	"golang.org/x/sys/unix"
)

func TestT39RulesAreIdempotentReadBackAsAppliedAndLeaveForeignOnesAlone(t *testing.T) {
	ns := lab.Namespace(t)
	foreign := func(conn *nftables.Conn) {
		table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "foreign"})
		conn.AddChain(&nftables.Chain{Table: table, Name: "chain"})
	}
	lab.Rules(t, ns, foreign)
	p := &pair{t: t, pod: ns}
	annotations := map[string]string{
		"traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/9,192.0.2.1,fd00::/8", "traffic.sidecar.istio.io/excludeInboundPorts": "100-200",
		"traffic.sidecar.istio.io/includeOutboundPorts": "5432", "traffic.sidecar.istio.io/excludeInterfaces": "net1,a-long-name-015",
	}
	var applied intercept.Ruleset
	for range 2 {
		applied = p.apply(intercept.Istio, annotations)
	}
	back, counts, err := intercept.ReadBack(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	if diff := diffs.Diff(applied.String(), back.String()); diff != "" {
		t.Errorf("the kernel's rules differ from those applied (-applied +kernel):\n%s", diff)
	}
	for _, c := range counts {
		if c.Packets != 0 {
			t.Errorf("%+v counts packets where there was no traffic", c)
		}
	}
	for range 2 {
		if err := intercept.Withdraw(t.Context(), ns, applied); err != nil {
			t.Fatal(err)
		}
	}
	lab.Do(t, ns, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := conn.ListTables()
		if err != nil {
			return err
		}
		if len(tables) != 1 || tables[0].Name != "foreign" {
			return fmt.Errorf("after the withdrawal there are %d tables, want the foreign one alone", len(tables))
		}
		return nil
	})
}

// silent are rules whose absence no connection can show, and why.
var silent = map[string]string{
	"istio-output: loopback":                                       "traffic to 127.0.0.1 is on lo, where the rules before it have let it through",
	"istio-output: to the pod itself, by the proxy's gid 1337":     "whose uid is not the proxy's as well has returned before, whose is has been redirected before",
	"istio-output: to the pod itself, not by the proxy's gid 1337": "the same",
}

func TestT55ARuleThatIsMissingIsNoticedByTheChecks(t *testing.T) {
	p := newPair(t)
	p.proxy("15001", "15006")
	whole := p.apply(intercept.Istio, nil)
	checks := istioChecks(p)
	for i, chain := range whole.Tables[0].Chains {
		for j, rule := range chain.Rules {
			name := fmt.Sprintf("%s: %s", chain.Name, cmp.Or(rule.Why, rule.Verdict.String()))
			t.Run(name, func(t *testing.T) {
				if _, err := intercept.Apply(t.Context(), p.pod, without(whole, i, j)); err != nil {
					t.Fatal(err)
				}
				var noticed []string
				for _, c := range checks {
					if got := c.from.ask(t.Context(), c.to); got != c.want {
						noticed = append(noticed, c.name)
					}
				}
				if why, ok := silent[name]; ok == (len(noticed) > 0) {
					t.Errorf("without the rule %d checks fail (%q); its absence is known to be silent: %t (%s)", len(noticed), noticed, ok, why)
				}
			})
		}
	}
}

// without is a ruleset that lacks one rule of its first table.
func without(s intercept.Ruleset, chain, rule int) intercept.Ruleset {
	s.Tables = slices.Clone(s.Tables)
	s.Tables[0].Chains = slices.Clone(s.Tables[0].Chains)
	c := &s.Tables[0].Chains[chain]
	c.Rules = slices.Delete(slices.Clone(c.Rules), rule, rule+1)
	return s
}

func TestRulesCountTheConnectionsTheyMeet(t *testing.T) {
	p := newPair(t)
	p.proxy("15001", "15006")
	p.apply(intercept.Istio, nil)
	for range 3 {
		client{ns: p.pod, uid: 1000}.ask(t.Context(), "203.0.113.1:80")
	}
	s, counts, err := intercept.ReadBack(t.Context(), p.pod)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		if c.Family == intercept.IP4 && c.Chain == "istio-redirect" && c.Packets != 3 {
			t.Errorf("the redirect has met %d connections, want 3 under\n%s", c.Packets, s)
		}
	}
}

func TestDetectFindsRedirectsWhoeverInstalledThem(t *testing.T) {
	ns := lab.Namespace(t)
	found, err := intercept.Detect(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	if found.Any() {
		t.Errorf("in a fresh namespace: %s", found)
	}
	p := &pair{t: t, pod: ns}
	p.apply(intercept.Linkerd, nil)
	if found, err = intercept.Detect(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	want := []intercept.Redirect{
		{Table: "ip podsim-linkerd", Chain: "proxy-init-redirect", Kind: "redirect", Port: 4143},
		{Table: "ip podsim-linkerd", Chain: "proxy-init-output", Kind: "redirect", Port: 4140},
		{Table: "ip6 podsim-linkerd", Chain: "proxy-init-redirect", Kind: "redirect", Port: 4143},
		{Table: "ip6 podsim-linkerd", Chain: "proxy-init-output", Kind: "redirect", Port: 4140},
	}
	if diff := diffs.Diff(want, found.Redirects); diff != "" {
		t.Errorf("after the linkerd profile (-want +got):\n%s", diff)
	}
}

func TestApplyFailsWholeAndInWords(t *testing.T) {
	ns := lab.Namespace(t)
	bad := intercept.Ruleset{Tables: []intercept.Table{{Name: "podsim-bad", Chains: []intercept.Chain{
		{Name: "output", Hook: intercept.Output, Rules: []intercept.Rule{{Verdict: intercept.Verdict{Jump: "nowhere"}}}},
	}}}}
	_, err := intercept.Apply(t.Context(), ns, bad)
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "apply interception rules in "+ns) {
		t.Errorf("got error %v, want the kernel's ENOENT with the namespace", err)
	}
	if s, _, err := intercept.ReadBack(t.Context(), ns); err != nil || len(s.Tables) != 0 {
		t.Errorf("a refused transaction left %v (%v)", s, err)
	}
	if _, err := intercept.Apply(t.Context(), filepath.Join(t.TempDir(), "none"), bad); !errors.Is(err, netns.ErrNotPinned) {
		t.Errorf("in no namespace: got %v, want ErrNotPinned", err)
	}
}

func TestManyRulesFitOneTransaction(t *testing.T) {
	ns := lab.Namespace(t)
	c, err := intercept.Default(intercept.Istio)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		c.ExcludeOutboundPorts = append(c.ExcludeOutboundPorts, intercept.Port(uint16(20000+i)))
	}
	s, err := intercept.Render(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := intercept.Apply(t.Context(), ns, s); err != nil {
		t.Fatal(err)
	}
	back, _, err := intercept.ReadBack(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	if back.String() != s.String() {
		t.Error("4,000 rules do not read back as applied")
	}
}

func BenchmarkApplyIstio(b *testing.B) {
	ns := lab.Namespace(b)
	c, err := intercept.Default(intercept.Istio)
	if err != nil {
		b.Fatal(err)
	}
	s, err := intercept.Render(c)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := intercept.Apply(b.Context(), ns, s); err != nil {
			b.Fatal(err)
		}
	}
}
