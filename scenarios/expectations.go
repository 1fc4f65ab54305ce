package scenarios

import (
	"slices"
	"strconv"
	"strings"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// expect reads a step of its own that judges.
func (l *loader) expect(s *Step, n *yaml.Node) {
	v := &expectVerb{}
	add := func(c check) { v.checks = append(v.checks, c) }
	var orders []relation
	l.mapping(n, "expect", fields{
		"order": func(o *yaml.Node) {
			l.list(o, func(o *yaml.Node) {
				found, _ := l.relations(o, false)
				for _, r := range found {
					orders = append(orders, r)
					add(&orderCheck{r})
				}
			})
		},
		"never":    func(o *yaml.Node) { l.list(o, func(o *yaml.Node) { l.never(o, add) }) },
		"count":    func(o *yaml.Node) { l.count(o, add) },
		"status":   func(o *yaml.Node) { add(l.statusCheck(o)) },
		"logs":     func(o *yaml.Node) { l.list(o, func(o *yaml.Node) { add(l.logCheck(o, "logs")) }) },
		"files":    func(o *yaml.Node) { l.list(o, func(o *yaml.Node) { add(l.fileCheck(o)) }) },
		"flows":    func(o *yaml.Node) { l.list(o, func(o *yaml.Node) { add(l.flowsCheck(o)) }) },
		"noBypass": func(o *yaml.Node) { l.noBypass(o, add) },
		"noLoop":   func(o *yaml.Node) { l.noLoop(o, add) },
		"events":   func(o *yaml.Node) { l.list(o, func(o *yaml.Node) { add(l.eventsCheck(o)) }) },
	}, nil)
	l.acyclic(orders)
	if len(v.checks) == 0 && l.found.Err() == nil {
		l.errorf(n, "this expects nothing")
	}
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	s.do, s.Title = v, "expect "+strings.Join(keys, ", ")
}

func (l *loader) never(n *yaml.Node, add func(check)) {
	found, lone := l.relations(n, true)
	if lone != nil {
		add(&neverCheck{pos: l.pos(n), event: lone})
	}
	if len(found) > 1 {
		l.errorf(n, "never takes one relation, not a chain")
		return
	}
	for i := range found {
		add(&neverCheck{pos: l.pos(n), relation: &found[i]})
	}
}

func (l *loader) count(n *yaml.Node, add func(check)) {
	if n.Kind != yaml.MappingNode {
		l.errorf(n, "count must be a mapping of events to numbers, not a %s", diag.KindName(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		e, ok := l.event(word{key, key.Value, 0})
		if ok && e.nth > 0 {
			l.errorf(key, "count counts all of %s; leave the [%d] out", e.text, e.nth)
			continue
		}
		b := l.bound(value)
		if ok {
			add(&countCheck{l.pos(key), e, b})
		}
	}
}

// acyclic reports orders that no run can keep: a cycle among them, with what is always so (an event's second time
// comes after its first, a container's start after its creation).
func (l *loader) acyclic(orders []relation) {
	edges := map[string][]string{}
	shown := map[string]string{}
	events := map[string]event{}
	for _, r := range orders {
		if r.op != opBefore {
			continue
		}
		edges[r.a.key()] = append(edges[r.a.key()], r.b.key())
		for _, e := range []event{r.a, r.b} {
			shown[e.key()], events[e.key()] = e.text, e
		}
	}
	for _, a := range events {
		for _, b := range events {
			if alwaysBefore(a, b) {
				edges[a.key()] = append(edges[a.key()], b.key())
			}
		}
	}
	for _, r := range orders {
		if r.op != opBefore {
			continue
		}
		if path := pathBetween(edges, r.b.key(), r.a.key()); path != nil {
			texts := []string{r.a.text}
			for _, key := range path {
				texts = append(texts, shown[key])
			}
			d := l.src.At(r.pos.Line, r.pos.Col, 1, "impossible: "+strings.Join(texts, " < "))
			d.Snippet = r.pos.Snippet
			l.found = append(l.found, d)
			return
		}
	}
}

func alwaysBefore(a, b event) bool {
	if a.subject != b.subject {
		return false
	}
	if a.what == b.what && a.arg == b.arg {
		return max(a.nth, 1) < max(b.nth, 1)
	}
	return max(a.nth, 1) == 1 && max(b.nth, 1) == 1 && a.what.OfContainer() && b.what.OfContainer() && a.what < b.what &&
		firstOnly(a) && firstOnly(b)
}

// firstOnly reports whether the first one of an event has its place in every container's life.
func firstOnly(e event) bool { return e.what <= 3 }

// pathBetween finds the shortest way from one event to another.
func pathBetween(edges map[string][]string, from, to string) []string {
	came := map[string]string{from: ""}
	queue := []string{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at == to {
			var path []string
			for at != "" {
				path = append(path, at)
				at = came[at]
			}
			slices.Reverse(path)
			return path
		}
		next := slices.Sorted(slices.Values(edges[at]))
		for _, n := range next {
			if _, seen := came[n]; !seen {
				came[n] = at
				queue = append(queue, n)
			}
		}
	}
	return nil
}

func (l *loader) statusCheck(n *yaml.Node) check {
	c := &statusCheck{pos: l.pos(n), containers: map[string]containerWant{}}
	phases := []string{string(corev1.PodPending), string(corev1.PodRunning), string(corev1.PodSucceeded), string(corev1.PodFailed)}
	l.mapping(n, "status", fields{
		"phase":    func(v *yaml.Node) { c.phase = l.word(v, "phase", phases...) },
		"reason":   func(v *yaml.Node) { c.reason = l.text(v) },
		"qosClass": func(v *yaml.Node) { c.qosClass = l.word(v, "qosClass", "Guaranteed", "Burstable", "BestEffort") },
		"conditions": func(v *yaml.Node) {
			c.conditions = l.textMap(v, "conditions")
			for name, value := range c.conditions {
				switch {
				case strings.EqualFold(value, "true"):
					c.conditions[name] = string(corev1.ConditionTrue)
				case strings.EqualFold(value, "false"):
					c.conditions[name] = string(corev1.ConditionFalse)
				}
			}
		},
		"containers": func(v *yaml.Node) {
			if v.Kind != yaml.MappingNode {
				l.errorf(v, "containers must be a mapping of names, not a %s", diag.KindName(v))
				return
			}
			for i := 0; i+1 < len(v.Content); i += 2 {
				if name := l.container(v.Content[i]); name != "" {
					c.containers[name] = l.containerWant(v.Content[i+1])
				}
			}
		},
	}, nil)
	return c
}

func (l *loader) containerWant(n *yaml.Node) containerWant {
	var w containerWant
	flag := func(p **bool) func(*yaml.Node) { return func(v *yaml.Node) { b := l.boolean(v); *p = &b } }
	number := func(p **bound) func(*yaml.Node) { return func(v *yaml.Node) { b := l.bound(v); *p = &b } }
	l.mapping(n, "a container's status", fields{
		"state":        func(v *yaml.Node) { w.state = l.word(v, "state", "running", "waiting", "terminated") },
		"ready":        flag(&w.ready),
		"started":      flag(&w.started),
		"restartCount": number(&w.restartCount),
		"exitCode":     number(&w.exitCode),
		"reason":       func(v *yaml.Node) { w.reason = l.text(v) },
		"image":        func(v *yaml.Node) { w.image = l.text(v) },
		"message":      func(v *yaml.Node) { w.message = l.textMatch(v, "message") },
	}, nil)
	return w
}

func (l *loader) logCheck(n *yaml.Node, what string) check {
	c := &logCheck{pos: l.pos(n)}
	f := l.textMatchFields(&c.want)
	f["container"] = func(v *yaml.Node) { c.container = l.container(v) }
	f["previous"] = func(v *yaml.Node) { c.previous = l.boolean(v) }
	l.mapping(n, what, f, nil)
	l.need(n, what, "container")
	if c.want.empty() && n.Kind == yaml.MappingNode {
		l.errorf(n, "%s wants one of contains, lacks, equals and matches", what)
	}
	return c
}

func (l *loader) fileCheck(n *yaml.Node) check {
	c := &fileCheck{pos: l.pos(n), exists: true}
	f := l.textMatchFields(&c.want)
	id := func(p **int64) func(*yaml.Node) {
		return func(v *yaml.Node) { i := l.integer(v, 0, 1<<32-2); *p = &i }
	}
	f["container"] = func(v *yaml.Node) { c.container = l.container(v) }
	f["path"] = func(v *yaml.Node) {
		if c.path = l.text(v); !strings.HasPrefix(c.path, "/") {
			l.errorf(v, "want a path from the container's root, not %q", c.path)
		}
	}
	f["exists"] = func(v *yaml.Node) { c.exists = l.boolean(v) }
	f["dir"] = func(v *yaml.Node) { b := l.boolean(v); c.dir = &b }
	f["mode"] = func(v *yaml.Node) {
		m, err := strconv.ParseUint(strings.TrimPrefix(l.text(v), "0o"), 8, 12)
		if err != nil {
			l.errorf(v, "want permission bits in octal such as \"0644\", not %q", v.Value)
		}
		mode := uint32(m)
		c.mode = &mode
	}
	f["uid"], f["gid"] = id(&c.uid), id(&c.gid)
	l.mapping(n, "files", f, nil)
	l.need(n, "files", "container", "path")
	return c
}

// flowFields are what may be wanted of a flow.
func (l *loader) flowFields(w *flowWant) fields {
	verdicts := []string{}
	for _, v := range pod.Verdicts() {
		verdicts = append(verdicts, v.String())
	}
	return fields{
		"verdict": func(v *yaml.Node) {
			if s := l.word(v, "verdict", verdicts...); s != "" {
				_ = w.verdict.UnmarshalText([]byte(s)) // it is one of Verdicts
			}
		},
		"takenBy": func(v *yaml.Node) {
			if w.takenBy = v.Value; v.Value != world {
				w.takenBy = l.container(v)
			}
		},
		"listener": func(v *yaml.Node) { w.listener = l.port(v) },
		"onward":   func(v *yaml.Node) { w.onward = l.endpoint(v) },
	}
}

// endpoint reads what a flow may lead on to: a stub, a container or an address.
func (l *loader) endpoint(n *yaml.Node) string {
	s, ok := l.scalar(n, "a stub, a container or an address")
	if _, address := parseTarget(s); !ok || address || l.names.pod == nil || l.names.broken {
		return s
	}
	known := append(l.names.containers(), l.names.stubs...)
	if !slices.Contains(known, s) {
		l.suggest(n, s, known, "unknown stub or container %q", s)
	}
	return s
}

func (l *loader) flowsCheck(n *yaml.Node) check {
	c := &flowsCheck{pos: l.pos(n)}
	c.want.pos = c.pos
	f := l.flowFields(&c.want)
	f["from"] = func(v *yaml.Node) {
		if c.from = v.Value; v.Value != world {
			c.from = l.container(v)
		}
	}
	f["to"] = func(v *yaml.Node) {
		if t, ok := parseTarget(l.text(v)); ok {
			c.to = &t
			return
		}
		l.errorf(v, "want an address, a range or a port: 10.0.0.1:80, 10.0.0.1, 10.0.0.0/8 or :80; a stub is named by onward")
	}
	f["protocol"] = func(v *yaml.Node) { c.protocol = l.word(v, "protocol", "tcp", "udp") }
	f["count"] = func(v *yaml.Node) { b := l.bound(v); c.count = &b }
	l.mapping(n, "flows", f, nil)
	l.needsProxy(n, "flows")
	return c
}

// needsProxy reports a check of interception in a scenario that declares none.
func (l *loader) needsProxy(n *yaml.Node, what string) {
	if l.out.Intercept == nil {
		l.errorf(n, "%s needs to know the proxy; add intercept: {proxy: CONTAINER} to the spec, with profile: istio "+
			"unless an init container of the pod installs the rules", what)
	}
}

func (l *loader) noBypass(n *yaml.Node, add func(check)) {
	l.needsProxy(n, "noBypass")
	c := &noBypassCheck{pos: l.pos(n)}
	if n.Kind == yaml.ScalarNode {
		if !l.boolean(n) {
			l.errorf(n, "noBypass: false checks nothing; leave it out")
		}
	} else {
		l.mapping(n, "noBypass", fields{"except": func(v *yaml.Node) {
			l.list(v, func(v *yaml.Node) {
				c.except, c.names = append(c.except, l.exception(v)), append(c.names, v.Value)
			})
		}}, nil)
	}
	add(c)
}

func (l *loader) exception(n *yaml.Node) exception {
	s := l.text(n)
	switch s {
	case "dns":
		return exception{dns: true}
	case pod.Escaped.String():
		return exception{verdict: pod.Escaped}
	case pod.PreRule.String():
		return exception{verdict: pod.PreRule}
	}
	if t, ok := parseTarget(s); ok {
		return exception{to: &t}
	}
	if l.names.pod != nil && l.names.container(s) == nil {
		l.suggest(n, s, append(l.names.containers(), "dns", pod.Escaped.String(), pod.PreRule.String()),
			"unknown exception %q: want dns, escaped, preRule, a container, or an address or port such as 10.0.0.0/8 or :9090", s)
	}
	return exception{opener: s}
}

func (l *loader) noLoop(n *yaml.Node, add func(check)) {
	l.needsProxy(n, "noLoop")
	if !l.boolean(n) {
		l.errorf(n, "noLoop: false checks nothing; leave it out")
	}
	add(&noLoopCheck{l.pos(n)})
}

// errorClasses are the classes of a transport failure (pod.Response.Error).
var errorClasses = []string{"refused", "reset", "timeout", "dns", "unreachable", "closed", "other", "any"}

// response reads what is expected of a request.
func (l *loader) response(n *yaml.Node, protocol string) response {
	var w response
	httpOnly := func(what string, v *yaml.Node) {
		if protocol == "tcp" {
			l.errorf(v, "%s goes with http requests", what)
		}
	}
	l.mapping(n, "expect of a request", fields{
		"error":  func(v *yaml.Node) { w.err = l.word(v, "error", errorClasses...) },
		"status": func(v *yaml.Node) { httpOnly("status", v); b := l.bound(v); w.status = &b },
		"body":   func(v *yaml.Node) { w.body = l.textMatch(v, "body") },
		"headers": func(v *yaml.Node) {
			httpOnly("headers", v)
			w.header = l.textMap(v, "headers")
		},
		"flow": func(v *yaml.Node) {
			w.flow = &flowWant{pos: l.pos(v)}
			l.mapping(v, "flow", l.flowFields(w.flow), nil)
			l.needsProxy(v, "flow")
		},
	}, nil)
	if w.err != "" && (w.status != nil || !w.body.empty() || len(w.header) > 0) {
		l.errorf(n, "a request that ends with an error has no status, body or headers")
	}
	return w
}

func (l *loader) commandResult(n *yaml.Node) commandResult {
	var w commandResult
	l.mapping(n, "expect of a command", fields{
		"code":   func(v *yaml.Node) { w.code = l.bound(v) },
		"stdout": func(v *yaml.Node) { w.stdout = l.textMatch(v, "stdout") },
		"stderr": func(v *yaml.Node) { w.stderr = l.textMatch(v, "stderr") },
	}, nil)
	return w
}
