package scenarios

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// How long each verb may take, where the file says nothing.
var verbTimeouts = map[string]time.Duration{
	"up":      2 * time.Minute, // images may have to be fetched
	"wait":    time.Minute,
	"request": 5 * time.Second,
	"exec":    30 * time.Second,
	"run":     time.Minute,
	"kill":    10 * time.Second,
	"update":  2 * time.Minute, // as up
	"expect":  5 * time.Second,
}

// deleteSlack is what a deletion may take beyond the grace period.
const deleteSlack = 30 * time.Second

// laterVerbs and laterModifiers are the parts of a step that this version does not support.
var laterVerbs = later{"fault": "", "verify": "", "parallel": "", "group": "write its steps one after the other"}

var laterModifiers = later{"within": "", "capture": "", "if": "", "soft": "", "for": ""}

func (l *loader) steps(n *yaml.Node, what string) []Step {
	if n.Kind != yaml.SequenceNode {
		l.errorf(n, "%s must be a list, not a %s", what, diag.KindName(n))
		return nil
	}
	out := make([]Step, 0, len(n.Content))
	up := 0
	l.finally = what == "finally"
	if !l.finally {
		l.now = l.out.Resources
	}
	for _, item := range n.Content {
		s := l.step(item)
		out = append(out, s)
		switch v := s.do.(type) {
		case *upVerb:
			l.isUp = true
			up++
		case *deleteVerb:
			l.isGone = l.isGone || v.wait
		}
	}
	switch {
	case what == "finally" && up > 0:
		l.errorf(n, "finally comes when the scenario is over; up belongs into steps")
	case what == "steps" && up == 0 && len(n.Content) > 0:
		l.errorf(n, "no step brings the pod up; the first step is usually `- up: {wait: ready}`")
	case up > 1:
		l.errorf(n, "up is once in a scenario; this has it %d times", up)
	}
	return out
}

// step reads one step: one action, with modifiers and, where the action has an outcome, what is expected of it.
func (l *loader) step(n *yaml.Node) Step {
	s := Step{Pos: l.pos(n)}
	var verbs []string
	nodes := map[string]*yaml.Node{}
	var expect *yaml.Node
	verb := func(name string) func(*yaml.Node) {
		return func(v *yaml.Node) { verbs, nodes[name] = append(verbs, name), v }
	}
	unsupported := later{}
	for _, table := range []later{laterVerbs, laterModifiers} {
		for k, v := range table {
			unsupported[k] = v
		}
	}
	if !l.mapping(n, "step", fields{
		"name":         func(v *yaml.Node) { s.Name = l.text(v) },
		"timeout":      func(v *yaml.Node) { s.Timeout = l.duration(v) },
		"eventually":   func(v *yaml.Node) { s.Eventually = l.duration(v) },
		"consistently": func(v *yaml.Node) { s.Consistently = l.duration(v) },
		"expect":       func(v *yaml.Node) { expect = v },
		"up":           verb("up"), "wait": verb("wait"), "request": verb("request"), "exec": verb("exec"), "kill": verb("kill"),
		"update": verb("update"), "delete": verb("delete"), "sleep": verb("sleep"), "run": verb("run"),
	}, unsupported) {
		return s
	}
	if s.Eventually > 0 && s.Consistently > 0 {
		l.errorf(n, "a step has eventually or consistently, not both")
	}
	switch {
	case len(verbs) > 1:
		l.errorf(n, "one action a step: this has %s; make them steps of their own", strings.Join(verbs, " and "))
		return s
	case len(verbs) == 0 && expect == nil:
		for key := range laterVerbs {
			if _, v := diag.Lookup(n, key); v != nil {
				return s
			}
		}
		l.errorf(n, "this step does nothing; it wants one of up, wait, request, exec, kill, update, delete, expect, sleep, run")
		return s
	case len(verbs) == 0:
		s.Verb = "expect"
		l.expect(&s, expect)
	default:
		s.Verb = verbs[0]
		l.verb(&s, nodes[s.Verb], expect)
	}
	if s.Timeout == 0 {
		s.Timeout = verbTimeouts[s.Verb]
	}
	return s
}

func (l *loader) verb(s *Step, n, expect *yaml.Node) {
	if expect != nil && !slices.Contains([]string{"request", "exec", "run"}, s.Verb) {
		l.errorf(expect, "%s has no outcome to expect anything of; make expect a step of its own", s.Verb)
	}
	switch s.Verb {
	case "up":
		l.up(s, n)
	case "wait":
		l.wait(s, n)
	case "request":
		l.request(s, n, expect)
	case "exec":
		l.exec(s, n, expect)
	case "run":
		l.run(s, n, expect)
	case "kill":
		l.kill(s, n)
	case "update":
		l.update(s, n)
	case "delete":
		l.delete(s, n)
	case "sleep":
		d := l.duration(n)
		s.do, s.Title = &sleepVerb{d}, "sleep "+d.String()
		s.Timeout = max(s.Timeout, d+time.Minute)
	}
	if s.Consistently > 0 && slices.Contains([]string{"up", "kill", "update", "delete", "sleep"}, s.Verb) {
		l.errorf(n, "%s happens once, it cannot hold consistently", s.Verb)
	}
}

func (l *loader) up(s *Step, n *yaml.Node) {
	v := &upVerb{wait: upStarted}
	waits := []string{upStarted, upReady, upCompleted, upEnded, upNone}
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case n.Kind == yaml.ScalarNode:
		v.wait = l.word(n, "wait", waits...)
	default:
		l.mapping(n, "up", fields{"wait": func(w *yaml.Node) { v.wait = l.word(w, "wait", waits...) }}, later{"pod": "a scenario has one pod"})
	}
	if v.wait == upCompleted || v.wait == upEnded {
		l.ends(n, v.wait)
	}
	s.do, s.Title = v, "up "+v.wait
}

// ends reports a pod that never ends by itself: one of its containers is always restarted.
func (l *loader) ends(n *yaml.Node, wait string) {
	p := l.names.pod
	if p == nil || wait == upEnded && p.Spec.ActiveDeadlineSeconds != nil {
		return
	}
	var kubelet pod.Kubelet
	if k := l.out.Options.Kubelet; k != nil {
		kubelet = *k
	}
	own := kubelet.On(pod.GateContainerRestartRules)
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		always := p.Spec.RestartPolicy == corev1.RestartPolicyAlways || p.Spec.RestartPolicy == ""
		if own && c.RestartPolicy != nil {
			always = *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
		if always {
			l.errorf(n, "impossible: the pod never ends, because container %s is always restarted; give it restartPolicy: Never or OnFailure", c.Name)
			return
		}
	}
}

func (l *loader) wait(s *Step, n *yaml.Node) {
	var verbs []verb
	c := &waitContainer{state: "running"}
	l.mapping(n, "wait", fields{
		"container": func(v *yaml.Node) {
			c.container = l.container(v)
			verbs = append(verbs, c)
		},
		"state": func(v *yaml.Node) { c.state = l.word(v, "state", containerStates()...) },
		"code":  func(v *yaml.Node) { b := l.bound(v); c.code = &b },
		"pod": func(v *yaml.Node) {
			verbs = append(verbs, &waitPod{l.word(v, "state of a pod", podStates()...)})
		},
		"log":  func(v *yaml.Node) { verbs = append(verbs, &expectVerb{[]check{l.logCheck(v, "log")}}) },
		"file": func(v *yaml.Node) { verbs = append(verbs, &expectVerb{[]check{l.fileCheck(v)}}) },
		"port": func(v *yaml.Node) { verbs = append(verbs, l.portWait(v)) },
	}, nil)
	if len(verbs) != 1 {
		l.errorf(n, "a wait is for one of container, pod, log, file and port")
		return
	}
	s.do = verbs[0]
	switch v := s.do.(type) {
	case *waitContainer:
		if c.code != nil && c.state != "exited" {
			l.errorf(n, "code goes with state: exited")
		}
		s.Title = fmt.Sprintf("wait for %s %s", v.container, v.state)
	case *waitPod:
		s.Title = "wait for the pod to be " + v.state
	case *expectVerb:
		s.Title = "wait for " + v.checks[0].look(scene{}).Wanted
	case *requestVerb:
		s.Title = fmt.Sprintf("wait for %s to listen on %s", v.from, v.request.Address)
	}
}

// portWait connects from the container itself.
func (l *loader) portWait(n *yaml.Node) verb {
	v := &requestVerb{request: pod.Request{Protocol: "tcp"}}
	l.mapping(n, "port", fields{
		"container": func(c *yaml.Node) { v.from = l.container(c) },
		"port":      func(p *yaml.Node) { v.request.Address = fmt.Sprintf("127.0.0.1:%d", l.port(p)) },
	}, nil)
	l.need(n, "port", "container", "port")
	return v
}

// need reports keys that are missing.
func (l *loader) need(n *yaml.Node, what string, keys ...string) {
	for _, key := range keys {
		if _, v := diag.Lookup(n, key); v == nil && n.Kind == yaml.MappingNode {
			l.errorf(n, "%s is missing in %s", key, what)
		}
	}
}

func (l *loader) request(s *Step, n, expect *yaml.Node) {
	v := &requestVerb{}
	targets := 0
	l.mapping(n, "request", fields{
		"from": func(f *yaml.Node) { v.from = l.sender(f) },
		"as": func(a *yaml.Node) {
			l.mapping(a, "as", fields{
				"uid": func(u *yaml.Node) { id := l.integer(u, 0, 1<<32-2); v.request.UID = &id },
				"gid": func(u *yaml.Node) { id := l.integer(u, 0, 1<<32-2); v.request.GID = &id },
			}, nil)
		},
		"http": func(h *yaml.Node) { targets++; l.httpRequest(&v.request, h) },
		"tcp":  func(t *yaml.Node) { targets++; l.tcpRequest(&v.request, t) },
	}, later{"udp": "", "grpc": "", "dns": ""})
	l.need(n, "request", "from")
	if targets != 1 && v.request.Protocol != "" || targets == 0 && !l.mentionsLater(n, "udp", "grpc", "dns") {
		l.errorf(n, "a request is one of http and tcp")
	}
	if expect != nil {
		v.want = l.response(expect, v.request.Protocol)
	}
	target := v.request.URL
	if v.request.Protocol == "tcp" {
		target = v.request.Address
	}
	s.do, s.Title = v, fmt.Sprintf("request %s from %s", target, v.from)
}

func (l *loader) mentionsLater(n *yaml.Node, keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { _, v := diag.Lookup(n, key); return v != nil })
}

func (l *loader) sender(n *yaml.Node) string {
	s, ok := l.scalar(n, "a container's name, or host")
	switch {
	case !ok:
		return ""
	case s == fromHost:
		return s
	case slices.Contains(l.names.stubs, s):
		l.unsupported(n, "requests from a stub", "")
		return ""
	case l.names.pod != nil && l.names.container(s) == nil:
		l.suggest(n, s, append(l.names.containers(), fromHost), "unknown container %q", s)
		return ""
	}
	return s
}

func (l *loader) httpRequest(r *pod.Request, n *yaml.Node) {
	r.Protocol = "http"
	at := n
	if n.Kind == yaml.ScalarNode {
		r.URL = l.text(n)
	} else {
		l.mapping(n, "http", fields{
			"url":    func(v *yaml.Node) { r.URL, at = l.text(v), v },
			"method": func(v *yaml.Node) { r.Method = l.text(v) },
			"body":   func(v *yaml.Node) { r.Body = l.text(v) },
			"headers": func(v *yaml.Node) {
				r.Header = map[string][]string{}
				for name, value := range l.textMap(v, "headers") {
					r.Header[name] = []string{value}
				}
			},
		}, nil)
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil:
		l.errorf(at, "not a URL: %v", err)
	case u.Scheme == "https":
		l.unsupported(at, "https requests", "")
	case u.Scheme != "http" || u.Host == "":
		l.errorf(at, "want a URL such as http://api.example.com/v1, not %q", r.URL)
	}
}

func (l *loader) tcpRequest(r *pod.Request, n *yaml.Node) {
	r.Protocol = "tcp"
	at := n
	if n.Kind == yaml.ScalarNode {
		r.Address = l.text(n)
	} else {
		l.mapping(n, "tcp", fields{
			"address": func(v *yaml.Node) { r.Address, at = l.text(v), v },
			"send":    func(v *yaml.Node) { r.Send = l.text(v) },
			"read":    func(v *yaml.Node) { r.Expect = int(l.integer(v, 0, 64<<10)) },
		}, nil)
	}
	if u, err := url.Parse("tcp://" + r.Address); err != nil || u.Hostname() == "" || u.Port() == "" || u.Host != r.Address {
		l.errorf(at, "want an address such as db:5432, not %q", r.Address)
	}
}

func (l *loader) exec(s *Step, n, expect *yaml.Node) {
	v := &commandVerb{}
	l.mapping(n, "exec", fields{
		"container": func(c *yaml.Node) { v.container = l.container(c) },
		"command":   func(c *yaml.Node) { v.command = l.texts(c) },
	}, nil)
	l.need(n, "exec", "container", "command")
	if expect != nil {
		v.want = l.commandResult(expect)
	}
	s.do, s.Title = v, fmt.Sprintf("exec %s in %s", shorten(strings.Join(v.command, " ")), v.container)
}

func (l *loader) run(s *Step, n, expect *yaml.Node) {
	line := l.text(n)
	if strings.TrimSpace(line) == "" {
		l.errorf(n, "run wants a shell line")
	}
	v := &commandVerb{command: []string{line}}
	if expect != nil {
		v.want = l.commandResult(expect)
	}
	s.do, s.Title = v, "run "+shorten(line)
}

// signals are those that a step may send.
var signals = []string{"TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT", "ABRT", "WINCH"}

func (l *loader) kill(s *Step, n *yaml.Node) {
	v := &killVerb{signal: "TERM"}
	l.mapping(n, "kill", fields{
		"container": func(c *yaml.Node) { v.container = l.container(c) },
		"signal": func(c *yaml.Node) {
			if name, ok := l.scalar(c, "a signal's name"); ok {
				name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
				if !slices.Contains(signals, name) {
					l.suggest(c, name, signals, "unknown signal %q", c.Value)
				}
				v.signal = name
			}
		},
	}, nil)
	l.need(n, "kill", "container")
	s.do, s.Title = v, fmt.Sprintf("kill %s with %s", v.container, v.signal)
}

func (l *loader) delete(s *Step, n *yaml.Node) {
	v := &deleteVerb{wait: true}
	if n.Kind == yaml.MappingNode || n.ShortTag() != "!!null" {
		l.mapping(n, "delete", fields{
			"gracePeriodSeconds": func(g *yaml.Node) { sec := l.integer(g, 0, 1<<31-1); v.grace = &sec },
			"wait":               func(w *yaml.Node) { v.wait = l.word(w, "wait", "gone", "none") == "gone" },
		}, later{"pod": "a scenario has one pod"})
	}
	grace := int64(30)
	if v.grace != nil {
		grace = *v.grace
	} else if l.names.pod != nil {
		grace = graceOf(l.names.pod)
	}
	if s.Timeout == 0 {
		s.Timeout = time.Duration(min(grace, 1<<30))*time.Second + deleteSlack
	}
	s.do, s.Title = v, "delete the pod"
	if v.grace != nil {
		s.Title += fmt.Sprintf(" with %d s of grace", *v.grace)
	}
}
