package timeline

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(ms int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func TestBeforeIsProvenRefutedOrTooCloseToCall(t *testing.T) {
	action := func(from, to, first, last int) Moment {
		return Moment{From: at(from), To: at(to), First: first, Last: last, follows: true}
	}
	point := func(ms, seq int) Moment { return Moment{From: at(ms), To: at(ms), First: seq, Last: seq} }
	decided := func(ms, seq int) Moment {
		return Moment{From: at(ms), To: at(ms), First: seq, Last: seq, follows: true, derived: true}
	}
	for _, c := range []struct {
		name string
		a, b Moment
		want Answer
	}{
		{"the whole of one action lies before the other", action(0, 10, 1, 2), action(20, 30, 3, 4), Proven},
		{"one action was begun upon the other's end, without the clock moving", action(0, 10, 1, 2), action(10, 20, 3, 4), Proven},
		{"two actions overlap", action(0, 20, 1, 3), action(10, 30, 2, 4), TooClose},
		{"one action lies within the other", action(0, 40, 1, 4), action(10, 20, 2, 3), TooClose},
		{"they came the other way round", action(20, 30, 3, 4), action(0, 10, 1, 2), Refuted},
		{"a cause precedes its effect though the kernel's clock says otherwise", point(12, 5), action(10, 20, 6, 7), Proven},
		{"an exit was noticed late, after an action that it came before", point(5, 8), action(10, 20, 6, 7), Proven},
		{"an exit was during an action", point(15, 8), action(10, 20, 6, 7), TooClose},
		{"two exits at one instant", point(5, 1), point(5, 2), TooClose},
		{"a status follows from what changed it", point(5, 3), decided(5, 3), Proven},
		{"a status changed before an action began", decided(5, 3), action(5, 9, 4, 5), Proven},
		{"two statuses changed by one record", decided(5, 3), decided(5, 3), TooClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.a.Before(c.b); got != c.want {
				t.Errorf("before: %v, want %v", got, c.want)
			}
			turned := map[Answer]Answer{Proven: Refuted, Refuted: Proven, TooClose: TooClose}[c.want]
			if got := c.b.Before(c.a); got != turned {
				t.Errorf("the other way round: %v, want %v", got, turned)
			}
		})
	}
}

func TestWithinIsProvenRefutedOrTooCloseToCall(t *testing.T) {
	a := Moment{From: at(0), To: at(10)}
	b := Moment{From: at(30), To: at(50)}
	for d, want := range map[time.Duration]Answer{
		50 * time.Millisecond: Proven, 49 * time.Millisecond: TooClose, 20 * time.Millisecond: TooClose, 19 * time.Millisecond: Refuted,
	} {
		if got := a.Within(b, d); got != want {
			t.Errorf("within %v: %v, want %v", d, got, want)
		}
		if got := b.Within(a, d); got != want {
			t.Errorf("within %v, the other way round: %v, want %v", d, got, want)
		}
	}
}

func TestSpansThatMerelyTouchDoNotOverlap(t *testing.T) {
	a, b, c := Span{From: at(0), To: at(10)}, Span{From: at(10), To: at(20)}, Span{From: at(9), To: at(11)}
	if a.Overlaps(b) != Refuted || a.Overlaps(c) != Proven || c.Overlaps(b) != Proven {
		t.Errorf("overlaps: %v, %v, %v; want refuted, proven, proven", a.Overlaps(b), a.Overlaps(c), c.Overlaps(b))
	}
}

// Moments of a run in which each record is folded after what it tells of: whatever the intervals, Before never
// contradicts itself and never contradicts the instants that really were.
func TestBeforeNeverContradictsTheWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type act struct {
			m    Moment
			real int
		}
		var acts []act
		type edge struct{ time, act, end int }
		var edges []edge
		n := rapid.IntRange(2, 6).Draw(t, "n")
		for i := range n {
			from := rapid.IntRange(0, 20).Draw(t, "from")
			length := rapid.IntRange(0, 10).Draw(t, "length")
			real := from + rapid.IntRange(0, length).Draw(t, "real")
			acts = append(acts, act{Moment{From: at(from), To: at(from + length), follows: true}, real})
			edges = append(edges, edge{2 * from, i, 0}, edge{2*(from+length) + 1, i, 1})
		}
		// Records in the order of time; an end is folded after the beginnings of its instant.
		for seq := 1; len(edges) > 0; seq++ {
			first := 0
			for i := range edges {
				if edges[i].time < edges[first].time {
					first = i
				}
			}
			e := edges[first]
			edges = append(edges[:first], edges[first+1:]...)
			if e.end == 0 {
				acts[e.act].m.First = seq
			} else {
				acts[e.act].m.Last = seq
			}
		}
		for i, a := range acts {
			for j, b := range acts {
				if i == j {
					continue
				}
				ab, ba := a.m.Before(b.m), b.m.Before(a.m)
				if ab == Proven && ba != Refuted || ab == TooClose && ba != TooClose {
					t.Fatalf("%v one way and %v the other", ab, ba)
				}
				if ab == Proven && a.real > b.real {
					t.Fatalf("proven, but %d came after %d", a.real, b.real)
				}
			}
		}
	})
}

func TestHappeningsSurviveTheirText(t *testing.T) {
	for _, h := range Happenings() {
		text, err := h.MarshalText()
		var back Happening
		if err != nil || back.UnmarshalText(text) != nil || back != h {
			t.Errorf("%d became %q and then %d (%v)", h, text, back, err)
		}
		owners := 0
		for _, is := range []bool{h.OfContainer(), h.OfPod(), h.OfStub(), h == RulesInstalled} {
			if is {
				owners++
			}
		}
		if owners != 1 {
			t.Errorf("%v happens to %d kinds of things, want 1", h, owners)
		}
	}
	if _, err := Happening(0).MarshalText(); err == nil {
		t.Error("the zero happening has a text")
	}
	if got := fmt.Sprint(Happening(200)); got != "Happening(200)" {
		t.Errorf("an unknown happening prints as %q", got)
	}
}
