package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A Result is what came of one scenario.
type Result struct {
	Name string
	Pos  Pos
	// Outcome is the worst of the steps'; Errored if the run broke.
	Outcome Outcome
	// Flaky: it passed, and a step of it only upon a retry that it had not asked for.
	Flaky   bool
	Begin   time.Time
	Elapsed time.Duration
	Steps   []StepResult
	// Errors are why the scenario could not be carried out, or its pods not be taken away.
	Errors []string
	// Notes are what makes the run differ from a plain one.
	Notes []string
}

// A StepResult is what came of one step.
type StepResult struct {
	Number  int // from 1
	Step    Step
	Finally bool
	Outcome Outcome
	Flaky   bool
	// Attempts is how many rounds of actions it took.
	Attempts int
	// TimedOut is how long the step had waited when its time was up; 0 if it did not.
	TimedOut time.Duration
	Begin    time.Time
	Elapsed  time.Duration
	Findings []Finding
	// Slice is the part of the timeline that proves a failure, in order, and Logs the last lines of the containers
	// involved. Both are empty where the step passed.
	Slice []timeline.Record
	Logs  []Log

	begin, end int
}

// A Log is the last lines of a container's log.
type Log struct {
	Container string
	Lines     []string
}

// Judge says what came of s in a run. It is a pure function of the scenario and the timeline, so a stored run can be
// judged again, also by a scenario to which checks of history were added since: steps that the run did not carry out
// are judged if they only look at history (order, never, count), and are skipped otherwise.
//
// The header's pods, if there are any, are those that the planner saw, and are used instead of the scenario's.
func Judge(s *Scenario, h timeline.Header, v timeline.View) Result {
	pods := s.Pods
	if len(h.Pods) > 0 {
		pods = h.Pods
	}
	c := newCourse(s, pods)
	c.catchUp(v)
	res := Result{Name: s.Name, Pos: s.Pos}
	if v.Len() > 0 {
		res.Begin = v.At(1).Time
		if !h.Begin.IsZero() {
			res.Begin = h.Begin
		}
		res.Elapsed = v.At(v.Len()).Time.Sub(res.Begin)
	}
	if len(pods) == 1 && len(s.Pods) == 1 && pods[0].Name != s.Pods[0].Name {
		res.Errors = append(res.Errors, fmt.Sprintf("the timeline is of pod %s, the scenario of pod %s", pods[0].Name, s.Pods[0].Name))
	}
	res.Notes = append(slices.Clone(h.Notes), c.notes...)
	c.finish()
	if c.cleanup != "" {
		res.Errors = append(res.Errors, c.cleanup)
	}
	for i := range c.steps {
		r := c.results[i]
		r.Number, r.Step, r.Finally = i+1, c.steps[i], i >= len(s.Steps)
		if r.Outcome > Pass {
			r.Slice, r.Logs = c.slice(v, r), c.logs(v, r)
		}
		res.Steps = append(res.Steps, r)
	}
	res.conclude()
	return res
}

// Broke records that the run ended with an error of podsim or of the machine. Nil changes nothing.
func (r *Result) Broke(err error) {
	if err == nil {
		return
	}
	r.Errors = append(r.Errors, err.Error())
	r.conclude()
}

// CutOff records that the timeline does not tell how the run ended, as one does not whose process was killed: what it
// proves to have failed has failed, and nothing has passed.
func (r *Result) CutOff() {
	r.Notes = append(r.Notes, "the timeline does not tell how the run ended: it was cut off")
	if r.Outcome == Pass || r.Outcome == Skipped {
		r.Outcome, r.Flaky = Inconclusive, false
	}
}

// conclude derives the scenario's outcome from its steps and errors.
func (r *Result) conclude() {
	r.Outcome, r.Flaky = Pass, false
	for _, s := range r.Steps {
		r.Outcome = max(r.Outcome, s.Outcome)
		r.Flaky = r.Flaky || s.Flaky
	}
	if len(r.Errors) > 0 {
		r.Outcome = Errored
	}
	if r.Outcome == Pass && slices.ContainsFunc(r.Steps, func(s StepResult) bool { return s.Outcome == Skipped }) {
		r.Outcome = Inconclusive
	}
	r.Flaky = r.Flaky && r.Outcome == Pass
}

// finish judges what the timeline does not end: the step that was under way, and steps that it does not know.
func (c *course) finish() {
	at := c.history.Last().Time
	if c.open {
		d := c.decide(at)
		f := c.scene(at, nil).finding(c.steps[c.index].Title)
		f.Outcome, f.Got = Errored, "the run ended while this step was under way"
		for _, waiting := range d.findings {
			if waiting.Outcome != Pass {
				f.Got += "; " + waiting.Got
				f.Containers = append(f.Containers, waiting.Containers...)
			}
		}
		r := &c.results[c.index]
		r.Outcome, r.Findings, r.Begin, r.Elapsed = Errored, append(r.Findings, f), c.begin.Time, at.Sub(c.begin.Time)
		r.begin, r.end = c.begin.Seq, c.history.Len()
		return
	}
	for ; c.index < len(c.steps) && !c.failed; c.index++ {
		v, ok := c.steps[c.index].do.(*expectVerb)
		if !ok || !v.onlyHistory() || c.history.Len() == 0 {
			continue
		}
		c.begin = c.history.Last()
		r := &c.results[c.index]
		r.Findings = v.look(c.scene(at, nil))
		r.Outcome, r.Begin, r.end = worst(r.Findings), at, c.history.Len()
	}
}

const (
	// mostRecords bounds the slice of a timeline in a report.
	mostRecords = 40
	// around is how many records are shown before and after one that proves something.
	around = 2
)

// slice is the records that prove a failure, with some around each; where nothing in particular does, the last ones
// of the step.
func (c *course) slice(v timeline.View, r StepResult) []timeline.Record {
	want := map[int]bool{}
	for _, f := range r.Findings {
		if f.Outcome <= Pass {
			continue
		}
		for _, seq := range f.Proof {
			for n := max(1, seq-around); n <= min(v.Len(), seq+around); n++ {
				want[n] = want[n] || n == seq || telling(v.At(n))
			}
		}
	}
	if len(want) == 0 {
		for n := min(v.Len(), r.end); n > r.begin && len(want) < mostRecords/2; n-- {
			want[n] = telling(v.At(n)) && r.begin > 0
		}
	}
	var out []timeline.Record
	for rec := range v.All() {
		if want[rec.Seq] {
			out = append(out, rec)
		}
	}
	if n := len(out) - mostRecords; n > 0 {
		out = out[n:]
	}
	return out
}

// telling reports whether a record says something of the pod by itself; marks, and the beginnings of what is only
// told by its end, do not.
func telling(r timeline.Record) bool {
	switch r.Action.Op {
	case pod.OpMark, pod.OpPrepare:
		return false
	case pod.OpRead, pod.OpFlows, pod.OpProbe, pod.OpAwait:
		return r.Kind != pod.Began
	}
	return true
}

// logs are the last lines of the containers that a failed step involves: read right after the failure, or what the
// container's end left behind.
func (c *course) logs(v timeline.View, r StepResult) []Log {
	var out []Log
	for _, name := range involved(r.Findings) {
		lines := lastLinesOf(v, name)
		for _, a := range c.words[r.Number] {
			if a.ended.Action.Container == name && a.ended.Content != nil && a.ended.Content.Data != "" {
				lines = strings.Split(strings.TrimRight(a.ended.Content.Data, "\n"), "\n")
			}
		}
		if len(lines) > 0 {
			out = append(out, Log{Container: name, Lines: lines[max(0, len(lines)-lastLines):]})
		}
	}
	return out
}

func lastLinesOf(v timeline.View, container string) (lines []string) {
	for r := range v.All() {
		if r.Exit != nil && r.Action.Container == container && len(r.Exit.LastLog) > 0 {
			lines = r.Exit.LastLog
		}
	}
	return lines
}
