package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options say what is compared.
type Options struct {
	// Ignore are kinds that are passed over.
	Ignore map[What]bool
	// Merged is how long a state of which only the status tells must last to be surely reported, where versions came
	// from an API server.
	Merged time.Duration
}

// A Difference is the first one between two recordings, left and right.
type Difference struct {
	Text string
	// Left and Right are the places of the events that differ, in what was compared of each side; where there is none,
	// the place at which it was due.
	Left, Right []int
	// due says that a side has no such event.
	noLeft, noRight bool
}

// A Comparison is what came of comparing two recordings.
type Comparison struct {
	Left, Right []Event // what was compared
	// Passed are the kinds of which only one side would tell.
	Passed []What
	// Accepted are events that only one side has and need not have been reported by the other.
	Accepted []Event
	First    *Difference // nil: there is none
}

// Compare finds the first difference between two recordings of one pod: first in the order of the left side.
func Compare(left, right *Recording, o Options) *Comparison {
	c := &Comparison{}
	keep := map[What]bool{}
	for _, w := range Whats() {
		switch {
		case left.Told[w] != right.Told[w]:
			c.Passed = append(c.Passed, w)
		case left.Told[w] && !o.Ignore[w]:
			keep[w] = true
		}
	}
	l, r := chosen(left, keep), chosen(right, keep)
	if right.Merged {
		l = c.accept(l, r, o.Merged)
	}
	if left.Merged {
		r = c.accept(r, l, o.Merged)
	}
	c.Left, c.Right = l, r
	p := left.Pod
	if p == nil {
		p = right.Pod
	}
	c.First = first(l, r, matched(l, r), orderOf(p, l), orderOf(p, r))
	return c
}

// chosen are a recording's events of the given kinds; of those that count once in an instance's life, the first.
func chosen(r *Recording, keep map[What]bool) []Event {
	type key struct {
		what      What
		container string
		instance  int
		detail    string
	}
	seen := map[key]bool{}
	var out []Event
	for _, e := range r.Events {
		k := key{e.What, e.Container, e.Instance, e.Detail}
		if !keep[e.What] || e.What.once() && seen[k] {
			continue
		}
		seen[k] = true
		out = append(out, e)
	}
	return out
}

// A matching says which event of one side is which of the other; -1: none.
type matching struct{ left, right []int }

// matched matches the n-th event of a kind with the n-th one of that kind. Exits match whatever their codes.
func matched(l, r []Event) matching {
	type key struct {
		what      What
		container string
		instance  int
		detail    string
		nth       int
	}
	keys := func(list []Event) (out []key) {
		count := map[key]int{}
		for _, e := range list {
			k := key{what: e.What, container: e.Container, instance: e.Instance, detail: e.Detail}
			if e.What == Exited {
				k.detail = ""
			}
			k2 := k
			k2.nth = count[k]
			count[k]++
			out = append(out, k2)
		}
		return out
	}
	m := matching{slices.Repeat([]int{-1}, len(l)), slices.Repeat([]int{-1}, len(r))}
	at := map[key]int{}
	for i, k := range keys(r) {
		at[k] = i
	}
	for i, k := range keys(l) {
		if j, ok := at[k]; ok {
			m.left[i], m.right[j] = j, i
		}
	}
	return m
}

// accept drops changes of status that soon went over into others, as far as the other side, which was merged, does not
// have them.
func (c *Comparison) accept(list, merged []Event, soon time.Duration) []Event {
	drop := make([]bool, len(list))
	for _, chain := range flips(list) {
		shortest(list, chain, len(flips(merged)[flipOf(list[chain[0]])]), soon, drop)
	}
	match := matched(list, merged).left
	for i, e := range list {
		if j := over(list, i); match[i] < 0 && j >= 0 && list[j].From.Sub(e.From) < soon {
			drop[i] = true
		}
	}
	var out []Event
	for i, e := range list {
		if drop[i] {
			c.Accepted = append(c.Accepted, e)
			continue
		}
		out = append(out, e)
	}
	return out
}

// A flip is what goes to and fro: a container's readiness, or a condition.
type flip struct{ container, condition string }

func flipOf(e Event) flip {
	switch e.What {
	case Ready, NotReady:
		return flip{container: e.Container}
	case Condition:
		kind, _, _ := strings.Cut(e.Detail, "=")
		return flip{condition: kind}
	}
	return flip{}
}

// flips are the places of all changes of what goes to and fro.
func flips(list []Event) map[flip][]int {
	out := map[flip][]int{}
	for i, e := range list {
		if f := flipOf(e); f != (flip{}) {
			out[f] = append(out[f], i)
		}
	}
	return out
}

// shortest drops from a chain of changes those states that lasted shortest, each with the change that began and the one
// that ended it, until no more than want changes are left, or none that soon went over.
func shortest(list []Event, chain []int, want int, soon time.Duration, drop []bool) {
	chain = slices.Clone(chain)
	for len(chain) > max(want, 1) {
		best, lasted := -1, soon
		for i := range chain[1:] {
			if d := list[chain[i+1]].From.Sub(list[chain[i]].From); d < lasted {
				best, lasted = i, d
			}
		}
		if best < 0 {
			return
		}
		drop[chain[best]], drop[chain[best+1]] = true, true
		chain = slices.Delete(chain, best, best+2)
	}
}

// over is the place of the event after which the status no longer tells of the i-th one, -1 if there is none.
func over(list []Event, i int) int {
	e := list[i]
	for j := i + 1; j < len(list); j++ {
		f := list[j]
		if f.Container != e.Container {
			continue
		}
		switch {
		case e.What == StartedFlag && f.What == Exited && f.Instance == e.Instance,
			e.What == Exited && f.What == Exited && f.Instance > e.Instance,
			e.What == Phase && f.What == Phase:
			return j
		}
	}
	return -1
}

// first finds the first difference, in the order of the left side.
func first(l, r []Event, m matching, ol, or *order) *Difference {
	var found []*Difference
	for i, e := range l {
		j := m.left[i]
		switch {
		case j < 0:
			found = append(found, &Difference{Text: e.Name() + " is on the left side only", Left: []int{i}, Right: []int{due(i, m.left)}, noRight: true})
		case e.What == Exited && e.Detail != r[j].Detail:
			found = append(found, &Difference{Text: fmt.Sprintf("%s on the left side is %s on the right side", e.Name(), r[j].Name()), Left: []int{i}, Right: []int{j}})
		}
		if len(found) > 0 {
			break
		}
	}
	for j, e := range r {
		if m.right[j] < 0 {
			found = append(found, &Difference{Text: e.Name() + " is on the right side only", Left: []int{due(j, m.right)}, Right: []int{j}, noLeft: true})
			break
		}
	}
	if d := swapped(l, r, m, ol, or); d != nil {
		found = append(found, d)
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *Difference) int { return cmp.Compare(slices.Min(a.Left), slices.Min(b.Left)) })
}

// due is the place on the other side at which the i-th event was due: after the last one before it that is there.
func due(i int, match []int) int {
	at := 0
	for _, j := range match[:i] {
		at = max(at, j+1)
	}
	return at
}

// swapped finds the first pair whose order is forced and differs.
func swapped(l, r []Event, m matching, ol, or *order) *Difference {
	for i := range l {
		for k := i + 1; k < len(l); k++ {
			a, b := m.left[i], m.left[k]
			if a < 0 || b < 0 {
				continue
			}
			x, y := i, k
			if l[k].before(l[i]) {
				x, y, a, b = k, i, b, a
			}
			if !l[x].before(l[y]) || !r[b].before(r[a]) {
				continue
			}
			why := ol.forced(l[x], l[y])
			if why == "" || or.forced(l[x], l[y]) == "" {
				continue
			}
			return &Difference{Left: []int{x, y}, Right: []int{a, b},
				Text: fmt.Sprintf("%s comes before %s on the left side, and after it on the right side: %s", l[x].Name(), l[y].Name(), why)}
		}
	}
	return nil
}
