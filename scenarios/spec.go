package scenarios

import (
	"slices"
	"time"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

const defaultTimeout = 5 * time.Minute

// spec reads the parts in the order in which they depend on each other, whatever their order in the file.
func (l *loader) spec(n *yaml.Node) {
	parts := map[string]*yaml.Node{}
	part := func(key string) func(*yaml.Node) { return func(v *yaml.Node) { parts[key] = v } }
	f := fields{}
	order := []struct {
		key  string
		read func(*yaml.Node)
	}{
		{"options", l.options}, {"pod", l.pod}, {"resources", l.resources}, {"images", l.images}, {"stubs", l.stubs},
		{"world", l.world}, {"intercept", l.intercept},
		{"steps", func(v *yaml.Node) { l.out.Steps = l.steps(v, "steps") }},
		{"finally", func(v *yaml.Node) { l.out.Finally = l.steps(v, "finally") }},
	}
	for _, o := range order {
		f[o.key] = part(o.key)
	}
	if !l.mapping(n, "spec", f, later{
		"pods": "a scenario has one pod", "matrix": "", "vars": "", "retry": "use `eventually` on the step", "onFailure": "use `finally`",
	}) {
		return
	}
	for _, o := range order {
		if parts[o.key] != nil {
			o.read(parts[o.key])
		}
	}
	if parts["pod"] == nil {
		if _, several := diag.Lookup(n, "pods"); several == nil {
			l.errorf(n, "spec.pod is missing; write pod: {file: pod.yaml}")
		}
	}
	if len(l.out.Steps) == 0 && (parts["steps"] == nil || parts["steps"].Kind == yaml.SequenceNode) {
		l.errorf(n, "spec.steps is empty; the first step is usually `- up: {wait: ready}`")
	}
}

func (l *loader) options(n *yaml.Node) {
	l.mapping(n, "options", fields{
		"timeout": func(v *yaml.Node) { l.out.Options.Timeout = l.duration(v) },
		"strict":  func(v *yaml.Node) { l.out.Options.Strict = l.boolean(v) },
		"profile": l.profile,
		"clock":   l.clock,
	}, nil)
	l.checkKubelet(n)
}

// pod loads the pod from its file or from the scenario itself.
func (l *loader) pod(n *yaml.Node) {
	var m *manifest.Manifest
	var sel manifest.Select
	var images *yaml.Node
	sources := 0
	ok := l.mapping(n, "pod", fields{
		"file": func(v *yaml.Node) {
			sources++
			m, _ = l.load(v)
		},
		"inline": func(v *yaml.Node) {
			sources++
			var found diag.List
			m, found = manifest.FromNode(l.src, v)
			l.found = append(l.found, found...)
		},
		"select": func(v *yaml.Node) {
			l.mapping(v, "select", fields{
				"kind": func(v *yaml.Node) { sel.Kind = l.text(v) },
				"name": func(v *yaml.Node) { sel.Name = l.text(v) },
			}, nil)
		},
		"images": func(v *yaml.Node) { images = v },
	}, later{"patches": ""})
	if ok && sources != 1 {
		l.errorf(n, "want one of file and inline in pod")
	}
	if m == nil || sources != 1 {
		return
	}
	opts := manifest.Options{Strict: l.out.Options.Strict}
	if k := l.out.Options.Kubelet; k != nil {
		opts.Kubelet = *k
	}
	p, found := m.Pod(sel, opts)
	l.found = append(l.found, found...)
	if p == nil {
		return
	}
	l.names.pod = p
	l.out.Pods = []*corev1.Pod{p}
	l.out.Resources = l.out.Resources.Join(m.Resources)
	if images != nil {
		l.images(images)
	}
}

// resources reads a list of files, or a mapping of it with what is not supported yet.
func (l *loader) resources(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		l.mapping(n, "resources", fields{
			"files": l.resources,
		}, later{"node": ""})
		return
	}
	l.list(n, func(v *yaml.Node) {
		if m, ok := l.load(v); ok {
			l.out.Resources = l.out.Resources.Join(m.Resources)
		}
	})
}

func (l *loader) images(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.errorf(n, "images must be a mapping of containers, not a %s", diag.KindName(n))
		return
	}
	if l.out.Images == nil {
		l.out.Images = map[string]Image{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if l.container(key) != "" {
			l.out.Images[key.Value] = l.image(value)
		}
	}
}

func (l *loader) image(n *yaml.Node) Image {
	var i Image
	if n.Kind == yaml.ScalarNode {
		i.Reference = l.text(n)
		l.checkImage(n, i)
		return i
	}
	l.mapping(n, "image", fields{
		"reference": func(v *yaml.Node) { i.Reference = l.text(v) },
		"binary":    func(v *yaml.Node) { i.Binary = l.path(v) },
		"archive":   func(v *yaml.Node) { i.Archive = l.path(v) },
	}, nil)
	l.checkImage(n, i)
	return i
}

func (l *loader) stubs(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.errorf(n, "stubs must be a mapping of names, not a %s", diag.KindName(n))
		l.names.broken = true
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		l.names.stubs = append(l.names.stubs, key.Value)
		if bad := validation.IsDNS1123Label(key.Value); len(bad) > 0 {
			l.errorf(key, "%q is no name for a stub: %s", key.Value, bad[0])
		}
		if l.names.pod != nil && l.names.container(key.Value) != nil || slices.Contains([]string{"pod", "rules", fromHost, world}, key.Value) {
			l.errorf(key, "a stub cannot be named %s: that is a container's or a reserved name", key.Value)
		}
		l.out.Stubs = append(l.out.Stubs, l.stub(key, value))
	}
	l.distinct(n)
}

// distinct reports a name or an address that two stubs have: nobody could say which of them is meant.
func (l *loader) distinct(n *yaml.Node) {
	owner := map[string]string{}
	for _, s := range l.out.Stubs {
		claims := append([]string{s.Name}, s.Hosts...)
		for _, a := range s.Addresses {
			claims = append(claims, a.String())
		}
		for _, claim := range claims {
			if other, taken := owner[claim]; taken && other != s.Name {
				_, v := diag.Lookup(n, s.Name)
				l.errorf(v, "stub %s has %s, which is stub %s's already", s.Name, claim, other)
			}
			owner[claim] = s.Name
		}
	}
}

func (l *loader) stub(key, n *yaml.Node) Stub {
	s := Stub{Name: key.Value}
	ok := l.mapping(n, "stub "+key.Value, fields{
		"hosts":     func(v *yaml.Node) { s.Hosts = l.texts(v) },
		"addresses": func(v *yaml.Node) { l.list(v, func(v *yaml.Node) { s.Addresses = append(s.Addresses, l.address(v)) }) },
		"delay":     func(v *yaml.Node) { s.Delay = l.duration(v) },
		"http":      func(v *yaml.Node) { s.HTTP = l.httpStub(v) },
		"tcp":       func(v *yaml.Node) { s.TCP = l.tcpStub(v) },
	}, later{"https": "", "h2c": "", "grpc": "", "udp": ""})
	if ok && (s.HTTP == nil) == (s.TCP == nil) {
		for _, other := range []string{"https", "h2c", "grpc", "udp"} {
			if _, v := diag.Lookup(n, other); v != nil {
				return s
			}
		}
		l.errorf(key, "stub %s: want one of http and tcp", key.Value)
	}
	return s
}

func (l *loader) httpStub(n *yaml.Node) *HTTPStub {
	s := &HTTPStub{Port: 80}
	l.mapping(n, "http", fields{
		"port": func(v *yaml.Node) { s.Port = l.port(v) },
		"routes": func(v *yaml.Node) {
			l.list(v, func(v *yaml.Node) { s.Routes = append(s.Routes, l.route(v)) })
		},
	}, nil)
	return s
}

func (l *loader) route(n *yaml.Node) Route {
	r := Route{Path: "/", Status: 200}
	l.mapping(n, "route", fields{
		"path":    func(v *yaml.Node) { r.Path = l.text(v) },
		"status":  func(v *yaml.Node) { r.Status = int(l.integer(v, 100, 599)) },
		"body":    func(v *yaml.Node) { r.Body = l.text(v) },
		"headers": func(v *yaml.Node) { r.Header = l.textMap(v, "headers") },
		"delay":   func(v *yaml.Node) { r.Delay = l.duration(v) },
	}, nil)
	if r.Path == "" || r.Path[0] != '/' {
		l.errorf(n, "a route's path begins with /, not %q", r.Path)
	}
	return r
}

func (l *loader) tcpStub(n *yaml.Node) *TCPStub {
	s := &TCPStub{Mode: TCPEcho}
	modes := make([]string, 0, len(TCPModes()))
	for _, m := range TCPModes() {
		modes = append(modes, string(m))
	}
	l.mapping(n, "tcp", fields{
		"port":   func(v *yaml.Node) { s.Port = l.port(v) },
		"mode":   func(v *yaml.Node) { s.Mode = TCPMode(l.word(v, "mode", modes...)) },
		"banner": func(v *yaml.Node) { s.Mode, s.Banner = TCPBanner, l.text(v) },
	}, nil)
	if _, v := diag.Lookup(n, "port"); v == nil {
		l.errorf(n, "port is missing in tcp")
	}
	if s.Mode == TCPBanner && s.Banner == "" {
		l.errorf(n, "a tcp stub with mode banner needs the banner's text")
	}
	return s
}

func (l *loader) world(n *yaml.Node) {
	l.mapping(n, "world", fields{
		"offline": func(v *yaml.Node) { l.out.Offline = l.boolean(v) },
	}, later{"anyAddress": "give the stub `addresses`"})
}

// profiles are the meshes whose rules podsim installs, and those that it knows by name only.
var (
	profiles      = []string{"istio"}
	laterProfiles = []string{"istio-ambient", "ambient", "linkerd", "consul", "kuma", "app-mesh", "appmesh", "osm"}
)

func (l *loader) intercept(n *yaml.Node) {
	i := &Intercept{}
	if !l.mapping(n, "intercept", fields{
		"profile": func(v *yaml.Node) {
			if slices.Contains(laterProfiles, v.Value) {
				l.unsupported(v, "intercept profile "+v.Value, "have the pod's own init container install its rules, and leave profile out")
				return
			}
			i.Profile = l.word(v, "profile", profiles...)
		},
		"proxy":    func(v *yaml.Node) { i.Proxy = l.container(v) },
		"outbound": func(v *yaml.Node) { i.Outbound = l.port(v) },
		"inbound":  func(v *yaml.Node) { i.Inbound = l.port(v) },
		"exclude":  func(v *yaml.Node) { i.Exclude = l.selection(v, "exclude") },
		"include":  func(v *yaml.Node) { i.Include = l.selection(v, "include") },
	}, later{"rules": "use a profile, or an init container of the pod", "dns": ""}) {
		return
	}
	if _, v := diag.Lookup(n, "proxy"); v == nil {
		l.errorf(n, "intercept.proxy is missing: the container that the traffic goes through")
	}
	l.out.Intercept = i
}

func (l *loader) selection(n *yaml.Node, what string) Selection {
	var s Selection
	l.mapping(n, what, fields{
		"outboundPorts": func(v *yaml.Node) { s.OutboundPorts = l.ports(v) },
		"inboundPorts":  func(v *yaml.Node) { s.InboundPorts = l.ports(v) },
		"cidrs":         func(v *yaml.Node) { l.list(v, func(v *yaml.Node) { s.CIDRs = append(s.CIDRs, l.prefix(v)) }) },
		"uids": func(v *yaml.Node) {
			l.list(v, func(v *yaml.Node) { s.UIDs = append(s.UIDs, l.integer(v, 0, 1<<32-2)) })
		},
	}, nil)
	return s
}

// container reads a container's name.
func (l *loader) container(n *yaml.Node) string {
	s, ok := l.scalar(n, "a container's name")
	if !ok {
		return ""
	}
	if l.names.pod != nil && l.names.container(s) == nil {
		l.suggest(n, s, l.names.containers(), "unknown container %q", s)
		return ""
	}
	return s
}
