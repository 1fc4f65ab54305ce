package scenarios

import (
	"slices"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A Finding is what one check came to.
type Finding struct {
	Outcome Outcome
	// Pos is where the check stands in the file; the step's place if the check has none of its own.
	Pos Pos
	// Check names it: order, never, count, status, logs, files, flows, noBypass, noLoop, or the step's verb.
	Check string
	// Wanted and Got are for people. Got of a pass says what was seen.
	Wanted, Got string
	// Proof are the numbers of the records that decide it.
	Proof []int
	// Flows are the flows concerned.
	Flows []pod.Flow
	// Containers are those involved: their last log lines belong in a report of a failure.
	Containers []string

	hope hope
}

// hope says whether a finding that is no pass can still become one.
type hope uint8

const (
	soon  hope = iota // by itself, any moment: state
	asked             // only under `eventually`: what is judged once
	never             // not any more
)

// A verb is what a step does. It is inert: all that it knows of a run is in its arguments.
type verb interface {
	// ask returns the actions that come next in a round, given the round's answers so far. None: the round is
	// complete. A verb that never asks for anything only looks.
	ask(s scene) []pod.Action
	// look judges the pods' state, the history and the last complete round (scene.round).
	look(s scene) []Finding
	// repeats reports whether a round may be asked for again after a look that did not pass.
	repeats(step *Step) bool
}

// An answer is one action that a step asked for, and its end once it is over.
type answer struct {
	began, ended timeline.Record
}

func (a answer) over() bool { return a.ended.Seq > 0 }

// worst is the gravest outcome of some findings; Pass if there are none.
func worst(findings []Finding) Outcome {
	out := Pass
	for _, f := range findings {
		out = max(out, f.Outcome)
	}
	return out
}

// hopeOf says what may become of findings that are not all passes: the least of those that failed.
func hopeOf(findings []Finding) hope {
	h := soon
	for _, f := range findings {
		if f.Outcome != Pass {
			h = max(h, f.hope)
		}
	}
	return h
}

func involved(findings []Finding) []string {
	var out []string
	for _, f := range findings {
		if f.Outcome == Pass {
			continue
		}
		for _, c := range f.Containers {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}
