package intercept

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Annotated is the profile's Default as a pod's annotations change it. An annotation of the mesh's interception that is
// not known, not supported or not well formed is an error that names it; others are none of its business.
func Annotated(p Profile, annotations map[string]string) (Config, error) {
	c, err := Default(p)
	if err != nil {
		return Config{}, err
	}
	known := map[string]setter{}
	var prefixes []string
	switch p {
	case Istio:
		known, prefixes = istioAnnotations, []string{"traffic.sidecar.istio.io/"}
	case Linkerd:
		known, prefixes = linkerdAnnotations, nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		set, ok := known[name]
		if ok {
			err := set(&c, annotations[name])
			if err != nil {
				errs = append(errs, fmt.Errorf("annotation %s: %w", name, err))
			}
			continue
		}
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			errs = append(errs, fmt.Errorf("annotation %s is not known (known: %s)", name, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

// A setter puts one annotation's value into a config.
type setter func(c *Config, value string) error

var istioAnnotations = map[string]setter{
	"traffic.sidecar.istio.io/includeInboundPorts": func(c *Config, v string) (err error) {
		if v == "*" {
			c.IncludeInbound = Ports{All: true}
			return nil
		}
		c.IncludeInbound = Ports{}
		c.IncludeInbound.List, err = parsePorts(v)
		return err
	},
	"traffic.sidecar.istio.io/excludeInboundPorts":  addPorts(func(c *Config) *[]PortRange { return &c.ExcludeInbound }),
	"traffic.sidecar.istio.io/includeOutboundPorts": addPorts(func(c *Config) *[]PortRange { return &c.IncludeOutboundPorts }),
	"traffic.sidecar.istio.io/excludeOutboundPorts": addPorts(func(c *Config) *[]PortRange { return &c.ExcludeOutboundPorts }),
	"traffic.sidecar.istio.io/includeOutboundIPRanges": func(c *Config, v string) (err error) {
		if v == "*" {
			c.IncludeOutbound = CIDRs{All: true}
			return nil
		}
		c.IncludeOutbound = CIDRs{}
		c.IncludeOutbound.List, err = parseCIDRs(v)
		return err
	},
	"traffic.sidecar.istio.io/excludeOutboundIPRanges": func(c *Config, v string) (err error) {
		c.ExcludeOutbound, err = parseCIDRs(v)
		return err
	},
	"traffic.sidecar.istio.io/excludeInterfaces": func(c *Config, v string) error {
		c.ExcludeInterfaces = fields(v)
		return nil
	},
	"traffic.sidecar.istio.io/kubevirtInterfaces": unsupported("rerouting virtual interfaces is not supported"),
	"istio.io/reroute-virtual-interfaces":         unsupported("rerouting virtual interfaces is not supported"),
	"sidecar.istio.io/interceptionMode": func(_ *Config, v string) error {
		switch v {
		case "REDIRECT":
			return nil
		case "TPROXY":
			return errors.New("TPROXY is not supported, only REDIRECT")
		case "NONE":
			return errors.New("with NONE there is nothing to intercept: leave the interception out")
		}
		return fmt.Errorf("%q is none of REDIRECT, TPROXY and NONE", v)
	},
	"status.sidecar.istio.io/port": func(c *Config, v string) error {
		if v == "0" {
			return nil
		}
		return addPorts(func(c *Config) *[]PortRange { return &c.ExcludeInbound })(c, v)
	},
}

var linkerdAnnotations = map[string]setter{
	"config.linkerd.io/skip-inbound-ports":  addPorts(func(c *Config) *[]PortRange { return &c.ExcludeInbound }),
	"config.linkerd.io/skip-outbound-ports": addPorts(func(c *Config) *[]PortRange { return &c.ExcludeOutboundPorts }),
	"config.linkerd.io/skip-subnets": func(c *Config, v string) (err error) {
		c.ExcludeSources, err = parseCIDRs(v)
		return err
	},
	"config.linkerd.io/inbound-port": func(c *Config, v string) (err error) {
		c.InboundPort, err = parsePort(v)
		return err
	},
	"config.linkerd.io/outbound-port": func(c *Config, v string) (err error) {
		c.OutboundPort, err = parsePort(v)
		return err
	},
	"config.linkerd.io/control-port": func(c *Config, v string) error { return replacePort(c, 4190, v) },
	"config.linkerd.io/admin-port":   func(c *Config, v string) error { return replacePort(c, 4191, v) },
	"config.linkerd.io/proxy-uid": func(c *Config, v string) error {
		id, err := parseID(v)
		c.ProxyUIDs = []uint32{id}
		return err
	},
	"config.linkerd.io/proxy-gid": func(c *Config, v string) error {
		id, err := parseID(v)
		c.ProxyGIDs = []uint32{id}
		return err
	},
}

// unsupported refuses an annotation that is known, with a reason.
func unsupported(why string) setter {
	return func(_ *Config, v string) error {
		if strings.TrimSpace(v) == "" {
			return nil
		}
		return errors.New(why)
	}
}

// addPorts appends an annotation's ports to a list of the config.
func addPorts(list func(c *Config) *[]PortRange) setter {
	return func(c *Config, v string) error {
		ports, err := parsePorts(v)
		for _, r := range ports {
			if l := list(c); !slices.Contains(*l, r) {
				*l = append(*l, r)
			}
		}
		return err
	}
}

// replacePort moves one of the mesh's own ports that inbound traffic reaches directly.
func replacePort(c *Config, old uint16, v string) error {
	p, err := parsePort(v)
	if err != nil {
		return err
	}
	if i := slices.Index(c.ExcludeInbound, Port(old)); i >= 0 {
		c.ExcludeInbound[i] = Port(p)
	}
	return nil
}

// fields splits a comma-separated list; empty parts are left out, as meshes do.
func fields(v string) []string {
	var out []string
	for f := range strings.SplitSeq(v, ",") {
		if f = strings.TrimSpace(f); f != "" {
			out = append(out, f)
		}
	}
	return out
}

func parsePort(s string) (uint16, error) {
	p, err := strconv.ParseUint(s, 10, 16)
	if err != nil || p == 0 {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return uint16(p), nil
}

func parseID(s string) (uint32, error) {
	id, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no user or group ID", s)
	}
	return uint32(id), nil
}

// parsePorts parses "80,443,4000-5000".
func parsePorts(v string) ([]PortRange, error) {
	var out []PortRange
	for _, f := range fields(v) {
		first, last, isRange := strings.Cut(f, "-")
		a, err := parsePort(first)
		b := a
		if err == nil && isRange {
			b, err = parsePort(last)
		}
		if err != nil {
			return nil, err
		}
		if a > b {
			return nil, fmt.Errorf("%q is no range of ports: it ends before it begins", f)
		}
		out = append(out, PortRange{a, b})
	}
	return out, nil
}

// parseCIDRs parses "10.0.0.0/8,fd00::/8". An address alone is its own range.
func parseCIDRs(v string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, f := range fields(v) {
		p, err := netip.ParsePrefix(f)
		if addr, err2 := netip.ParseAddr(f); err2 == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is no range of addresses (10.0.0.0/8)", f)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
