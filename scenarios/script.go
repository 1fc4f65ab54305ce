package scenarios

import (
	"fmt"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
)

// cleanupSlack is given to the deletion at the end beyond the pods' grace periods.
const cleanupSlack = 60 * time.Second

// A Script carries a scenario out: it satisfies the driver's Director. It belongs to one run and one goroutine.
//
// Its answer is a function of its arguments alone. What it keeps between calls is the fold of the view so far,
// which it makes anew if it is shown another run's view.
type Script struct {
	scenario *Scenario
	course   *course
	last     timeline.Record
}

// NewScript returns the script of s, which is only read.
func NewScript(s *Scenario) *Script { return &Script{scenario: s} }

// Next says what the scenario asks for now. The statuses are derived from the view, as the judge does it from a
// stored one; those of the driver are the same and are not looked at.
func (s *Script) Next(v timeline.View, _ map[string]pod.Status, now time.Time) pod.Plan {
	if n := s.last.Seq; s.course == nil || n > v.Len() || n > 0 && !same(v.At(n), s.last) {
		s.course = newCourse(s.scenario, s.scenario.Pods)
	}
	s.course.catchUp(v)
	s.last = s.course.history.Last()
	return s.course.plan(now)
}

func same(a, b timeline.Record) bool {
	return a.Seq == b.Seq && a.Kind == b.Kind && a.Time.Equal(b.Time) && a.Action.ID == b.Action.ID
}

// plan says what is due.
func (c *course) plan(now time.Time) pod.Plan {
	if c.open {
		return c.carryOn(now)
	}
	if p, due := c.lastWords(now); due {
		return p
	}
	if c.index < len(c.steps) {
		return pod.Plan{Actions: []pod.Action{Mark{Step: c.index + 1, Begins: c.steps[c.index].Title}.action()}}
	}
	return c.takeDown(now)
}

func (c *course) carryOn(now time.Time) pod.Plan {
	step, n := &c.steps[c.index], c.index+1
	d := c.evaluate(now)
	if d.over {
		return pod.Plan{Actions: []pod.Action{Mark{Step: n, Seen: c.seen, Outcome: d.outcome}.action()}}
	}
	p := pod.Plan{Wake: d.wake}
	for _, a := range d.ask {
		a.Step = n
		if a.Why == "" {
			a.Why = fmt.Sprintf("step %d: %s", n, step)
		}
		p.Actions = append(p.Actions, a)
	}
	for _, f := range d.findings {
		if f.Outcome != Pass {
			p.Waiting = append(p.Waiting, pod.Wait{Pod: c.scenario.Pods[0].Name, For: fmt.Sprintf("step %d (%s): %s", n, step, f.Got)})
		}
	}
	return p
}

// lastWords asks for the last log lines of the containers that a failed step involves, before anything else is done.
func (c *course) lastWords(now time.Time) (pod.Plan, bool) {
	if len(c.wordsOf) == 0 {
		return pod.Plan{}, false
	}
	words := c.words[c.wordsStep]
	if len(words) == 0 {
		var p pod.Plan
		for _, name := range c.wordsOf {
			p.Actions = append(p.Actions, pod.Action{Op: pod.OpRead, Pod: c.scenario.Pods[0].Name, Container: name,
				Step: c.wordsStep, Timeout: answerSlack, Why: lastWords, Read: &pod.Read{Tail: lastLines}})
		}
		return p, true
	}
	var wake time.Time
	for _, a := range words {
		if due := a.began.Time.Add(2 * answerSlack); !a.over() && now.Before(due) {
			wake = earliest(wake, due)
		}
	}
	return pod.Plan{Wake: wake}, !wake.IsZero()
}

// takeDown deletes the pods that are up, which is every scenario's implicit last step, and waits until they are gone.
func (c *course) takeDown(now time.Time) pod.Plan {
	n := len(c.steps) + 1
	var p pod.Plan
	var left []string
	grace := int64(0)
	for _, spec := range c.scenario.Pods {
		if !c.up[spec.Name] || c.history.Status(spec.Name).Gone() {
			continue
		}
		left = append(left, spec.Name)
		grace = max(grace, graceOf(spec))
		if c.deleteTime.IsZero() {
			p.Actions = append(p.Actions, pod.Action{Op: pod.OpDelete, Pod: spec.Name, Step: n, Why: "the scenario is over"})
		}
		p.Waiting = append(p.Waiting, pod.Wait{Pod: spec.Name, For: "the scenario is over: the pod is being deleted"})
	}
	switch {
	case len(left) == 0 || c.cleanup != "":
		return pod.Plan{Done: true}
	case len(p.Actions) > 0:
		return p
	}
	p.Wake = c.deleteTime.Add(time.Duration(grace)*time.Second + cleanupSlack)
	if c.last().After(p.Wake) { // a step deleted the pod long ago: what came since counts
		p.Wake = c.last().Add(cleanupSlack)
	}
	if !now.Before(p.Wake) {
		why := fmt.Sprintf("pods %v are not gone %v after their deletion", left, now.Sub(c.deleteTime).Round(time.Second))
		return pod.Plan{Actions: []pod.Action{Mark{Step: n, GaveUp: why}.action()}}
	}
	return p
}

// last is the time of the last step's end.
func (c *course) last() time.Time {
	var t time.Time
	for _, r := range c.results {
		if end := r.Begin.Add(r.Elapsed); end.After(t) {
			t = end
		}
	}
	return t
}

func graceOf(p *corev1.Pod) int64 {
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
		return *g
	}
	return 30
}
