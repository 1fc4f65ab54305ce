package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
)

// Verdict prints what came of one scenario: its name and outcome, each step with its duration, and for a step that
// did not pass the source, what was wanted and got, the timeline that proves it, the flows and the last log lines.
func Verdict(out io.Writer, style Style, r scenarios.Result) error {
	p := printer{out: out, style: style, begin: r.Begin}
	p.line("%s %s  %s", style.outcome(r.Outcome, r.Flaky), style.paint(bold, r.Name), style.paint(grey, fmt.Sprintf("%s:%d, %v", r.Pos.File, r.Pos.Line, short(r.Elapsed))))
	for _, n := range r.Notes {
		p.line("  note: %s", Printable(n))
	}
	for _, s := range r.Steps {
		p.step(s)
	}
	for _, e := range r.Errors {
		p.line("  %s %s", style.paint(red, "error:"), strings.ReplaceAll(e, "\n", "\n         "))
	}
	return p.err
}

// A printer keeps the first error of its writer.
type printer struct {
	out   io.Writer
	style Style
	begin time.Time
	err   error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}

func (p *printer) step(s scenarios.StepResult) {
	number := fmt.Sprint(s.Number)
	if s.Finally {
		number = "finally " + number
	}
	text := fmt.Sprintf("  %s. %s", number, Printable(s.Step.String()))
	if s.Step.Name != "" {
		text += " [" + s.Step.Verb + "]"
	}
	text += "  " + p.style.outcome(s.Outcome, s.Flaky)
	switch {
	case s.Outcome == scenarios.Skipped:
	case s.TimedOut > 0:
		text += p.style.paint(grey, fmt.Sprintf("  time was up after %v", short(s.TimedOut)))
	default:
		text += p.style.paint(grey, fmt.Sprintf("  %v", short(s.Elapsed)))
	}
	if s.Attempts > 1 && s.Outcome != scenarios.Pass || s.Flaky {
		text += p.style.paint(grey, fmt.Sprintf(", %d attempts", s.Attempts))
	}
	p.line("%s", text)
	if s.Outcome > scenarios.Pass {
		p.why(s)
	}
}

// why prints what shows that a step did not pass.
func (p *printer) why(s scenarios.StepResult) {
	var shown scenarios.Pos
	for _, f := range s.Findings {
		if f.Outcome <= scenarios.Pass {
			continue
		}
		if f.Pos != shown {
			p.line("     %s:%d:%d", f.Pos.File, f.Pos.Line, f.Pos.Col)
			p.block("     ", strings.Split(strings.TrimRight(f.Pos.Snippet, "\n"), "\n"))
			shown = f.Pos
		}
		p.line("     %s %s", f.Check, p.style.outcome(f.Outcome, false))
		p.line("       wanted: %s", Printable(f.Wanted))
		p.line("       got:    %s", Printable(f.Got))
		for i, flow := range f.Flows {
			if i == mostFlows {
				p.line("       ... and %d more flows", len(f.Flows)-i)
				break
			}
			p.line("       %s", Printable(flowLine(flow)))
		}
	}
	p.slice(s)
	for _, l := range s.Logs {
		p.line("     last lines of %s:", l.Container)
		p.block("       | ", l.Lines)
	}
}

// mostFlows bounds the flows shown for one finding.
const mostFlows = 10

func (p *printer) slice(s scenarios.StepResult) {
	if len(s.Slice) == 0 {
		return
	}
	proof := map[int]bool{}
	for _, f := range s.Findings {
		for _, seq := range f.Proof {
			proof[seq] = proof[seq] || f.Outcome > scenarios.Pass
		}
	}
	width := 0
	for _, r := range s.Slice {
		who, _ := p.tell(r)
		width = max(width, len(who))
	}
	p.line("     the timeline:")
	last := 0
	for _, r := range s.Slice {
		who, what := p.tell(r)
		if last > 0 && r.Seq > last+1 {
			p.line("       %*s  ...", sinceWidth+2, "")
		}
		last = r.Seq
		mark := " "
		if proof[r.Seq] {
			mark = ">"
		}
		p.line("     %s %s  %-*s  %s", mark, since(p.begin, r.Time), width, Printable(who), Printable(what))
	}
}

// tell says of any record what it is; in a proof every record counts.
func (p *printer) tell(r timeline.Record) (who, what string) {
	if who, what, ok := Words(r); ok {
		return who, what
	}
	who = about(r)
	what = doing(r.Action) + " " + r.Kind.String()
	if r.Probe != nil {
		what += ": " + r.Probe.Result.String()
	}
	return who, what
}

func (p *printer) block(indent string, lines []string) {
	for _, l := range lines {
		if l != "" {
			p.line("%s%s", indent, Printable(l))
		}
	}
}

// Summary prints the last line of a run of scenarios.
func Summary(out io.Writer, style Style, results []scenarios.Result) error {
	var passed, flaky, failed, inconclusive, errored int
	var took time.Duration
	for _, r := range results {
		took += r.Elapsed
		switch {
		case r.Flaky:
			flaky++
			passed++
		case r.Outcome == scenarios.Pass:
			passed++
		case r.Outcome == scenarios.Fail:
			failed++
		case r.Outcome == scenarios.Errored:
			errored++
		default:
			inconclusive++
		}
	}
	text := fmt.Sprintf("%d passed", passed)
	if flaky > 0 {
		text += fmt.Sprintf(" (%d flaky)", flaky)
	}
	text += fmt.Sprintf(", %d failed, %d inconclusive", failed, inconclusive)
	if errored > 0 {
		text += fmt.Sprintf(", %d in error", errored)
	}
	color := green
	switch {
	case failed+errored > 0:
		color = red
	case inconclusive+flaky > 0:
		color = yellow
	}
	_, err := fmt.Fprintf(out, "%s %s\n", style.paint(color, text), style.paint(grey, fmt.Sprintf("in %v", short(took))))
	return err
}
