package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// around is how many events are shown before and after a difference.
const around = 3

// print writes what came of a comparison, for people.
func (c *Comparison) print(w io.Writer, left, right *Recording) error {
	var b strings.Builder
	if len(c.Passed) > 0 {
		fmt.Fprintf(&b, "not compared, since only one side tells of it: %s\n", join(c.Passed, What.String))
	}
	if len(c.Accepted) > 0 {
		fmt.Fprintf(&b, "on one side only, and too short to be surely reported: %s\n", join(c.Accepted, Event.Name))
	}
	if c.First == nil {
		fmt.Fprintf(&b, "no difference: %d events\n", len(c.Left))
	} else {
		d := c.First
		fmt.Fprintf(&b, "the first difference: %s\n\n", d.Text)
		side(&b, "left: "+left.Name, c.Left, d.Left, d.noLeft)
		b.WriteString("\n")
		side(&b, "right: "+right.Name, c.Right, d.Right, d.noRight)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func join[T any](list []T, name func(T) string) string {
	var names []string
	for _, v := range list {
		names = append(names, name(v))
	}
	return strings.Join(names, ", ")
}

// side writes the events around those that differ.
func side(b *strings.Builder, name string, list []Event, marked []int, missing bool) {
	fmt.Fprintln(b, name)
	from, to := slices.Min(marked)-around, slices.Max(marked)+around
	if missing {
		to--
	}
	for i := max(from, 0); i <= min(to, len(list)-1); i++ {
		if missing && i == marked[0] {
			fmt.Fprintln(b, ">      -            (not here)")
		}
		if skip := slices.Max(marked) - around; i > slices.Min(marked)+around && i < skip {
			fmt.Fprintf(b, "       ... %d more\n", skip-i)
			i = skip - 1
			continue
		}
		mark := " "
		if !missing && slices.Contains(marked, i) {
			mark = ">"
		}
		e := list[i]
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%s %4d  %-12s %-36s %s", mark, i+1, when(e, list[0].From), e.Name(), e.Message), " "))
	}
	if missing && marked[0] >= len(list) {
		fmt.Fprintln(b, ">      -            (not here)")
	}
}

// when is an event's time since the first one, in seconds; with a ~ where it is not known exactly.
func when(e Event, begin time.Time) string {
	if e.From.IsZero() {
		return "?"
	}
	exact := ""
	if !e.To.Equal(e.From) {
		exact = "~"
	}
	return fmt.Sprintf("%s%.3fs", exact, e.From.Sub(begin).Seconds())
}
