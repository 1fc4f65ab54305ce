package report

import (
	"strings"
	"time"

	"github.com/podsim/podsim/scenarios"
)

// A Style is how a console report looks. Its zero value is plain text, for files and pipes.
type Style struct {
	// Color uses the terminal's colours. The caller knows whether there is a terminal that wants them.
	Color bool
}

// The colours, by what they say.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	grey   = "90"
	bold   = "1"
)

func (s Style) paint(color, text string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (s Style) outcome(o scenarios.Outcome, flaky bool) string {
	text := o.String()
	if flaky {
		text += " (flaky)"
	}
	switch {
	case o == scenarios.Pass && !flaky:
		return s.paint(green, text)
	case o == scenarios.Fail, o == scenarios.Errored:
		return s.paint(red, text)
	case o == scenarios.Skipped:
		return s.paint(grey, text)
	}
	return s.paint(yellow, text)
}

// Printable keeps what comes from a container or a network from steering the terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\u00b7'
		}
		return r
	}, s)
}

// short is a duration to the precision that people read.
func short(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
