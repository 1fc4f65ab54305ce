package report

import (
	"slices"

	"github.com/podsim/podsim/scenarios"
)

// The exit codes of `podsim test` and `podsim check` that follow from results, or from not getting any.
const (
	ExitPassed       = 0
	ExitFailed       = 1 // a check failed
	ExitUsage        = 2 // bad usage, scenario or manifest
	ExitInconclusive = 5 // inconclusive, or an internal error
)

// ExitCode is what results come to: a failure outweighs what could not be judged, and no result at all is bad usage.
// A flaky pass is a pass.
func ExitCode(results []scenarios.Result) int {
	code := ExitPassed
	if len(results) == 0 {
		return ExitUsage
	}
	for _, r := range results {
		switch {
		case r.Outcome == scenarios.Fail, slices.ContainsFunc(r.Steps, failed):
			return ExitFailed
		case r.Outcome != scenarios.Pass:
			code = ExitInconclusive
		}
	}
	return code
}

func failed(s scenarios.StepResult) bool { return s.Outcome == scenarios.Fail }
