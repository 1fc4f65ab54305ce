package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// An event names moments of a run: "app.started", "app.exited(1)", "pod.ready", "api.connected[2]".
type event struct {
	subject string // container or stub; empty for the pod's and the rules' events
	what    timeline.Happening
	arg     string // empty: any
	nth     int    // which one, from 1; 0: the file says nothing, which means the first
	text    string
}

// named reports whether m is one of the moments that the event names, whichever its number.
func (e event) named(m timeline.Moment) bool {
	return m.Happening == e.what && m.Subject == e.subject && (e.arg == "" || e.arg == m.Arg)
}

// all are the moments that the event names, in the order of the world.
func (e event) all(moments []timeline.Moment) []timeline.Moment {
	var out []timeline.Moment
	for _, m := range moments {
		if e.named(m) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b timeline.Moment) int { return a.From.Compare(b.From) })
	return out
}

// one is the moment with the event's number, or the first.
func (e event) one(moments []timeline.Moment) (timeline.Moment, bool) {
	all := e.all(moments)
	if n := max(e.nth, 1); n <= len(all) {
		return all[n-1], true
	}
	return timeline.Moment{}, false
}

func (e event) String() string { return e.text }

// key is the same for the same event, however it is written.
func (e event) key() string {
	return fmt.Sprintf("%s.%s(%s)[%d]", e.subject, e.what, e.arg, max(e.nth, 1))
}

// An operator relates two events.
type operator uint8

const (
	opBefore  operator = iota + 1 // <
	opOverlap                     // ||
	opWithin                      // ~2s
)

// A relation is "a < b", "a || b" or "a ~2s b". A chain "a < b < c" is two relations.
type relation struct {
	pos  Pos
	op   operator
	d    time.Duration
	a, b event
	// spanA and spanB are what an overlap speaks of.
	spanA, spanB span
}

func (r relation) String() string {
	switch r.op {
	case opBefore:
		return fmt.Sprintf("%s < %s", r.a, r.b)
	case opOverlap:
		return fmt.Sprintf("%s || %s", r.spanA.text, r.spanB.text)
	}
	return fmt.Sprintf("%s ~%v %s", r.a, r.d, r.b)
}

// A span names something that lasts: a hook (app.preStop), an action (app.pulled, app.created, app.started) or a
// container's life (app.running).
type span struct {
	container string
	from, to  timeline.Happening
	text      string
}

var spanNames = map[string]span{
	"postStart": {from: timeline.PostStartBegin, to: timeline.PostStartEnd},
	"preStop":   {from: timeline.PreStopBegin, to: timeline.PreStopEnd},
	"running":   {from: timeline.Started, to: timeline.Exited},
	"pulled":    {from: timeline.Pulled, to: timeline.Pulled},
	"created":   {from: timeline.Created, to: timeline.Created},
	"started":   {from: timeline.Started, to: timeline.Started},
}

// names are what a scenario may refer to.
type names struct {
	pod    *corev1.Pod // nil if it could not be loaded: then nothing is known, and nothing is found wrong
	stubs  []string
	broken bool // stubs could not be read
}

func (n names) containers() []string {
	if n.pod == nil {
		return nil
	}
	var out []string
	for _, c := range n.pod.Spec.InitContainers {
		out = append(out, c.Name)
	}
	for _, c := range n.pod.Spec.Containers {
		out = append(out, c.Name)
	}
	return out
}

func (n names) container(name string) *corev1.Container {
	if n.pod == nil {
		return nil
	}
	for _, list := range [][]corev1.Container{n.pod.Spec.InitContainers, n.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

var (
	eventForm    = regexp.MustCompile(`^([^.\s()\[\]]+)\.([A-Za-z][A-Za-z.]*)(?:\(([^()]*)\))?(?:\[(\d{1,6})\])?$`)
	operatorForm = regexp.MustCompile(`\s*(\|\||<|~[^\s<|~]+|~)\s*`)
)

// word is a part of a node's text: what a diagnostic points at.
type word struct {
	node   *yaml.Node
	text   string
	offset int // characters before it in the text
}

func (l *loader) wordError(w word, candidates []string, bad, format string, args ...any) {
	col := w.node.Column + w.offset
	if w.node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		col++
	}
	var e diag.Diagnostic
	if w.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		e = l.src.ErrorAt(w.node, format, args...)
	} else {
		e = l.src.At(w.node.Line, col, len(w.text), fmt.Sprintf(format, args...))
	}
	if len(candidates) > 0 {
		e.Suggestion = diag.Nearest(bad, candidates)
		if e.Suggestion == "" {
			e.Message += " (there is: " + strings.Join(candidates, ", ") + ")"
		}
	}
	l.found = append(l.found, e)
}

// event reads one event's name and checks that it can ever happen.
func (l *loader) event(w word) (event, bool) {
	m := eventForm.FindStringSubmatch(w.text)
	if m == nil {
		l.wordError(w, nil, "", "%q is no event; write it as container.started, pod.ready or stub.connected[2]", w.text)
		return event{}, false
	}
	e := event{subject: m[1], arg: m[3], text: w.text}
	if m[4] != "" {
		if e.nth, _ = strconv.Atoi(m[4]); e.nth == 0 {
			l.wordError(w, nil, "", "%s: events are counted from 1", w.text)
			return e, false
		}
	}
	if m[2] == "listening" {
		l.wordError(w, nil, "", "not supported yet: %s (podsim does not see sockets being opened; use wait: {port: {container: %s, port: %s}})", w.text, m[1], m[3])
		return e, false
	}
	candidates, ok := l.eventsOf(m[1], w)
	if !ok {
		return e, false
	}
	for _, h := range candidates {
		if strings.TrimPrefix(strings.TrimPrefix(h.String(), "pod."), "rules.") == m[2] {
			e.what = h
		}
	}
	if e.what == 0 {
		l.wordError(w, happeningNames(candidates), m[2], "unknown event %q of %s", m[2], m[1])
		return e, false
	}
	if !e.what.OfContainer() && !e.what.OfStub() {
		e.subject = ""
	}
	return e, l.possible(e, w)
}

// eventsOf lists what can happen to a subject.
func (l *loader) eventsOf(subject string, w word) ([]timeline.Happening, bool) {
	var of func(timeline.Happening) bool
	switch {
	case l.names.container(subject) != nil:
		of = timeline.Happening.OfContainer
	case slices.Contains(l.names.stubs, subject):
		of = timeline.Happening.OfStub
	case subject == "pod":
		of = timeline.Happening.OfPod
	case subject == "rules":
		of = func(h timeline.Happening) bool { return h == timeline.RulesInstalled }
	case l.names.pod == nil || l.names.broken:
		return nil, false
	default:
		known := append(l.names.containers(), l.names.stubs...)
		l.wordError(w, append(known, "pod", "rules"), subject, "unknown container or stub %q", subject)
		return nil, false
	}
	var out []timeline.Happening
	for _, h := range timeline.Happenings() {
		if of(h) {
			out = append(out, h)
		}
	}
	return out, true
}

func happeningNames(list []timeline.Happening) []string {
	var out []string
	for _, h := range list {
		out = append(out, strings.TrimPrefix(strings.TrimPrefix(h.String(), "pod."), "rules."))
	}
	return out
}

// possible reports an event that the pod, as it is written, can never bring about.
func (l *loader) possible(e event, w word) bool {
	if e.arg != "" && e.what != timeline.Exited && e.what != timeline.ProbeFail {
		l.wordError(w, nil, "", "%s takes no argument", e.what)
		return false
	}
	c := l.names.container(e.subject)
	if !e.what.OfContainer() || c == nil {
		return true
	}
	var missing string
	switch e.what {
	case timeline.Exited:
		if n, err := strconv.Atoi(e.arg); e.arg != "" && (err != nil || n < 0 || n > 255) {
			l.wordError(w, nil, "", "%s: an exit code is a number from 0 to 255", e.text)
			return false
		}
	case timeline.ProbeFail:
		kinds := []string{}
		for _, k := range pod.ProbeKinds() {
			kinds = append(kinds, k.String())
		}
		if e.arg != "" && !slices.Contains(kinds, e.arg) {
			l.wordError(w, kinds, e.arg, "unknown probe %q", e.arg)
			return false
		}
		missing = missingProbe(c, e.arg)
	case timeline.StartupOK:
		missing = missingProbe(c, "startup")
	case timeline.PostStartBegin, timeline.PostStartEnd:
		if c.Lifecycle == nil || c.Lifecycle.PostStart == nil {
			missing = "postStart hook"
		}
	case timeline.PreStopBegin, timeline.PreStopEnd:
		if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
			missing = "preStop hook"
		}
	}
	if missing != "" {
		l.wordError(w, nil, "", "%s can never happen: container %s has no %s", e.text, c.Name, missing)
		return false
	}
	return true
}

func missingProbe(c *corev1.Container, kind string) string {
	switch {
	case kind == "startup" && c.StartupProbe == nil:
		return "startupProbe"
	case kind == "liveness" && c.LivenessProbe == nil:
		return "livenessProbe"
	case kind == "readiness" && c.ReadinessProbe == nil:
		return "readinessProbe"
	case kind == "" && c.StartupProbe == nil && c.LivenessProbe == nil && c.ReadinessProbe == nil:
		return "probe"
	}
	return ""
}

// relations reads "a < b", a chain of it, or one of the other operators. alone allows a single event, which is
// then returned as lone.
func (l *loader) relations(n *yaml.Node, alone bool) (out []relation, lone *event) {
	text, ok := l.scalar(n, `a relation such as "proxy.ready < app.started"`)
	if !ok {
		return nil, nil
	}
	var words []word
	var ops []string
	at := 0
	for _, m := range operatorForm.FindAllStringSubmatchIndex(text, -1) {
		words = append(words, word{n, text[at:m[0]], at})
		ops = append(ops, text[m[2]:m[3]])
		at = m[1]
	}
	words = append(words, word{n, text[at:], at})
	if len(ops) == 0 {
		if !alone {
			l.errorf(n, `%q relates nothing; write "a < b", "a || b" or "a ~2s b"`, text)
			return nil, nil
		}
		if e, ok := l.event(words[0]); ok {
			lone = &e
		}
		return nil, lone
	}
	for i, op := range ops {
		if r, ok := l.relation(n, words[i], op, words[i+1]); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

func (l *loader) relation(n *yaml.Node, left word, op string, right word) (relation, bool) {
	r := relation{pos: l.pos(n)}
	if op == "||" {
		r.op = opOverlap
		var okA, okB bool
		r.spanA, okA = l.span(left)
		r.spanB, okB = l.span(right)
		return r, okA && okB
	}
	r.op = opBefore
	if strings.HasPrefix(op, "~") {
		d, err := time.ParseDuration(op[1:])
		if err != nil || d <= 0 {
			l.errorf(n, "%q: write how near with its unit, as in ~2s", op)
			return r, false
		}
		r.op, r.d = opWithin, d
	}
	var okA, okB bool
	r.a, okA = l.event(left)
	r.b, okB = l.event(right)
	if okA && okB && r.a.key() == r.b.key() {
		l.errorf(n, "impossible: %s cannot come before itself", r.a)
		return r, false
	}
	return r, okA && okB
}

func (l *loader) span(w word) (span, bool) {
	subject, what, _ := strings.Cut(w.text, ".")
	s, ok := spanNames[what]
	if !ok {
		l.wordError(w, nil, "", "%q does not last, so nothing overlaps with it; || takes a hook (app.preStop), "+
			"an action (app.pulled, app.created, app.started) or a container's life (app.running)", w.text)
		return s, false
	}
	s.container, s.text = subject, w.text
	return s, l.knownContainer(w, subject) && l.possible(event{subject: subject, what: s.from, text: w.text}, w)
}

func (l *loader) knownContainer(w word, name string) bool {
	if l.names.pod == nil || l.names.container(name) != nil {
		return true
	}
	l.wordError(w, l.names.containers(), name, "unknown container %q", name)
	return false
}
