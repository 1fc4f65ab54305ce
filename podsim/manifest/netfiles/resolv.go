package netfiles

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What libc's resolver reads (NW-11).
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
	maxDomain      = 253
)

// A Resolver is what a resolv.conf says.
type Resolver struct {
	Nameservers []string
	Searches    []string
	// Options are name or name:value.
	Options []string
}

// ParseResolver reads a resolv.conf. Lines that it does not know are passed over, as libc does; of search and
// domain the last line counts.
func ParseResolver(text []byte) Resolver {
	var r Resolver
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
			continue
		}
		switch words[0] {
		case "nameserver":
			r.Nameservers = append(r.Nameservers, words[1])
		case "search", "domain":
			r.Searches = words[1:]
		case "options":
			for _, o := range words[1:] {
				r.setOption(o)
			}
		}
	}
	return r
}

// A Cluster is where a pod's names are resolved.
type Cluster struct {
	Domain string
	// DNS are the addresses of the cluster's resolvers: podsim's own one.
	DNS []string
	// Node is the node's own resolver.
	Node Resolver
}

// ResolverOf gives a pod's resolver by its dnsPolicy and dnsConfig (NW-10, NW-11). The warnings, in the kubelet's
// words, tell what had to be left out.
func ResolverOf(pod *corev1.Pod, c Cluster) (r Resolver, warnings []string) {
	policy := pod.Spec.DNSPolicy
	if policy == corev1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = corev1.DNSDefault
	}
	switch policy {
	case corev1.DNSNone:
	case corev1.DNSDefault:
		r = c.Node.clone()
	default:
		if len(c.DNS) == 0 {
			warnings = append(warnings, fmt.Sprintf("there is no cluster DNS; cannot create Pod using %q policy. Falling back to %q policy.", corev1.DNSClusterFirst, corev1.DNSDefault))
			r = c.Node.clone()
			break
		}
		r.Nameservers = slices.Clone(c.DNS)
		ns := pod.Namespace
		r.Searches = append([]string{ns + ".svc." + c.Domain, "svc." + c.Domain, c.Domain}, c.Node.Searches...)
		r.Options = []string{"ndots:5"}
	}
	if d := pod.Spec.DNSConfig; d != nil {
		r.Nameservers = append(r.Nameservers, d.Nameservers...)
		r.Searches = append(r.Searches, d.Searches...)
		for _, o := range d.Options {
			if o.Value != nil && *o.Value != "" {
				r.setOption(o.Name + ":" + *o.Value)
			} else {
				r.setOption(o.Name)
			}
		}
	}
	return r, append(warnings, r.limit()...)
}

// Text is the content of a resolv.conf.
func (r Resolver) Text() []byte {
	var b strings.Builder
	if len(r.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.Searches, " "))
	}
	for _, ns := range r.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", ns)
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return []byte(b.String())
}

func (r Resolver) clone() Resolver {
	return Resolver{slices.Clone(r.Nameservers), slices.Clone(r.Searches), slices.Clone(r.Options)}
}

// setOption sets an option, in the place of an earlier one of its name.
func (r *Resolver) setOption(option string) {
	name, _, _ := strings.Cut(option, ":")
	i := slices.IndexFunc(r.Options, func(o string) bool {
		n, _, _ := strings.Cut(o, ":")
		return n == name
	})
	if i < 0 {
		r.Options = append(r.Options, option)
		return
	}
	r.Options[i] = option
}

// limit drops duplicates, and what libc would not read.
func (r *Resolver) limit() (warnings []string) {
	r.Nameservers, r.Searches = unique(r.Nameservers), unique(r.Searches)
	if len(r.Nameservers) > maxNameservers {
		r.Nameservers = r.Nameservers[:maxNameservers]
		warnings = append(warnings, "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+strings.Join(r.Nameservers, " "))
	}
	asked := len(r.Searches)
	r.Searches = slices.DeleteFunc(r.Searches[:min(asked, maxSearches)], func(s string) bool { return len(s) > maxDomain })
	for len(strings.Join(r.Searches, " ")) > maxSearchChars {
		r.Searches = r.Searches[:len(r.Searches)-1]
	}
	if len(r.Searches) < asked {
		warnings = append(warnings, "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+strings.Join(r.Searches, " "))
	}
	return warnings
}

// unique keeps the first of equal words.
func unique(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}
