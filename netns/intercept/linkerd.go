package intercept

import "fmt"

// The chains of the linkerd profile.
const (
	linkerdInbound  = "proxy-init-redirect"
	linkerdOutbound = "proxy-init-output"
)

// linkerdChains is linkerd-init's rules: loopback is direct by link, not by address; what is excluded is excluded by
// port, and inbound also by source.
func linkerdChains(c Config, f Family) []Chain {
	in := Chain{Name: linkerdInbound}
	for _, p := range c.ExcludeSources {
		if f.of(p) {
			in.add("excluded source", pass, Match{Key: Source, Prefix: p})
		}
	}
	for _, r := range c.ExcludeInbound {
		in.add("excluded port", pass, port(r))
	}
	in.add("inbound to the proxy", redirect(c.InboundPort), tcp)

	out := Chain{Name: linkerdOutbound}
	for _, id := range c.ProxyUIDs {
		out.add(fmt.Sprintf("proxy's uid %d", id), pass, uid(id))
	}
	for _, id := range c.ProxyGIDs {
		out.add(fmt.Sprintf("proxy's gid %d", id), pass, gid(id))
	}
	for _, id := range c.ExcludeUIDs {
		out.add(fmt.Sprintf("excluded uid %d", id), pass, uid(id))
	}
	out.add("loopback", pass, onLoop)
	for _, r := range c.ExcludeOutboundPorts {
		out.add("excluded port", pass, port(r))
	}
	out.add("outbound to the proxy", redirect(c.OutboundPort), tcp)

	return []Chain{in, out,
		{Name: "prerouting", Hook: Prerouting, Rules: []Rule{{Verdict: jump(linkerdInbound)}}},
		{Name: "output", Hook: Output, Rules: []Rule{{Verdict: jump(linkerdOutbound)}}},
	}
}
