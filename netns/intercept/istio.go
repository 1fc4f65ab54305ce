package intercept

import "fmt"

// The chains of the istio profile, named as Istio's nftables backend names them.
const (
	istioInbound    = "istio-inbound"
	istioOutput     = "istio-output"
	istioRedirect   = "istio-redirect"
	istioInRedirect = "istio-in-redirect"
)

// istioChains is istio-init's REDIRECT mode. The order within istio-output decides precedence and is Istio's.
func istioChains(c Config, f Family) []Chain {
	return []Chain{
		{Name: istioRedirect, Rules: []Rule{{Match: []Match{tcp}, Verdict: redirect(c.OutboundPort), Why: "outbound to the proxy"}}},
		{Name: istioInRedirect, Rules: []Rule{{Match: []Match{tcp}, Verdict: redirect(c.InboundPort), Why: "inbound to the proxy"}}},
		istioInboundChain(c),
		istioOutputChain(c, f),
		istioHook(c, "prerouting", Prerouting, InLink, istioInbound, tcp),
		istioHook(c, "output", Output, OutLink, istioOutput),
	}
}

// istioHook enters a chain from a hook, but for excluded links.
func istioHook(c Config, name string, hook Hook, link Key, chain string, match ...Match) Chain {
	h := Chain{Name: name, Hook: hook}
	for _, l := range c.ExcludeInterfaces {
		h.add("excluded link", pass, Match{Key: link, Link: l})
	}
	h.add("", jump(chain), match...)
	return h
}

func istioInboundChain(c Config) Chain {
	in := Chain{Name: istioInbound}
	if c.TunnelPort != 0 {
		in.add("tunnel port", pass, port(Port(c.TunnelPort)))
	}
	if !c.IncludeInbound.All {
		for _, r := range c.IncludeInbound.List {
			in.add("included port", jump(istioInRedirect), port(r))
		}
		return in
	}
	for _, r := range c.ExcludeInbound {
		in.add("excluded port", pass, port(r))
	}
	in.add("", jump(istioInRedirect), tcp)
	return in
}

func istioOutputChain(c Config, f Family) Chain {
	out := Chain{Name: istioOutput}
	for _, r := range c.ExcludeOutboundPorts {
		out.add("excluded port", pass, port(r))
	}
	out.add("inbound passthrough of the proxy", pass, onLoop, Match{Key: Source, Prefix: f.passthrough()})
	for _, id := range c.ProxyUIDs {
		istioOwner(&out, c, f, uid(id), fmt.Sprintf("proxy's uid %d", id))
	}
	for _, id := range c.ProxyGIDs {
		istioOwner(&out, c, f, gid(id), fmt.Sprintf("proxy's gid %d", id))
	}
	for _, id := range c.ExcludeUIDs {
		out.add(fmt.Sprintf("excluded uid %d", id), pass, uid(id))
	}
	out.add("loopback", pass, Match{Key: Dest, Prefix: f.loopback()})
	for _, p := range c.ExcludeOutbound {
		if f.of(p) {
			out.add("excluded address", pass, Match{Key: Dest, Prefix: p})
		}
	}
	for _, r := range c.IncludeOutboundPorts {
		out.add("included port", jump(istioRedirect), port(r))
	}
	if c.IncludeOutbound.All {
		out.add("", jump(istioRedirect))
	}
	for _, p := range c.IncludeOutbound.List {
		if f.of(p) {
			out.add("included address", jump(istioRedirect), Match{Key: Dest, Prefix: p})
		}
	}
	return out
}

// istioOwner adds the three rules for one identity of the proxy.
func istioOwner(out *Chain, c Config, f Family, owner Match, who string) {
	// A proxy that dials the pod's own address, by a service's name, comes back in through its inbound listener.
	toSelf := []Match{onLoop, not(Match{Key: Dest, Prefix: f.loopback()})}
	if c.TunnelPort != 0 {
		toSelf = append(toSelf, not(port(Port(c.TunnelPort))))
	} else {
		toSelf = append(toSelf, tcp)
	}
	out.add("to the pod itself, by the "+who, jump(istioInRedirect), append(toSelf, owner)...)
	if !c.capturesLoopback() {
		out.add("to the pod itself, not by the "+who, pass, onLoop, not(owner))
	}
	out.add(who, pass, owner)
}
