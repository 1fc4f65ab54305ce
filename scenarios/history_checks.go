package scenarios

import (
	"fmt"
	"time"

	"github.com/podsim/podsim/podsim/timeline"
)

// orderCheck holds where a relation between two events is proven.
type orderCheck struct{ relation }

func (c *orderCheck) needs(scene) needs { return needs{} }

func (c *orderCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "order", Wanted: c.String(), Containers: c.containers()}
	if c.op == opOverlap {
		return c.overlap(s, f)
	}
	a, okA := c.a.one(s.history.Moments())
	b, okB := c.b.one(s.history.Moments())
	f.Proof = append(proofIf(okA, a), proofIf(okB, b)...)
	switch {
	case !okA && !okB:
		return f.fail(asked, "neither %s nor %s has happened", c.a, c.b)
	case !okA && c.op == opBefore:
		return f.fail(never, "%s happened, and %s did not come before it", c.b, c.a)
	case !okA:
		return f.fail(asked, "%s has not happened", c.a)
	case !okB:
		return f.fail(asked, "%s has not happened", c.b)
	}
	if c.op == opWithin {
		return within(f, c.relation, a, b)
	}
	switch a.Before(b) {
	case timeline.Proven:
		return f.pass("%s came %v before %s", c.a, gap(a, b), c.b)
	case timeline.Refuted:
		return f.fail(never, "%s came %v before %s", c.b, gap(b, a), c.a)
	}
	return f.unclear("too close to call: %s lies in the %v from %s, %s in the %v from %s", c.a, a.To.Sub(a.From),
		clock(a.From), c.b, b.To.Sub(b.From), clock(b.From))
}

func within(f Finding, r relation, a, b timeline.Moment) Finding {
	between := gap(a, b)
	if b.From.Before(a.From) {
		between = gap(b, a)
	}
	switch a.Within(b, r.d) {
	case timeline.Proven:
		return f.pass("%v lie between them", between)
	case timeline.Refuted:
		return f.fail(never, "%v lie between them", between)
	}
	return f.unclear("too close to call: about %v lie between them", between)
}

func (c *orderCheck) overlap(s scene, f Finding) Finding {
	a := s.history.Spans(c.spanA.container, c.spanA.from, c.spanA.to)
	b := s.history.Spans(c.spanB.container, c.spanB.from, c.spanB.to)
	if len(a) == 0 || len(b) == 0 {
		return f.fail(asked, "%s happened %d times, %s %d times", c.spanA.text, len(a), c.spanB.text, len(b))
	}
	f.Proof = []int{a[0].First, a[0].Last, b[0].First, b[0].Last}
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) == timeline.Proven {
				f.Proof = []int{x.First, x.Last, y.First, y.Last}
				return f.pass("they overlap")
			}
		}
	}
	return f.fail(asked, "they do not overlap")
}

// containers are those whose moments a relation is about.
func (r relation) containers() []string {
	var out []string
	for _, name := range []string{r.spanA.container, r.spanB.container} {
		if name != "" {
			out = append(out, name)
		}
	}
	for _, e := range []event{r.a, r.b} {
		if e.what.OfContainer() {
			out = append(out, e.subject)
		}
	}
	return out
}

// neverCheck holds where an event has not happened, or has never happened before another: for "a < b", where no a
// came before the first b.
type neverCheck struct {
	pos      Pos
	event    *event
	relation *relation
}

func (c *neverCheck) needs(scene) needs { return needs{} }

func (c *neverCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "never"}
	if c.event != nil {
		return c.plain(s, f)
	}
	f.Wanted, f.Containers = "never "+c.relation.String(), c.relation.containers()
	switch c.relation.op {
	case opOverlap:
		return invert((&orderCheck{*c.relation}).overlap(s, f))
	case opWithin:
		return c.never(s, f, func(a, b timeline.Moment) timeline.Answer { return a.Within(b, c.relation.d) })
	}
	return c.never(s, f, timeline.Moment.Before)
}

func (c *neverCheck) plain(s scene, f Finding) Finding {
	f.Wanted = "never " + c.event.String()
	if c.event.what.OfContainer() {
		f.Containers = []string{c.event.subject}
	}
	all := c.event.all(s.history.Moments())
	if n := max(c.event.nth, 1); len(all) >= n {
		f.Proof = []int{all[n-1].First, all[n-1].Last}
		return f.fail(never, "%s happened, at %s", c.event, clock(all[n-1].From))
	}
	return f.pass("it has not happened")
}

// never judges a relation that must not hold between any of its first events and the one of the second.
func (c *neverCheck) never(s scene, f Finding, holds func(a, b timeline.Moment) timeline.Answer) Finding {
	as := c.relation.a.all(s.history.Moments())
	if n := c.relation.a.nth; n > 0 {
		as = as[min(n-1, len(as)):min(n, len(as))]
	}
	b, okB := c.relation.b.one(s.history.Moments())
	if len(as) == 0 {
		return f.pass("%s has not happened", c.relation.a)
	}
	if !okB {
		if c.relation.op == opWithin {
			return f.pass("%s has not happened", c.relation.b)
		}
		f.Proof = []int{as[0].First, as[0].Last}
		return f.fail(never, "%s happened, and %s had not", c.relation.a, c.relation.b)
	}
	var unclear []timeline.Moment
	for _, a := range as {
		switch holds(a, b) {
		case timeline.Proven:
			f.Proof = []int{a.First, a.Last, b.First, b.Last}
			return f.fail(never, "%s came at %s, %s at %s", c.relation.a, clock(a.To), c.relation.b, clock(b.From))
		case timeline.TooClose:
			unclear = append(unclear, a)
		}
	}
	if len(unclear) > 0 {
		f.Proof = []int{unclear[0].First, unclear[0].Last, b.First, b.Last}
		return f.unclear("too close to call: %s and %s overlap at %s", c.relation.a, c.relation.b, clock(unclear[0].From))
	}
	return f.pass("none of %d", len(as))
}

// invert makes a failure of what was a proof, and the other way round.
func invert(f Finding) Finding {
	switch f.Outcome {
	case Pass:
		return f.fail(never, "%s", f.Got)
	case Fail:
		return f.pass("%s", f.Got)
	}
	return f
}

// countCheck holds where an event has happened so many times.
type countCheck struct {
	pos   Pos
	event event
	want  bound
}

func (c *countCheck) needs(scene) needs { return needs{} }

func (c *countCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "count", Wanted: fmt.Sprintf("%s %s times", c.event, c.want)}
	if c.event.what.OfContainer() {
		f.Containers = []string{c.event.subject}
	}
	all := c.event.all(s.history.Moments())
	for _, m := range all {
		f.Proof = append(f.Proof, m.First, m.Last)
	}
	switch {
	case c.want.holds(len(all)):
		return f.pass("%d times", len(all))
	case c.want.high >= 0 && len(all) > c.want.high:
		return f.fail(never, "%d times", len(all))
	}
	return f.fail(asked, "%d times", len(all))
}

func proofIf(ok bool, m timeline.Moment) []int {
	if !ok {
		return nil
	}
	return []int{m.First, m.Last}
}

// gap is the time between two moments, the first of which came before the second.
func gap(a, b timeline.Moment) time.Duration {
	return max(b.From.Sub(a.To), 0).Round(time.Microsecond)
}

func clock(t time.Time) string { return t.Format("15:04:05.000000") }
