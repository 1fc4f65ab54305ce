package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
)

// JSONVersion is the form of the JSON report.
const JSONVersion = "podsim.report/v1"

type (
	jsonReport struct {
		Version   string         `json:"version"`
		Scenarios []jsonScenario `json:"scenarios"`
	}
	jsonScenario struct {
		Name    string            `json:"name"`
		File    string            `json:"file"`
		Line    int               `json:"line"`
		Outcome scenarios.Outcome `json:"outcome"`
		Flaky   bool              `json:"flaky,omitempty"`
		Begin   time.Time         `json:"begin,omitzero"`
		Seconds float64           `json:"seconds"`
		Notes   []string          `json:"notes,omitempty"`
		Errors  []string          `json:"errors,omitempty"`
		Steps   []jsonStep        `json:"steps"`
	}
	jsonStep struct {
		Number   int               `json:"number"`
		Name     string            `json:"name,omitempty"`
		Title    string            `json:"title"`
		Verb     string            `json:"verb"`
		Finally  bool              `json:"finally,omitempty"`
		File     string            `json:"file"`
		Line     int               `json:"line"`
		Outcome  scenarios.Outcome `json:"outcome"`
		Flaky    bool              `json:"flaky,omitempty"`
		Attempts int               `json:"attempts,omitempty"`
		TimedOut bool              `json:"timedOut,omitempty"`
		Begin    time.Time         `json:"begin,omitzero"`
		Seconds  float64           `json:"seconds"`
		Findings []jsonFinding     `json:"findings,omitempty"`
		Timeline []timeline.Record `json:"timeline,omitempty"`
		Logs     []jsonLog         `json:"logs,omitempty"`
	}
	jsonFinding struct {
		Check      string            `json:"check"`
		Outcome    scenarios.Outcome `json:"outcome"`
		Line       int               `json:"line"`
		Column     int               `json:"column"`
		Wanted     string            `json:"wanted"`
		Got        string            `json:"got"`
		Proof      []int             `json:"proof,omitempty"`
		Flows      []pod.Flow        `json:"flows,omitempty"`
		Containers []string          `json:"containers,omitempty"`
	}
	jsonLog struct {
		Container string   `json:"container"`
		Lines     []string `json:"lines"`
	}
)

// JSON writes results as one JSON document of version JSONVersion.
func JSON(out io.Writer, results []scenarios.Result) error {
	report := jsonReport{Version: JSONVersion, Scenarios: []jsonScenario{}}
	for _, r := range results {
		s := jsonScenario{Name: r.Name, File: r.Pos.File, Line: r.Pos.Line, Outcome: r.Outcome, Flaky: r.Flaky, Begin: r.Begin,
			Seconds: r.Elapsed.Seconds(), Notes: r.Notes, Errors: r.Errors, Steps: []jsonStep{}}
		for _, step := range r.Steps {
			s.Steps = append(s.Steps, stepJSON(step))
		}
		report.Scenarios = append(report.Scenarios, s)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(report); err != nil {
		return fmt.Errorf("write JSON report: %w", err)
	}
	return nil
}

func stepJSON(s scenarios.StepResult) jsonStep {
	out := jsonStep{Number: s.Number, Name: s.Step.Name, Title: s.Step.Title, Verb: s.Step.Verb, Finally: s.Finally,
		File: s.Step.Pos.File, Line: s.Step.Pos.Line, Outcome: s.Outcome, Flaky: s.Flaky, Attempts: s.Attempts,
		TimedOut: s.TimedOut > 0, Begin: s.Begin, Seconds: s.Elapsed.Seconds(), Timeline: s.Slice}
	for _, f := range s.Findings {
		out.Findings = append(out.Findings, jsonFinding{Check: f.Check, Outcome: f.Outcome, Line: f.Pos.Line, Column: f.Pos.Col,
			Wanted: f.Wanted, Got: f.Got, Proof: f.Proof, Flows: f.Flows, Containers: f.Containers})
	}
	for _, l := range s.Logs {
		out.Logs = append(out.Logs, jsonLog(l))
	}
	return out
}
