package scenarios

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// What the world does in the stored runs of testdata/run, where it is not what a healthy one does.
var storedWorld = map[string]func(*bench, pod.Action) (pod.Event, time.Duration, bool){
	"in-order": nth(1, pod.Response{Error: "refused", Detail: "connect: connection refused"}),
	"goes-round-the-proxy": ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{
		{ID: 1, Pod: "web", Protocol: "tcp", Opener: "app", Source: "10.7.0.2:4001", Destination: "198.18.0.10:80", Verdict: pod.Bypass, Taker: "world"}}}),
	"nothing-to-see": ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{own}}),
}

var storedOutcomes = map[string]Outcome{
	"in-order": Pass, "out-of-order": Fail, "goes-round-the-proxy": Fail, "nothing-to-see": Inconclusive, "cut-short": Errored,
}

// The runs of testdata/run are stored timelines. -update records them anew, in virtual time; otherwise they are read
// and judged, as `podsim check` does it. The tests of scenarios/report print the same ones.
func TestStoredRunsAreJudgedAgain(t *testing.T) {
	list, found := Load("testdata/run/run.yaml")
	if found.Err() != nil {
		t.Fatalf("load: %+v", found)
	}
	for _, s := range list {
		t.Run(s.Name, func(t *testing.T) {
			file := filepath.Join("testdata", "run", s.Name+".jsonl")
			if *update {
				store(t, s, file)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("read the stored run (go test -update records it): %v", err)
			}
			h, v, torn, err := timeline.Read(bytes.NewReader(data))
			if err != nil || torn {
				t.Fatalf("read the stored run: torn %v, %v", torn, err)
			}
			res := Judge(s, h, v)
			if res.Outcome != storedOutcomes[s.Name] {
				t.Errorf("outcome %v, want %v\n%s", res.Outcome, storedOutcomes[s.Name], tell(res))
			}
			marksAgree(t, res, v)
		})
	}
}

func store(t *testing.T, s *Scenario, file string) {
	t.Helper()
	b := newBench(s)
	b.answer = storedWorld[s.Name]
	if s.Name == "cut-short" {
		b.until = func(r timeline.Record) bool { return r.Time.Sub(epoch) > 3*time.Second }
	}
	v := b.run(t)
	var out bytes.Buffer
	w := timeline.NewWriter(&out, timeline.Header{ID: "stored", Begin: epoch, Pods: s.Pods})
	for r := range v.All() {
		w.Record(r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAChangedScenarioIsJudgedOnAStoredRun(t *testing.T) {
	s := mustParse(t, scenarioText("old", "file: pod.yaml", "- up: {wait: ready}"))
	b := newBench(s)
	v := b.run(t)
	h := timeline.Header{Pods: s.Pods, Begin: epoch}

	added := mustParse(t, scenarioText("new", "file: pod.yaml", `- up: {wait: ready}
- expect: {order: proxy.started < app.started}
- expect: {never: app.started}`))
	res := Judge(added, h, v)
	if got := []Outcome{res.Steps[0].Outcome, res.Steps[1].Outcome, res.Steps[2].Outcome}; got[0] != Pass || got[1] != Pass || got[2] != Fail {
		t.Errorf("steps are %v, want PASS, PASS, FAIL\n%s", got, tell(res))
	}
	state := mustParse(t, scenarioText("new", "file: pod.yaml", "- up: {wait: ready}\n- exec: {container: app, command: [x]}"))
	if res := Judge(state, h, v); res.Outcome != Inconclusive || res.Steps[1].Outcome != Skipped {
		t.Errorf("a step that the run did not carry out: %v\n%s", res.Outcome, tell(res))
	}
	other := mustParse(t, scenarioText("new", "file: pod.yaml", "- run: \"true\"\n- up: {wait: ready}"))
	if res := Judge(other, h, v); res.Outcome != Errored {
		t.Errorf("a timeline of other steps: %v\n%s", res.Outcome, tell(res))
	}
	later := mustParse(t, scenarioText("new", jobs("app"), "- up: {wait: completed}"))
	if res := Judge(later, h, v); res.Outcome != Inconclusive {
		t.Errorf("a step that would have waited on: %v\n%s", res.Outcome, tell(res))
	}
}

func TestAnyPrefixOfARunCanBeJudged(t *testing.T) {
	s := mustParse(t, scenarioText("test", "file: pod.yaml", `- up: {wait: ready}
- kill: {container: proxy, signal: KILL}
- wait: {container: proxy, state: ready}
- consistently: 2s
  expect: {status: {phase: Running}}
- expect: {order: proxy.exited < proxy.restarted}
- delete: {}`))
	v := newBench(s).run(t)
	for n := range v.Len() + 1 {
		res := Judge(s, timeline.Header{Pods: s.Pods, Begin: epoch}, v.Until(n))
		whole := n == v.Len()
		if whole != (res.Outcome == Pass) && !allEnded(res) {
			t.Errorf("the first %d of %d records: %v\n%s", n, v.Len(), res.Outcome, tell(res))
		}
	}
}

// allEnded says that the run was cut off after its last step.
func allEnded(res Result) bool {
	for _, s := range res.Steps {
		if s.Outcome != Pass {
			return false
		}
	}
	return true
}

func TestTheScriptStartsAnewForAnotherRun(t *testing.T) {
	s := mustParse(t, scenarioText("test", "file: pod.yaml", "- up: {wait: ready}\n- delete: {}"))
	b := newBench(s)
	first := b.run(t)
	again := newBench(s)
	again.script = b.script
	if second := again.run(t); story(second) != story(first) {
		t.Errorf("a script that has seen a run directs the next one otherwise:\n%s\n%s", story(first), story(second))
	}
}

func TestOutcomesSurviveTheirText(t *testing.T) {
	for _, o := range Outcomes() {
		text, err := o.MarshalText()
		var back Outcome
		if err != nil || back.UnmarshalText(text) != nil || back != o {
			t.Errorf("%d became %q and then %d (%v)", o, text, back, err)
		}
	}
}
