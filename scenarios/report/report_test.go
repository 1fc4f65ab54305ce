package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read the golden file (go test -update writes it): %v", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what came out (-want +got):\n%s", file, diff)
	}
}

// A stored run is one of those that the tests of package scenarios record.
type storedRun struct {
	scenario *scenarios.Scenario
	header   timeline.Header
	view     timeline.View
}

func (r storedRun) judge() scenarios.Result { return scenarios.Judge(r.scenario, r.header, r.view) }

func storedRuns(t *testing.T) []storedRun {
	t.Helper()
	list, found := scenarios.Load("../testdata/run/run.yaml")
	if found.Err() != nil {
		t.Fatalf("load: %+v", found)
	}
	var out []storedRun
	for _, s := range list {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "run", s.Name+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		h, v, _, err := timeline.Read(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, storedRun{s, h, v})
	}
	return out
}

func results(t *testing.T) []scenarios.Result {
	t.Helper()
	var out []scenarios.Result
	for _, r := range storedRuns(t) {
		out = append(out, r.judge())
	}
	out[0].Notes = []string{"the flow ledger is read by polling: this kernel has no conntrack events"}
	out[3].Broke(errors.New("clean up: unmount /run/podsim/x: device or resource busy"))
	return out
}

func TestVerdictsTellWhatWasWantedGotAndProven(t *testing.T) {
	var out strings.Builder
	all := results(t)
	for _, r := range all {
		if err := Verdict(&out, Style{}, r); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	if err := Summary(&out, Style{}, all); err != nil {
		t.Fatal(err)
	}
	golden(t, "verdict.txt", out.String())
}

func TestColourIsForTerminalsAlone(t *testing.T) {
	for _, r := range results(t) {
		var plain, colour strings.Builder
		if err := errors.Join(Verdict(&plain, Style{}, r), Verdict(&colour, Style{Color: true}, r)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plain.String(), "\x1b") {
			t.Errorf("%s: a plain report has an escape sequence", r.Name)
		}
		if stripped := uncolour(colour.String()); stripped != plain.String() {
			t.Errorf("%s: colour changes the text (-plain +colour):\n%s", r.Name, cmp.Diff(plain.String(), stripped))
		}
	}
}

func uncolour(s string) string {
	for _, c := range []string{red, green, yellow, grey, bold, "0"} {
		s = strings.ReplaceAll(s, "\x1b["+c+"m", "")
	}
	return s
}

func TestLiveLinesSayWhatHappens(t *testing.T) {
	var out strings.Builder
	for _, r := range storedRuns(t)[:2] {
		live := NewLive(&out, Style{}, r.header.Pods)
		live.Steps = slices.Concat(r.scenario.Steps, r.scenario.Finally)
		for rec := range r.view.All() {
			live.Record(rec)
		}
		out.WriteString("\n")
	}
	golden(t, "live.txt", out.String())
}

// Every failure is said in Kubernetes' words where it has some, and never by the name of an operation.
func TestFailuresAreSaidInKubernetesWords(t *testing.T) {
	fail := func(op pod.Op, reason, message string) pod.Event {
		return pod.Event{Kind: pod.Ended, Action: pod.Action{Op: op, Pod: "web", Container: "app"}, Failure: &pod.Failure{Reason: reason, Message: message}}
	}
	for want, e := range map[string]pod.Event{
		"FailedCreatePodSandBox: Failed to create pod sandbox: attach: no address": fail(pod.OpSetUp, "FailedCreatePodSandBox", "attach: no address"),
		`FailedMount: set up volume "v": no such file`:                             fail(pod.OpSetUp, "FailedMount", `set up volume "v": no such file`),
		`ErrImagePull: Failed to pull image "x"`:                                   fail(pod.OpPull, "ErrImagePull", `Failed to pull image "x"`),
		`CreateContainerConfigError: secret "s" not found`:                         fail(pod.OpCreate, "CreateContainerConfigError", `secret "s" not found`),
		"RunContainerError: exec: no such file":                                    fail(pod.OpStart, "RunContainerError", "exec: no such file"),
		"FailedPostStartHook: command 'x' exited with 1":                           fail(pod.OpHook, "FailedPostStartHook", "command 'x' exited with 1: "),
		"FailedPreStopHook":                          fail(pod.OpHook, "FailedPreStopHook", ""),
		"command failed: container app does not run": fail(pod.OpExec, "ExecError", "container app does not run"),
		"request failed: container app does not run": fail(pod.OpRequest, "NotFound", "container app does not run"),
		"reading failed: container app does not run": fail(pod.OpRead, "NotFound", "container app does not run"),
	} {
		who, got, ok := Words(timeline.Record{Event: e})
		if who != "app" || got != want || !ok {
			t.Errorf("a failure is said as %q of %q, want %q of app", got, who, want)
		}
	}
	if _, got, ok := Words(timeline.Record{Event: fail(pod.OpPrepare, "NotPrepared", "x")}); ok {
		t.Errorf("a hint that was not followed is said as %q; it changes nothing", got)
	}
	for _, op := range pod.Ops() {
		name := doing(pod.Action{Op: op, Probe: pod.ProbeLiveness, Hook: pod.HookPreStop, Signal: "TERM"})
		if name == "" || strings.ContainsAny(strings.TrimSuffix(strings.TrimPrefix(name, "preStop "), "TERM"), "ABCDEFGHIJKLMNOPQRSTUVWXYZ#") {
			t.Errorf("%s is named %q to people", op, name)
		}
		if op != pod.OpRequest && names[op] == "" && name == op.String() {
			t.Errorf("%s has no name for people", op)
		}
	}
}

func TestAWarningSaysWhomItIsAbout(t *testing.T) {
	note := func(container string) timeline.Record {
		return timeline.Record{Event: pod.Event{Kind: pod.Noted, Note: pod.NoteWarning, Detail: "beware", Action: pod.Action{Pod: "web", Container: container}}}
	}
	for container, want := range map[string]string{"": "pod", "app": "app"} {
		if who, what, ok := Words(note(container)); who != want || what != "warning: beware" || !ok {
			t.Errorf("the warning about container %q is %q of %q, want it of %q", container, what, who, want)
		}
	}
}

func TestJUnitHasEveryStepWithFileAndLine(t *testing.T) {
	var out bytes.Buffer
	if err := JUnit(&out, results(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "junit.xml", out.String())
	var back junitSuites
	if err := xml.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatalf("the report is no XML: %v", err)
	}
	cases, bad := 0, 0
	for _, s := range back.Suites {
		for _, c := range s.Cases {
			cases++
			if c.File == "" || c.Line == 0 {
				t.Errorf("case %q has no file or line", c.Name)
			}
			if c.Failure != nil || c.Error != nil {
				bad++
			}
		}
	}
	if cases != back.Tests || bad != back.Failures+back.Errors {
		t.Errorf("%d cases with %d bad ones, but the totals say %d and %d", cases, bad, back.Tests, back.Failures+back.Errors)
	}
}

func TestJSONHasTheProof(t *testing.T) {
	var out bytes.Buffer
	if err := JSON(&out, results(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", out.String())
	var back jsonReport
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Version != JSONVersion {
		t.Fatalf("the report is no JSON of this version: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	result := func(o ...scenarios.Outcome) (out []scenarios.Result) {
		for _, o := range o {
			out = append(out, scenarios.Result{Outcome: o})
		}
		return out
	}
	for _, c := range []struct {
		name string
		in   []scenarios.Result
		want int
	}{
		{"all passed", result(scenarios.Pass, scenarios.Pass), 0},
		{"a flaky pass is a pass", []scenarios.Result{{Outcome: scenarios.Pass, Flaky: true}}, 0},
		{"one failed", result(scenarios.Pass, scenarios.Fail), 1},
		{"a failure outweighs an error", result(scenarios.Errored, scenarios.Fail, scenarios.Inconclusive), 1},
		{"one is inconclusive", result(scenarios.Pass, scenarios.Inconclusive), 5},
		{"one could not be carried out", result(scenarios.Errored), 5},
		{"a failed check counts where the clean-up broke too",
			[]scenarios.Result{{Outcome: scenarios.Errored, Steps: []scenarios.StepResult{{Outcome: scenarios.Fail}}}}, 1},
		{"nothing was run", nil, 2},
	} {
		if got := ExitCode(c.in); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

func TestWhatAContainerSaysCannotSteerTheTerminal(t *testing.T) {
	r := results(t)[1]
	for i := range r.Steps {
		r.Steps[i].Logs = append(r.Steps[i].Logs, scenarios.Log{Container: "app", Lines: []string{"\x1b[2Jgone\r\u009b31m"}})
	}
	var out strings.Builder
	if err := Verdict(&out, Style{}, r); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r\u009b") {
		t.Errorf("control characters came through: %q", out.String())
	}
}

// A full disk must not go unnoticed.
func TestAFailingWriterIsReported(t *testing.T) {
	all := results(t)
	for name, err := range map[string]error{
		"verdict": Verdict(full{}, Style{}, all[0]), "summary": Summary(full{}, Style{}, all),
		"junit": JUnit(full{}, all), "json": JSON(full{}, all),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v, want %v", name, err, errFull)
		}
	}
}

type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }
