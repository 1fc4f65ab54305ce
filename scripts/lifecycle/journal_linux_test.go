package lifecycle

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A journal is what the scripts of all containers of a pod have said, in the order in which they did.
type journal []entry

type entry struct {
	at         float64 // seconds since boot
	name, word string
}

// add reads a container's log.
func (j journal) add(log string) (journal, error) {
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return j, fmt.Errorf("the line %q is no script's", line)
		}
		at, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			return j, fmt.Errorf("read the time of the line %q: %w", line, err)
		}
		j = append(j, entry{at, f[1], f[2]})
	}
	slices.SortStableFunc(j, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	return j, nil
}

func (j journal) String() string {
	var b strings.Builder
	for _, e := range j {
		fmt.Fprintf(&b, "\t%.2f %s %s\n", e.at, e.name, e.word)
	}
	return b.String()
}

// find is the first entry from an index on, or -1.
func (j journal) find(name, word string, from int) int {
	for i := from; i < len(j); i++ {
		if j[i].name == name && j[i].word == word {
			return i
		}
	}
	return -1
}

// A claim is about a journal: whether it is so, and what it says.
type claim struct {
	so   func(j journal) bool
	text string
}

func (j journal) starts(name string) bool { return j.find(name, "Started", 0) >= 0 }

// starts, doesNotStart, exits, restarts and doesNotRestart are about one script.
func starts(name string) claim {
	return claim{func(j journal) bool { return j.starts(name) }, name + " starts"}
}

func doesNotStart(name string) claim {
	return claim{func(j journal) bool { return !j.starts(name) }, name + " does not start"}
}

func exits(name string) claim {
	return claim{func(j journal) bool { return j.find(name, "Exiting", 0) >= 0 }, name + " exits"}
}

// count is how often a script has said a word.
func (j journal) count(name, word string) (n int) {
	for _, e := range j {
		if e.name == name && e.word == word {
			n++
		}
	}
	return n
}

func restarts(name string) claim {
	return claim{func(j journal) bool { return j.count(name, "Starting") > 1 }, name + " is restarted"}
}

func doesNotRestart(name string) claim {
	return claim{func(j journal) bool { return j.count(name, "Starting") == 1 }, name + " begins once"}
}

// startsBefore says that b begins after a has started. They may be one: then it is restarted.
func startsBefore(a, b string) claim {
	return claim{func(j journal) bool {
		i := j.find(a, "Started", 0)
		return i >= 0 && j.find(b, "Starting", i+1) >= 0
	}, b + " begins after " + a + " has started"}
}

// exitsBefore says that b exits after a did, at least once.
func exitsBefore(a, b string) claim {
	return claim{func(j journal) bool {
		i := j.find(a, "Exiting", 0)
		return i >= 0 && j.find(b, "Exiting", i+1) >= 0
	}, b + " exits after " + a}
}

// beginsAfterExit says that b's first begin is after a's first exit: nothing of them runs together.
func beginsAfterExit(a, b string) claim {
	return claim{func(j journal) bool {
		i, k := j.find(a, "Exiting", 0), j.find(b, "Starting", 0)
		return i >= 0 && k > i
	}, b + " begins after " + a + " has exited"}
}

// runTogether says that both run at one time; runTogetherFirst, that a had started before b.
func runTogether(a, b string) claim {
	return claim{func(j journal) bool { return j.overlap(a, b) || j.overlap(b, a) }, a + " and " + b + " run together"}
}

func runTogetherFirst(a, b string) claim {
	return claim{func(j journal) bool { return j.overlap(a, b) }, a + " runs before " + b + ", and together with it"}
}

func (j journal) overlap(a, b string) bool {
	i := j.find(a, "Started", 0)
	if i < 0 {
		return false
	}
	k := j.find(b, "Started", i+1)
	end := j.find(a, "Exiting", i+1)
	return k >= 0 && end > k && j.find(b, "Exiting", k+1) >= 0
}

// not turns a claim round.
func not(c claim) claim {
	return claim{func(j journal) bool { return !c.so(j) }, "it is not so that " + c.text}
}

// time is when a script first said a word, and last when it last did, in seconds since boot; 0: never.
func (j journal) time(name, word string) float64 {
	if i := j.find(name, word, 0); i >= 0 {
		return j[i].at
	}
	return 0
}

func (j journal) last(name, word string) (at float64) {
	for _, e := range j {
		if e.name == name && e.word == word {
			at = e.at
		}
	}
	return at
}
