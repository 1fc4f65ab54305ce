package scenarios

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/podsim/podsim/podsim/pod"
)

// A commandResult is what is wanted of a command's end. Without a word about the code it must be 0.
type commandResult struct {
	code           bound
	stdout, stderr textMatch
}

func (w commandResult) judge(f Finding, a answer) Finding {
	if why := failure(a); why != "" {
		return f.fail(asked, "%s", why)
	}
	f.Proof = []int{a.ended.Seq}
	out := a.ended.Output
	if out == nil {
		return f.unclear("the command's end was not recorded")
	}
	if !w.code.holds(out.Code) {
		return f.fail(asked, "exit code %d%s", out.Code, inParentheses(shorten(firstOf(out.Stderr, out.Stdout))))
	}
	if ok, why := w.stdout.holds(out.Stdout); !ok {
		return f.fail(asked, "stdout: %s", why)
	}
	if ok, why := w.stderr.holds(out.Stderr); !ok {
		return f.fail(asked, "stderr: %s", why)
	}
	return f.pass("exit code %d", out.Code)
}

func (w commandResult) String() string {
	parts := []string{"exit code " + w.code.String()}
	if !w.stdout.empty() {
		parts = append(parts, "stdout "+w.stdout.String())
	}
	if !w.stderr.empty() {
		parts = append(parts, "stderr "+w.stderr.String())
	}
	return strings.Join(parts, ", ")
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// commandVerb runs a command in a container, or a shell line on the host where there is no container.
type commandVerb struct {
	container string
	command   []string
	want      commandResult
}

func (v *commandVerb) repeats(step *Step) bool { return step.Eventually > 0 || step.Consistently > 0 }

func (v *commandVerb) ask(s scene) []pod.Action {
	if len(s.round) > 0 {
		return nil
	}
	a := pod.Action{Op: pod.OpRun, Command: v.command, Timeout: s.step.Timeout}
	if v.container != "" {
		a.Op, a.Pod, a.Container = pod.OpExec, s.pod().Name, v.container
	}
	return []pod.Action{a}
}

func (v *commandVerb) look(s scene) []Finding {
	f := s.finding(v.want.String())
	if v.container != "" {
		f.Containers = []string{v.container}
	}
	return []Finding{v.want.judge(f, s.round[0])}
}

// fromHost is the sender of a request that comes from outside the pod.
const fromHost = "host"

// requestVerb sends traffic and judges what came back, and the flow that it made.
type requestVerb struct {
	from    string
	request pod.Request
	want    response
}

// A response is what is wanted of a request. Its zero value wants any answer, without an error.
type response struct {
	err    string // the class of the error, or any; empty: none
	status *bound
	body   textMatch
	header map[string]string
	flow   *flowWant
}

func (v *requestVerb) repeats(*Step) bool { return true }

func (v *requestVerb) ask(s scene) []pod.Action {
	switch {
	case len(s.round) == 0:
		r := v.request
		v.address(s, &r)
		a := pod.Action{Op: pod.OpRequest, Pod: s.pod().Name, Container: v.from, Request: &r, Timeout: s.step.Timeout}
		if v.from == fromHost {
			a.Container = ""
		}
		return []pod.Action{a}
	case len(s.round) == 1 && v.want.flow != nil && s.round[0].ended.Failure == nil:
		return []pod.Action{{Op: pod.OpFlows, Pod: s.pod().Name, Timeout: ledgerTimeout}}
	}
	return nil
}

// address puts the pod's address where a request from the host names the pod.
func (v *requestVerb) address(s scene, r *pod.Request) {
	n, ok := s.history.Network(s.pod().Name)
	if v.from != fromHost || !ok || len(n.PodIPs) == 0 {
		return
	}
	ip := n.PodIPs[0]
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	replace := func(hostport string) string {
		host, port, _ := strings.Cut(hostport, ":")
		if host != s.pod().Name {
			return hostport
		}
		return strings.TrimSuffix(ip+":"+port, ":")
	}
	r.Address = replace(r.Address)
	if u, err := url.Parse(r.URL); err == nil && r.URL != "" {
		u.Host = replace(u.Host)
		r.URL = u.String()
	}
}

func (v *requestVerb) look(s scene) []Finding {
	f := s.finding(v.want.String())
	f.Containers = v.containers()
	f.Proof = []int{s.round[0].began.Seq, s.round[0].ended.Seq}
	if why := failure(s.round[0]); why != "" {
		return []Finding{f.fail(soon, "the request could not be sent: %s", why)}
	}
	r := s.round[0].ended.Response
	if r == nil {
		return []Finding{f.unclear("the answer was not recorded")}
	}
	out := []Finding{v.want.judge(f, *r)}
	if v.want.flow != nil && out[0].Outcome == Pass {
		g := s.finding("the request's flow: " + v.want.flow.String())
		g.Check, g.Pos, g.Containers, g.Proof = "flow", v.want.flow.pos, f.Containers, f.Proof
		out = append(out, v.want.flow.judgeOf(s, g, *r))
	}
	return out
}

func (v *requestVerb) containers() []string {
	var out []string
	if v.from != fromHost {
		out = append(out, v.from)
	}
	if v.want.flow != nil && v.want.flow.takenBy != "" && v.want.flow.takenBy != v.from {
		out = append(out, v.want.flow.takenBy)
	}
	return out
}

func (w response) judge(f Finding, r pod.Response) Finding {
	got := describeResponse(r)
	switch {
	case w.err == "any" && r.Error != "", w.err != "" && w.err == r.Error:
		return f.pass("%s", got)
	case w.err != "" || r.Error != "":
		return f.fail(soon, "%s", got)
	case w.status != nil && !w.status.holds(r.Status):
		return f.fail(soon, "%s", got)
	}
	if ok, why := w.body.holds(r.Body); !ok {
		return f.fail(soon, "%s, but of the body: %s", got, why)
	}
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		if !hasHeader(r.Header, name, w.header[name]) {
			return f.fail(soon, "%s, but header %s is %q", got, name, strings.Join(headerOf(r.Header, name), ", "))
		}
	}
	return f.pass("%s", got)
}

func describeResponse(r pod.Response) string {
	switch {
	case r.Error != "" && r.Detail != "":
		return fmt.Sprintf("error %s: %s", r.Error, r.Detail)
	case r.Error != "":
		return "error " + r.Error
	case r.Status != 0:
		return fmt.Sprintf("status %d, body %q", r.Status, shorten(r.Body))
	}
	return fmt.Sprintf("an answer, %q", shorten(r.Body))
}

func headerOf(h map[string][]string, name string) []string {
	for k, v := range h {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func hasHeader(h map[string][]string, name, want string) bool {
	for _, v := range headerOf(h, name) {
		if v == want {
			return true
		}
	}
	return false
}

func (w response) String() string {
	var parts []string
	switch {
	case w.err != "":
		parts = append(parts, "error "+w.err)
	case w.status != nil:
		parts = append(parts, "status "+w.status.String())
	default:
		parts = append(parts, "an answer")
	}
	if !w.body.empty() {
		parts = append(parts, "a body that "+w.body.String())
	}
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		parts = append(parts, fmt.Sprintf("header %s: %s", name, w.header[name]))
	}
	return strings.Join(parts, ", ")
}
