package netfiles

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func named(name string, spec corev1.PodSpec) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: spec}
}

func TestAPodsNameFollowsNW07AndNW08(t *testing.T) {
	yes := true
	long := strings.Repeat("a", 62) + "-b"
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want Name
		err  string
	}{
		"its own":                        {pod: named("web-0", corev1.PodSpec{}), want: Name{Host: "web-0", UTS: "web-0"}},
		"spec.hostname wins":             {pod: named("web-0", corev1.PodSpec{Hostname: "db"}), want: Name{Host: "db", UTS: "db"}},
		"cut to 63, no dash at the end":  {pod: named(long, corev1.PodSpec{}), want: Name{Host: strings.Repeat("a", 62), UTS: strings.Repeat("a", 62)}},
		"a subdomain gives a domain":     {pod: named("web", corev1.PodSpec{Subdomain: "sub"}), want: Name{Host: "web", Domain: "sub.shop.svc.cluster.local", UTS: "web"}},
		"as FQDN":                        {pod: named("web", corev1.PodSpec{Subdomain: "sub", SetHostnameAsFQDN: &yes}), want: Name{Host: "web", Domain: "sub.shop.svc.cluster.local", UTS: "web.sub.shop.svc.cluster.local"}},
		"as FQDN without a subdomain":    {pod: named("web", corev1.PodSpec{SetHostnameAsFQDN: &yes}), want: Name{Host: "web", UTS: "web"}},
		"an FQDN that Linux cannot hold": {pod: named(strings.Repeat("w", 40), corev1.PodSpec{Subdomain: "sub", SetHostnameAsFQDN: &yes}), err: "longer than the 64"},
	} {
		got, err := NameOf(c.pod, DefaultClusterDomain)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
		case err != nil || got != c.want:
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestHostsFileFollowsNW05(t *testing.T) {
	n := Name{Host: "web", Domain: "sub.shop.svc.cluster.local"}
	got := string(n.Hosts([]string{"10.0.0.2", "fd00::2"}, []corev1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"a", "b"}}}))
	want := `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
10.0.0.2	web.sub.shop.svc.cluster.local	web
fd00::2	web.sub.shop.svc.cluster.local	web

# Entries added by HostAliases.
1.2.3.4	a	b
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if plain := string(Name{Host: "web"}.Hosts([]string{"10.0.0.2"}, nil)); !strings.HasSuffix(plain, "10.0.0.2\tweb\n") {
		t.Errorf("without a subdomain or aliases:\n%s", plain)
	}
}

func TestResolverFollowsNW10AndNW11(t *testing.T) {
	node := ParseResolver([]byte("# made by hand\nnameserver 192.0.2.53\nsearch corp.example\noptions timeout:1\n"))
	cluster := Cluster{Domain: "cluster.local", DNS: []string{"198.18.0.53"}, Node: node}
	three := "3"
	for name, c := range map[string]struct {
		spec     corev1.PodSpec
		cluster  Cluster
		want     string
		warnings int
	}{
		"ClusterFirst": {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst}, cluster,
			"search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 198.18.0.53\noptions ndots:5\n", 0},
		"Default is the node's": {corev1.PodSpec{DNSPolicy: corev1.DNSDefault}, cluster,
			"search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n", 0},
		"None is dnsConfig alone": {corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"9.9.9.9"}}}, cluster,
			"nameserver 9.9.9.9\n", 0},
		"dnsConfig adds, and sets options": {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst, DNSConfig: &corev1.PodDNSConfig{
			Nameservers: []string{"9.9.9.9", "198.18.0.53"}, Searches: []string{"x.example"},
			Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &three}, {Name: "edns0"}}}}, cluster,
			"search shop.svc.cluster.local svc.cluster.local cluster.local corp.example x.example\nnameserver 198.18.0.53\nnameserver 9.9.9.9\noptions ndots:3 edns0\n", 0},
		"at most three nameservers": {corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}}}, cluster,
			"nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n", 1},
		"no cluster DNS falls back": {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst}, Cluster{Domain: "cluster.local", Node: node},
			"search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n", 1},
	} {
		r, warnings := ResolverOf(named("web", c.spec), c.cluster)
		if got := string(r.Text()); got != c.want || len(warnings) != c.warnings {
			t.Errorf("%s: got\n%swith warnings %q; want\n%swith %d", name, got, warnings, c.want, c.warnings)
		}
	}
	if !slices.Equal(cluster.Node.Nameservers, []string{"192.0.2.53"}) {
		t.Errorf("the node's resolver was changed: %+v", cluster.Node)
	}
}
