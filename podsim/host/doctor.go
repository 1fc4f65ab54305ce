package host

import (
	"fmt"
	"strings"
)

// A Level says how much a finding matters.
type Level uint8

// The levels: it works; something is weaker or missing, and podsim works around it; podsim cannot run.
const (
	OK Level = iota
	Weaker
	Broken
)

func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Weaker:
		return "weaker"
	case Broken:
		return "broken"
	}
	return fmt.Sprintf("Level(%d)", l)
}

// A Finding is one fact about the machine that podsim depends on.
type Finding struct {
	Name  string
	Level Level
	// Detail says what was found, and what it means for a run where that is not plain.
	Detail string
	// Fix is the command that mends it. It is empty where there is nothing to mend, and where nothing can: then Detail
	// says what is missing.
	Fix string
}

// A NotReadyError says that podsim cannot run here, and why: the broken findings.
type NotReadyError struct{ Findings []Finding }

func (e *NotReadyError) Error() string {
	var b strings.Builder
	b.WriteString("this host is not ready:")
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "\n  %s: %s", f.Name, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(&b, "\n    mend it with: %s", f.Fix)
		}
	}
	return b.String()
}

// broken picks the findings that keep podsim from running.
func broken(all []Finding) []Finding {
	var out []Finding
	for _, f := range all {
		if f.Level == Broken {
			out = append(out, f)
		}
	}
	return out
}
