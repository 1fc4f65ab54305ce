package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
)

const (
	// pollEvery is the pause between two rounds of what needs actions to be seen.
	pollEvery = 100 * time.Millisecond
	// answerSlack is given to an action beyond its own time-out before the step stops waiting for it.
	answerSlack = 2 * time.Second
	// lastWords is the Why of the reads of the involved containers' logs after a step has failed.
	lastWords = "last words"
	// lastLines is how many lines those reads ask for.
	lastLines = 10
)

// A course is how far a scenario has come, folded from the records of its timeline.
type course struct {
	scenario *Scenario
	steps    []Step
	history  *timeline.History
	recorder *events.Recorder // nil if no step asks for Kubernetes' events

	// index is the step under way (open) or the next one, counted from 0.
	index   int
	open    bool
	begin   timeline.Record
	over    bool // the pod was gone when the step began
	answers []answer
	broken  []Finding // what broke a `consistently`
	held    int       // rounds that a `consistently` has looked at

	start   time.Time // of the first step
	failed  bool      // a step has failed: what is left of steps is skipped
	results []StepResult

	// words are the reads of logs after a failure, by step; wordsOf the containers of the step that failed last.
	words     map[int][]answer
	wordsOf   []string
	wordsStep int

	up         map[string]bool // pods that were asked for
	notes      []string        // of the kubelets that accepted them
	deleteTime time.Time       // of the first deletion that was asked for
	cleanup    string          // why the clean-up gave up

	// The last evaluation, and how many records it had seen.
	judged decision
	seen   int
}

// A decision is what an evaluation of the step under way comes to.
type decision struct {
	over     bool
	outcome  Outcome
	findings []Finding
	rounds   int
	timedOut time.Duration

	ask  []pod.Action
	wake time.Time
}

func newCourse(s *Scenario, pods []*corev1.Pod) *course {
	steps := s.allSteps()
	return &course{scenario: s, steps: steps, history: timeline.NewHistory(pods), up: map[string]bool{}, words: map[int][]answer{},
		recorder: recorderFor(steps, pods), results: make([]StepResult, len(steps))}
}

// catchUp folds the records of v that are new. Where a step was ended, it is judged by what its end mark says had
// been seen then, and as of the mark's time: so a replay comes to what the live run came to.
func (c *course) catchUp(v timeline.View) {
	ends := map[int]time.Time{}
	for r := range v.Since(c.history.Len()) {
		if m, ok := MarkOf(r); ok && m.Seen > c.seen {
			ends[m.Seen] = r.Time
		}
	}
	for r := range v.Since(c.history.Len()) {
		c.add(r)
		if at, ok := ends[r.Seq]; ok && c.open {
			c.evaluate(at)
		}
	}
}

// add folds one record.
func (c *course) add(r timeline.Record) {
	c.history.Add(r)
	if c.recorder != nil {
		c.recorder.Add(r)
	}
	switch {
	case r.Action.Op == pod.OpMark && r.Kind == pod.Began:
		c.mark(r)
	case r.Action.Op == pod.OpMark || r.Kind == pod.Noted:
	case r.Action.Op == pod.OpUp && r.Kind == pod.Began:
		c.up[r.Action.Pod] = true
		if k := r.Action.Kubelet; k != nil {
			c.notes = append(c.notes, k.Notes()...)
		}
	case r.Action.Op == pod.OpDelete && r.Kind == pod.Began && c.deleteTime.IsZero():
		c.deleteTime = r.Time
	}
	if n := r.Action.Step; n > 0 && r.Action.Op != pod.OpMark {
		if c.open && n == c.index+1 {
			c.answers = record(c.answers, r)
		} else if n == c.wordsStep && r.Action.Op == pod.OpRead {
			c.words[n] = record(c.words[n], r)
		}
	}
	if c.open && c.steps[c.index].Consistently > 0 && c.broken == nil {
		c.hold(r.Time)
	}
}

// record files an action's beginning or end.
func record(list []answer, r timeline.Record) []answer {
	if r.Kind == pod.Began {
		return append(list, answer{began: r})
	}
	for i := range list {
		if list[i].began.Action.ID == r.Action.ID {
			list[i].ended = r
		}
	}
	return list
}

// mark folds a mark of the script.
func (c *course) mark(r timeline.Record) {
	m, ok := MarkOf(r)
	switch {
	case !ok:
	case m.GaveUp != "":
		c.cleanup = m.GaveUp
	case m.Step > len(c.steps):
	case m.Begins != "":
		c.beginStep(m.Step, m.Begins, r)
	case c.open && m.Step == c.index+1:
		if m.Seen != c.seen {
			c.evaluate(r.Time)
		}
		c.endStep(r)
	}
}

func (c *course) beginStep(n int, title string, r timeline.Record) {
	step := &c.steps[n-1]
	if verb, _, _ := strings.Cut(title, " "); verb != step.Verb {
		c.results[n-1].Findings = []Finding{{Outcome: Errored, Pos: step.Pos, Check: step.Verb, Wanted: step.Title,
			Got: fmt.Sprintf("the timeline is of another scenario: its step %d is %q", n, title)}}
	}
	c.index, c.open, c.begin, c.answers = n-1, true, r, nil
	c.over = c.history.Status(c.scenario.Pods[0].Name).Gone()
	c.broken, c.held, c.judged = nil, 0, decision{}
	if c.start.IsZero() {
		c.start = r.Time
	}
}

func (c *course) endStep(r timeline.Record) {
	d, res := c.judged, &c.results[c.index]
	if !d.over { // the file has changed since: the step as it now reads would have gone on waiting
		d.findings = []Finding{c.scene(r.Time, nil).finding(c.steps[c.index].Title).unclear(
			"the recorded run ended this step before it could be judged as the file now reads")}
	}
	res.Findings = append(res.Findings, d.findings...)
	res.Outcome = worst(res.Findings)
	res.Begin, res.Elapsed = c.begin.Time, r.Time.Sub(c.begin.Time)
	res.Attempts, res.TimedOut = d.rounds, d.timedOut
	res.begin, res.end = c.begin.Seq, r.Seq
	step := &c.steps[c.index]
	res.Flaky = res.Outcome == Pass && d.rounds > 1 && step.Verb == "request" && step.Eventually == 0 && step.Consistently == 0
	c.open = false
	if res.Outcome == Fail || res.Outcome == Errored {
		c.failed = c.failed || c.index < len(c.scenario.Steps)
		c.wordsStep, c.wordsOf = c.index+1, c.speakers(res.Findings)
	}
	c.index++
	if c.failed && c.index < len(c.scenario.Steps) {
		c.index = len(c.scenario.Steps)
	}
}

// speakers are the containers whose last log lines a failure's report shows.
func (c *course) speakers(findings []Finding) []string {
	const most = 5
	var out []string
	s := c.scene(time.Time{}, nil)
	for _, name := range involved(findings) {
		if s.created(name) && len(out) < most {
			out = append(out, name)
		}
	}
	return out
}

func (c *course) scene(now time.Time, round []answer) scene {
	s := scene{scenario: c.scenario, history: c.history, recorder: c.recorder, now: now, begin: c.begin, over: c.over, round: round}
	if c.index < len(c.steps) {
		s.step = &c.steps[c.index]
	}
	return s
}

// rounds are the step's answers, divided.
type rounds struct {
	complete int
	last     []answer  // of the last complete round
	lastEnd  time.Time // when it was complete
	pending  []answer  // of the round under way
	ask      []pod.Action
}

// divide partitions the answers into rounds, by asking the verb again what it asked for.
func (c *course) divide(now time.Time) rounds {
	var r rounds
	step := &c.steps[c.index]
	start, pos := 0, 0
	for {
		round := c.answers[start:pos]
		for _, a := range round {
			if !a.over() {
				r.pending = round
				return r
			}
		}
		ask := step.do.ask(c.scene(now, round))
		if len(ask) == 0 {
			r.complete++
			r.last, r.lastEnd = round, c.begin.Time
			for _, a := range round {
				if a.ended.Time.After(r.lastEnd) {
					r.lastEnd = a.ended.Time
				}
			}
			if pos == len(c.answers) || len(round) == 0 { // the second: answers to what this version never asked for
				return r
			}
			start = pos
			continue
		}
		if pos+len(ask) > len(c.answers) {
			r.ask = ask
			return r
		}
		pos += len(ask)
	}
}

// evaluate judges the step under way, as of now, and remembers what it came to.
func (c *course) evaluate(now time.Time) decision {
	c.judged, c.seen = c.decide(now), c.history.Len()
	return c.judged
}

func (c *course) decide(now time.Time) decision {
	step := &c.steps[c.index]
	r := c.divide(now)
	d := decision{rounds: r.complete}
	deadline, scenario := c.deadline(step)
	late := func() bool { return !now.Before(deadline) }

	if c.broken != nil {
		d.over, d.outcome, d.findings = true, worst(c.broken), c.broken
		return d
	}
	if r.complete > 0 {
		d.findings = step.do.look(c.scene(now, r.last))
		d.outcome = worst(d.findings)
		if c.settled(step, &d, now) {
			return d
		}
	}
	switch {
	case len(r.pending) > 0: // an answer is due; its own time-out bounds the wait
		for _, a := range r.pending {
			if a.over() {
				continue
			}
			due := a.began.Time.Add(a.began.Action.Timeout + answerSlack)
			if a.began.Action.Timeout == 0 || due.Before(deadline) {
				due = deadline
			}
			if !now.Before(due) {
				return c.late(d, step, scenario, now, fmt.Sprintf("%s has not answered", a.began.Action))
			}
			d.wake = earliest(d.wake, due)
		}
	case late():
		return c.late(d, step, scenario, now, "")
	case len(r.ask) > 0:
		d.ask, d.wake = r.ask, deadline
	case step.do.repeats(step) && r.complete > 0:
		if next := r.lastEnd.Add(pollEvery); now.Before(next) {
			d.wake = earliest(next, deadline)
		} else {
			d.ask, d.wake = step.do.ask(c.scene(now, nil)), deadline
		}
	default:
		d.wake = deadline
	}
	if w, ok := step.do.(*sleepVerb); ok {
		d.wake = earliest(d.wake, c.begin.Time.Add(w.d))
	}
	if end := c.begin.Time.Add(step.Consistently); step.Consistently > 0 && now.Before(end) {
		d.wake = earliest(d.wake, end)
	}
	return d
}

// settled reports whether the last look ends the step.
func (c *course) settled(step *Step, d *decision, now time.Time) bool {
	switch {
	case step.Consistently > 0 && d.outcome == Pass:
		d.over = !now.Before(c.begin.Time.Add(step.Consistently))
	case d.outcome == Pass, d.outcome == Errored, step.Consistently > 0:
		d.over = true
	default:
		h := hopeOf(d.findings)
		d.over = h == never || h == asked && step.Eventually == 0
	}
	return d.over
}

// late ends a step that has no time left.
func (c *course) late(d decision, step *Step, scenario bool, now time.Time, why string) decision {
	d.over, d.timedOut = true, now.Sub(c.begin.Time)
	if why != "" || len(d.findings) == 0 {
		f := c.scene(now, nil).finding(step.Title)
		if why == "" {
			why = "nothing yet"
		}
		d.findings = append(d.findings, f.fail(never, "%s", why))
	}
	if scenario {
		d.findings = append(d.findings, Finding{Outcome: Fail, Pos: c.scenario.Pos, Check: "timeout", hope: never,
			Wanted: fmt.Sprintf("all steps within %v (options.timeout)", c.scenario.Options.Timeout),
			Got:    fmt.Sprintf("time was up in step %d", c.index+1)})
	}
	d.outcome = worst(d.findings)
	return d
}

// deadline is when the step must have passed; scenario says that it is the whole scenario's.
func (c *course) deadline(step *Step) (at time.Time, scenario bool) {
	at = c.begin.Time.Add(step.limit())
	if end := c.start.Add(c.scenario.Options.Timeout); c.index < len(c.scenario.Steps) && end.Before(at) {
		return end, true
	}
	return at, false
}

// hold looks at a `consistently` after each record.
func (c *course) hold(now time.Time) {
	r := c.divide(now)
	if r.complete == 0 || len(r.last) > 0 && r.complete == c.held {
		return
	}
	c.held = r.complete
	if f := c.steps[c.index].do.look(c.scene(now, r.last)); worst(f) != Pass {
		c.broken = f
	}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
