package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/podsim/podsim/scenarios"
)

// The elements of JUnit's XML, as CI systems read it: a suite a scenario, a case a step.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string           `xml:"name,attr"`
		File       string           `xml:"file,attr,omitempty"`
		Timestamp  string           `xml:"timestamp,attr,omitempty"`
		Tests      int              `xml:"tests,attr"`
		Failures   int              `xml:"failures,attr"`
		Errors     int              `xml:"errors,attr"`
		Skipped    int              `xml:"skipped,attr"`
		Time       string           `xml:"time,attr"`
		Properties *junitProperties `xml:"properties,omitempty"`
		Cases      []junitCase      `xml:"testcase"`
		Err        string           `xml:"system-err,omitempty"`
	}
	junitProperties struct {
		List []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Classname string        `xml:"classname,attr"`
		File      string        `xml:"file,attr,omitempty"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Failure   *junitProblem `xml:"failure,omitempty"`
		Error     *junitProblem `xml:"error,omitempty"`
		Skipped   *junitProblem `xml:"skipped,omitempty"`
		Out       string        `xml:"system-out,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr,omitempty"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes results as JUnit XML. What failed is a failure; what is inconclusive or could not be carried out is
// an error, since JUnit knows no third verdict and must not show it as a pass. A flaky step says so in its output.
func JUnit(out io.Writer, results []scenarios.Result) error {
	all := junitSuites{Name: "podsim"}
	var took time.Duration
	for _, r := range results {
		s := suite(r)
		all.Tests, all.Failures, all.Errors, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Skipped+s.Skipped
		all.Suites = append(all.Suites, s)
		took += r.Elapsed
	}
	all.Time = seconds(took)
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	if _, err := fmt.Fprintf(out, "%s%s\n", xml.Header, text); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func suite(r scenarios.Result) junitSuite {
	s := junitSuite{Name: r.Name, File: r.Pos.File, Time: seconds(r.Elapsed)}
	if !r.Begin.IsZero() {
		s.Timestamp = r.Begin.UTC().Format("2006-01-02T15:04:05")
	}
	if len(r.Notes) > 0 {
		s.Properties = &junitProperties{}
	}
	for _, n := range r.Notes {
		s.Properties.List = append(s.Properties.List, junitProperty{"note", n})
	}
	for _, step := range r.Steps {
		c := testCase(r, step)
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
		s.Cases = append(s.Cases, c)
	}
	if len(r.Errors) > 0 { // what no step is to blame for is a case of its own, so that no reader can miss it
		s.Tests++
		s.Errors++
		s.Cases = append(s.Cases, junitCase{Name: "the run", Classname: r.Name, File: r.Pos.File, Line: r.Pos.Line, Time: "0.000",
			Error: &junitProblem{Message: firstLine(r.Errors[0]), Type: scenarios.Errored.String(), Text: strings.Join(r.Errors, "\n")}})
	}
	return s
}

func testCase(r scenarios.Result, s scenarios.StepResult) junitCase {
	c := junitCase{Name: fmt.Sprintf("%d. %s", s.Number, s.Step), Classname: r.Name, File: s.Step.Pos.File, Line: s.Step.Pos.Line,
		Time: seconds(s.Elapsed)}
	problem := func() *junitProblem {
		var text bytes.Buffer
		p := printer{out: &text, begin: r.Begin}
		p.why(s)
		message := s.Outcome.String()
		for _, f := range s.Findings {
			if f.Outcome == s.Outcome {
				message = fmt.Sprintf("%s: wanted %s, got %s", f.Check, f.Wanted, f.Got)
				break
			}
		}
		return &junitProblem{Message: firstLine(message), Type: s.Outcome.String(), Text: "\n" + text.String()}
	}
	switch s.Outcome {
	case scenarios.Fail:
		c.Failure = problem()
	case scenarios.Inconclusive, scenarios.Errored:
		c.Error = problem()
	case scenarios.Skipped:
		c.Skipped = &junitProblem{Message: "not reached"}
	}
	if s.Flaky {
		c.Out = fmt.Sprintf("flaky: passed at attempt %d", s.Attempts)
	}
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
