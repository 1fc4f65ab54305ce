package scenarios

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"pgregory.net/rapid"
)

// Steps that the property draws from, besides the first one.
var drawnSteps = []string{
	"- wait: {container: app, state: ready}\n  timeout: 20s",
	"- wait: {container: proxy, state: exited}\n  timeout: 3s",
	"- wait: {pod: Ready}\n  timeout: 15s",
	"- request: {from: app, http: \"http://api/\"}\n  expect: {status: 200}",
	"- eventually: 4s\n  request: {from: app, http: \"http://api/\"}\n  expect: {flow: {takenBy: proxy}}",
	"- consistently: 2s\n  request: {from: app, http: \"http://api/\"}",
	"- consistently: 3s\n  expect: {status: {phase: Running}}",
	"- kill: {container: proxy, signal: KILL}",
	"- kill: {container: app}",
	"- exec: {container: app, command: [x]}",
	"- eventually: 1s\n  exec: {container: app, command: [x]}\n  expect: {code: 1}",
	"- expect: {order: proxy.started < app.started, never: app.restarted, count: {proxy.exited: 0}}",
	"- expect: {logs: {container: app, contains: line}}",
	"- expect: {noBypass: true, noLoop: true}",
	"- eventually: 5s\n  expect: {count: {app.restarted: 2}}",
	"- sleep: 700ms",
	"- delete: {gracePeriodSeconds: 2}",
	"- delete: {wait: none}",
	"- run: line",
	"- update: {images: {app: v2}}\n  timeout: 20s",
	"- update: {images: {proxy: v2}, wait: ready}\n  timeout: 20s",
	"- update: {images: {init: v2, app: v3}, labels: {a: b}, wait: none}",
}

// possible leaves out the updates that come after the pod is gone: they are refused at load.
func possible(steps []string) (out []string) {
	gone := false
	for _, s := range steps {
		if gone && strings.HasPrefix(s, "- update") {
			continue
		}
		gone = gone || strings.HasPrefix(s, "- delete: {grace")
		out = append(out, s)
	}
	return out
}

// drawnWorld answers as the draws say: slow, failing or crashing, and now and then not at all.
func drawnWorld(t *rapid.T) func(*bench, pod.Action) (pod.Event, time.Duration, bool) {
	chance := rapid.Custom(func(t *rapid.T) int { return rapid.IntRange(0, 9).Draw(t, "d") })
	return func(b *bench, a pod.Action) (pod.Event, time.Duration, bool) {
		delay := time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond
		switch a.Op {
		case pod.OpProbe:
			if chance.Draw(t, "probe fails") < 2 {
				return pod.Event{Probe: &pod.ProbeResult{Result: pod.Failed}}, delay, true
			}
		case pod.OpRequest:
			switch chance.Draw(t, "request") {
			case 0, 1:
				return pod.Event{Response: &pod.Response{Error: "refused"}}, delay, true
			case 2:
				return pod.Event{Failure: &pod.Failure{Reason: "NotRunning"}}, delay, true
			case 3: // never answered in time
				return pod.Event{Response: &pod.Response{Status: 200}}, time.Minute, true
			}
		case pod.OpFlows:
			l := pod.Ledger{Complete: chance.Draw(t, "incomplete") > 2}
			if chance.Draw(t, "captured") > 2 {
				l.Flows = append(l.Flows, captured, own)
			}
			if chance.Draw(t, "bypass") == 0 {
				l.Flows = append(l.Flows, bypass("1.2.3.4:80"))
			}
			return pod.Event{Ledger: &l}, delay, true
		case pod.OpAwait:
			if chance.Draw(t, "crash") < 2 {
				b.exits[a.Container] = a
				b.exit(a.Container, rapid.IntRange(0, 2).Draw(t, "code"), 4*delay)
				return pod.Event{}, 0, false
			}
		case pod.OpRead:
			if chance.Draw(t, "no log") == 0 {
				return pod.Event{Content: &pod.Content{Missing: true}}, delay, true
			}
		}
		return pod.Event{}, 0, false
	}
}

// Whatever the steps and the world: the script comes to an end within its time, asks equal questions of equal views,
// leaves no pod behind, and the judge of the stored run says what the script said when it was live.
func TestEveryRunEndsAndIsJudgedAsItWasLive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := append([]string{rapid.SampledFrom([]string{"- up: {}", "- up: {wait: ready}", "- up: {wait: none}"}).Draw(rt, "up")},
			possible(rapid.SliceOfN(rapid.SampledFrom(drawnSteps), 0, 5).Draw(rt, "steps"))...)
		text := scenarioText("test", "file: pod.yaml", strings.Join(steps, "\n"))
		for line := range strings.Lines(intercepted + "options: {timeout: 40s}\nfinally: [{run: tidy}]\n") {
			text += "  " + line
		}
		s := mustParse(t, text)
		b := newBench(s)
		b.answer = drawnWorld(rt)
		v := b.run(t)
		if t.Failed() {
			rt.Fatalf("the run of\n%s", text)
		}
		res := Judge(s, timeline.Header{Pods: s.Pods, Begin: epoch}, v)
		for r := range v.All() {
			if m, ok := MarkOf(r); ok && m.Seen > 0 && m.Outcome != res.Steps[m.Step-1].Outcome {
				rt.Fatalf("step %d: live %v, judged again %v\n%s\n%s", m.Step, m.Outcome, res.Steps[m.Step-1].Outcome, tell(res), story(v))
			}
		}
		if len(res.Errors) == 0 && !coursed(t, s, v).history.Status("web").Gone() {
			rt.Fatalf("the pod is not gone\n%s", story(v))
		}
		const most = 40*time.Second + 2*time.Minute // the steps' time, finally, the deletion
		if took := b.now.Sub(epoch); took > most {
			rt.Fatalf("the run took %v, more than %v\n%s", took, most, story(v))
		}
		if again := Judge(s, timeline.Header{Pods: s.Pods, Begin: epoch}, v); fmt.Sprintf("%+v", again.Steps) != fmt.Sprintf("%+v", res.Steps) {
			rt.Fatalf("judged twice, two results:\n%s\n%s", tell(res), tell(again))
		}
	})
}

func BenchmarkNextAtTheEndOfALongRun(b *testing.B) {
	list, found := Parse("testdata/load/bench.yaml", []byte(scenarioText("bench", "file: pod.yaml",
		"- up: {wait: ready}\n- wait: {container: app, state: exited}\n  timeout: 4m")))
	if found.Err() != nil {
		b.Fatal(found)
	}
	run := newBench(list[0])
	run.until = func(r timeline.Record) bool { return r.Time.Sub(epoch) > 3*time.Minute }
	v := run.run(&testing.T{})
	b.ReportMetric(float64(v.Len()), "records")
	script := NewScript(list[0])
	script.Next(v, nil, run.now)
	for b.Loop() {
		script.Next(v, nil, run.now)
	}
}
