package scenarios

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A runCase is a scenario, how the world answers, and what must come of it.
type runCase struct {
	name   string
	pod    string // what follows `pod:`; empty: the file
	spec   string // besides the pod: what follows `spec:`, at its own indentation
	steps  string
	answer func(b *bench, a pod.Action) (pod.Event, time.Duration, bool)
	want   Outcome
	flaky  bool
	// says are texts that the wanted step's findings must hold.
	step int // 0: none
	says []string
}

func reply(r pod.Response) (pod.Event, time.Duration, bool) {
	return pod.Event{Response: &r}, 3 * time.Millisecond, true
}

func never200(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
	if a.Op == pod.OpRequest {
		return reply(pod.Response{Status: 503, Body: "busy"})
	}
	return pod.Event{}, 0, false
}

// nth answers the n-th request (from 1) with r and the others by default.
func nth(n int, r pod.Response) func(*bench, pod.Action) (pod.Event, time.Duration, bool) {
	seen := 0
	return func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
		if a.Op != pod.OpRequest {
			return pod.Event{}, 0, false
		}
		if seen++; seen == n {
			return reply(r)
		}
		return pod.Event{}, 0, false
	}
}

func ledger(l pod.Ledger) func(*bench, pod.Action) (pod.Event, time.Duration, bool) {
	return func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
		if a.Op == pod.OpFlows {
			return pod.Event{Ledger: &l}, time.Millisecond, true
		}
		return pod.Event{}, 0, false
	}
}

const intercepted = "intercept: {profile: istio, proxy: proxy}\nstubs: {api: {http: {}}}\n"

var captured = pod.Flow{ID: 1, Pod: "web", Protocol: "tcp", Opener: "app", Source: "10.7.0.2:4001", Destination: "198.18.0.10:80",
	Verdict: pod.Captured, Taker: "proxy", Listener: 15001, Onward: 2, OnwardTo: "api"}

var own = pod.Flow{ID: 2, Pod: "web", Protocol: "tcp", Opener: "proxy", Source: "10.7.0.2:4002", Destination: "198.18.0.10:80",
	Verdict: pod.Exempt, Reason: "uid 1337", Taker: "world"}

func bypass(dest string) pod.Flow {
	return pod.Flow{ID: 3, Pod: "web", Protocol: "tcp", Opener: "app", Source: "10.7.0.2:4003", Destination: dest, Verdict: pod.Bypass}
}

// configured is a pod with volumes of a ConfigMap and a Secret, and one of a ConfigMap that is not there.
const configured = `inline:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {level: high}}
  - {apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {key: old}}
  - apiVersion: v1
    kind: Pod
    metadata: {name: web, labels: {old: "1"}}
    spec:
      containers: [{name: app, image: app.v1, env: [{name: MADE, valueFrom: {configMapKeyRef: {name: later, key: made, optional: true}}}]}]
      volumes: [{name: c, configMap: {name: settings}}, {name: s, secret: {secretName: token}}]
`

// jobs is a pod of one container that is not restarted.
func jobs(container string) string {
	return "inline:\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: web}\n  spec: {restartPolicy: Never, containers: [{name: " + container + ", image: i}]}\n"
}

var runCases = []runCase{
	{name: "a pod that starts in order passes", want: Pass,
		steps: `- up: {wait: ready}
- expect:
    order: ["proxy.startup.ok < app.started", "proxy.started < init.started < app.started", "pod.network < proxy.created"]
    never: ["app.started < proxy.startup.ok", app.restarted, proxy.exited]
    count: {proxy.started: 1, init.exited(0): 1, app.probe.fail: 0}`},
	{name: "an order that did not hold is refuted", want: Fail, step: 2, says: []string{"proxy.started came", "before app.started"},
		steps: `- up: {wait: ready}
- expect: {order: "app.started < proxy.started"}`},
	{name: "a pod that is never ready fails with what holds it back", want: Fail, step: 1, says: []string{"the pod is Pending", "proxy"},
		steps: `- up: {wait: ready}
  timeout: 30s
- sleep: 1s`,
		answer: func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
			if a.Op == pod.OpProbe && a.Container == "proxy" {
				return pod.Event{Probe: &pod.ProbeResult{Result: pod.Failed, Output: "connection refused"}}, time.Millisecond, true
			}
			return pod.Event{}, 0, false
		}},
	{name: "a request that passes at once is a plain pass", want: Pass, spec: intercepted,
		steps: `- up: {wait: ready}
- request: {from: app, http: "http://api/"}
  expect: {status: 200, body: ok}`},
	{name: "a request that passes upon a retry is flaky", want: Pass, flaky: true, spec: intercepted,
		answer: nth(1, pod.Response{Error: "refused"}),
		steps: `- up: {wait: ready}
- request: {from: app, http: "http://api/"}
  expect: {status: 200}`},
	{name: "a request that passes eventually is a plain pass", want: Pass, spec: intercepted,
		answer: nth(1, pod.Response{Error: "refused"}),
		steps: `- up: {wait: ready}
- eventually: 15s
  request: {from: app, http: "http://api/"}
  expect: {status: 200}`},
	{name: "a request that never answers as wanted fails in time", want: Fail, spec: intercepted, answer: never200, step: 2,
		says: []string{`status 503, body "busy"`},
		steps: `- up: {wait: ready}
- request: {from: app, http: "http://api/"}
  expect: {status: 200}`},
	{name: "what must hold consistently is broken by one failure", want: Fail, spec: intercepted, step: 2,
		answer: nth(7, pod.Response{Error: "reset", Detail: "connection reset by peer"}), says: []string{"error reset"},
		steps: `- up: {wait: ready}
- consistently: 3s
  request: {from: app, http: "http://api/"}`},
	{name: "what holds consistently passes when the time is over", want: Pass, spec: intercepted,
		steps: `- up: {wait: ready}
- consistently: 3s
  request: {from: app, http: "http://api/"}
- consistently: 2s
  expect: {status: {phase: Running, containers: {app: {ready: true, restartCount: 0}}}}`},
	{name: "a state that breaks between two polls breaks consistently", want: Fail, step: 2, says: []string{"proxy: is"},
		steps: `- up: {wait: ready}
- consistently: 10s
  expect: {status: {containers: {proxy: {state: running}}}}`,
		answer: func(b *bench, a pod.Action) (pod.Event, time.Duration, bool) {
			if a.Op == pod.OpAwait && a.Container == "proxy" && a.Instance == 0 {
				b.exits["proxy"] = a
				b.exit("proxy", 1, 4321*time.Millisecond)
				return pod.Event{}, 0, false
			}
			return pod.Event{}, 0, false
		}},
	{name: "a killed sidecar is restarted and counted", want: Pass,
		steps: `- up: {wait: ready}
- kill: {container: proxy, signal: KILL}
- wait: {container: proxy, state: ready}
- expect:
    count: {proxy.restarted: 1, proxy.signal.KILL: 1, proxy.exited(137): 1}
    order: ["proxy.exited < proxy.started[2]", "proxy.startup.ok[2] < proxy.ready[2]", "proxy.started ~10s proxy.exited"]
    never: [app.exited]
    status: {containers: {proxy: {restartCount: 1, exitCode: 137}}}`},
	{name: "deletion ends with the pod gone", want: Pass,
		steps: `- up: {wait: ready}
- delete: {}
- expect:
    order: ["pod.deleteRequested < app.preStop.begin", "app.preStop.end < app.signal.TERM", "app.exited < proxy.signal.TERM", "app.exited < proxy.exited"]`},
	{name: "a wait for an exit sees one that is over", want: Fail, step: 2, says: []string{"exited with code 0"},
		steps: `- up: {wait: ready}
- wait: {container: init, state: exited, code: 3}
  timeout: 1s`},
	{name: "a command's code and output are judged", want: Fail, step: 3, says: []string{"exit code 7", "no such thing"},
		steps: `- up: {wait: ready}
- exec: {container: app, command: [true]}
- run: "false"`,
		answer: func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
			if a.Op == pod.OpRun {
				return pod.Event{Output: &pod.Output{Code: 7, Stderr: "no such thing\n"}}, time.Millisecond, true
			}
			return pod.Event{}, 0, false
		}},
	{name: "logs and files are read and judged", want: Pass,
		steps: `- up: {wait: ready}
- expect:
    logs: [{container: app, contains: line of app, lacks: panic}, {container: proxy, matches: "^line"}]
    files: {container: app, path: /tmp/x, contains: line}
- wait: {log: {container: app, contains: line}}`},
	{name: "a log that lacks a line fails with its last lines", want: Fail, step: 2, says: []string{`"ready to serve" is not in it`},
		steps: `- up: {wait: ready}
- expect: {logs: {container: app, contains: ready to serve}}`},
	{name: "a captured request is proven by the ledger", want: Pass, spec: intercepted,
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{captured, own}}),
		steps: `- up: {wait: ready}
- request: {from: app, http: "http://api/"}
  expect: {status: 200, flow: {takenBy: proxy, listener: 15001, onward: api, verdict: captured}}
- expect: {noBypass: true, noLoop: true, flows: [{from: app, to: ":80", verdict: captured, count: 1}]}`},
	{name: "a request that was not captured fails", want: Fail, spec: intercepted, step: 2, says: []string{"bypass"},
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{{ID: 1, Opener: "app", Protocol: "tcp", Source: "10.7.0.2:4001",
			Destination: "198.18.0.10:80", Verdict: pod.Bypass, Taker: "world"}}}),
		steps: `- up: {wait: ready}
- request: {from: app, http: "http://api/"}
  expect: {flow: {takenBy: proxy}}`},
	{name: "a bypass fails noBypass", want: Fail, spec: intercepted, step: 2, says: []string{"1 of 2 flows got past it"},
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{captured, own, bypass("1.2.3.4:443")}}),
		steps:  "- up: {wait: ready}\n- expect: {noBypass: true}"},
	{name: "a bypass that is excepted does not", want: Pass, spec: intercepted,
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{captured, own, bypass("1.2.3.4:53"), bypass("1.2.3.4:9090")}}),
		steps:  "- up: {wait: ready}\n- expect: {noBypass: {except: [dns, ':9090']}}"},
	{name: "no flow at all is inconclusive", want: Inconclusive, spec: intercepted, step: 2, says: []string{"no flow was seen"},
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{own}}),
		steps:  "- up: {wait: ready}\n- expect: {noBypass: true}"},
	{name: "what comes from outside and what is refused prove nothing of noBypass and noLoop", want: Inconclusive, spec: intercepted, step: 2,
		says: []string{"no container but the proxy was seen to open", "the proxy was not seen to open"},
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{
			{ID: 4, Opener: "world", Taker: "proxy", Listener: 15006, Verdict: pod.Captured, Destination: "10.7.0.2:8080"},
			{ID: 5, Opener: "app", Verdict: pod.Refused, Destination: "198.18.0.10:81"},
			{ID: 6, Opener: "proxy", Verdict: pod.Refused, Destination: "127.0.0.1:8080"}}}),
		steps: "- up: {wait: ready}\n- expect: {noBypass: true, noLoop: true}"},
	{name: "an incomplete ledger is inconclusive, never a pass", want: Inconclusive, spec: intercepted, step: 2, says: []string{"3 flows were lost"},
		answer: ledger(pod.Ledger{Why: "3 flows were lost", Flows: []pod.Flow{captured, own}}),
		steps:  "- up: {wait: ready}\n- expect: {noBypass: true, noLoop: true}"},
	{name: "a bypass in an incomplete ledger fails all the same", want: Fail, spec: intercepted, step: 2,
		answer: ledger(pod.Ledger{Why: "lost", Flows: []pod.Flow{bypass("1.2.3.4:443")}}), says: []string{"got past it"},
		steps: "- up: {wait: ready}\n- expect: {noBypass: true}"},
	{name: "a loop fails noLoop", want: Fail, spec: intercepted, step: 2, says: []string{"1 flows looped"},
		answer: ledger(pod.Ledger{Complete: true, Flows: []pod.Flow{{ID: 9, Opener: "proxy", Taker: "proxy", Verdict: pod.Looped, Destination: "10.7.0.2:15001"}}}),
		steps:  "- up: {wait: ready}\n- expect: {noLoop: true}"},
	{name: "finally runs after a failure and the rest does not", want: Fail, step: 2, says: []string{"proxy.started came"},
		steps: "- up: {wait: ready}\n- expect: {order: app.started < proxy.started}\n- sleep: 1h\n", spec: "finally:\n- exec: {container: app, command: [tidy]}\n"},
	{name: "the whole scenario has a time-out", want: Fail, step: 3, says: []string{"options.timeout"}, spec: "options: {timeout: 20s}\n",
		steps: "- up: {wait: ready}\n- sleep: 5s\n- wait: {container: app, state: exited}\n- sleep: 1s"},
	{name: "a changed image restarts its container in place, and the step waits for it", want: Pass,
		steps: `- up: {wait: ready}
- update: {images: {app: app.v2}}
- expect:
    order: ["pod.updated < app.preStop.begin", "app.signal.TERM < app.exited < app.restarted"]
    count: {app.restarted: 1, proxy.restarted: 0, pod.updated: 1, pod.refreshed: 0}
    status: {containers: {app: {image: app.v2, restartCount: 1}, proxy: {image: "podsim.local/sidekick:dev"}}}`},
	{name: "an update may wait for the pod to be ready again", want: Pass,
		steps: `- up: {wait: ready}
- update: {images: {proxy: proxy.v2}, wait: ready}
- expect:
    order: ["proxy.startup.ok[2] < proxy.ready[2]"]
    status: {conditions: {Ready: true}, containers: {proxy: {image: proxy.v2, restartCount: 1}, app: {restartCount: 0}}}`},
	{name: "an init container that has ended is not run again, nor waited for", want: Pass,
		steps: `- up: {wait: ready}
- update: {images: {init: init.v2}}
- expect: {count: {init.started: 1}, status: {containers: {init: {state: terminated, restartCount: 0}}}}`},
	{name: "an image that cannot be had fails the update in its time", want: Fail, step: 2, says: []string{"not running the new image: app is waiting (", "ImagePull"},
		steps: "- up: {wait: ready}\n- update: {images: {app: app.v2}}\n  timeout: 40s",
		answer: func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
			if a.Op == pod.OpPull && a.Image == "app.v2" {
				return pod.Event{Failure: &pod.Failure{Reason: "ErrImagePull", Message: "not found"}}, time.Millisecond, true
			}
			return pod.Event{}, 0, false
		}},
	{name: "metadata and resources reach the volumes", want: Pass, pod: configured,
		steps: `- up: {wait: ready}
- update: {labels: {tier: gold, old: null}, annotations: {note: "1"}}
- update: {configMaps: {settings: {level: low}, later: {made: "yes"}}, secrets: {token: {key: new}}, activeDeadlineSeconds: 600}
- expect: {count: {pod.updated: 2, pod.refreshed: 2}, order: ["pod.updated[1] < pod.refreshed[2]", "pod.running < pod.updated"], never: [pod.notReady, app.restarted]}`},
	{name: "volumes that cannot be brought up to date fail the update", want: Fail, pod: configured, step: 2, says: []string{"FailedMount: no such key"},
		steps: "- up: {wait: ready}\n- update: {configMaps: {settings: {level: low}}}",
		answer: func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
			if a.Op == pod.OpRefresh {
				return pod.Event{Failure: &pod.Failure{Reason: "FailedMount", Message: "no such key"}}, time.Millisecond, true
			}
			return pod.Event{}, 0, false
		}},
	{name: "an update of a pod that has gone fails", want: Fail, step: 3, says: []string{"the pod is gone"},
		pod:   jobs("job"),
		steps: "- up: {wait: completed}\n- wait: {pod: Gone}\n- update: {images: {job: job.v2}}"},
	{name: "a job completes", want: Pass, pod: jobs("job"), steps: "- up: {wait: completed}\n- expect: {status: {phase: Succeeded}, never: pod.failed}"},
	{name: "a job that fails does not complete", want: Fail, pod: jobs("broken"), step: 1, says: []string{"the pod is Failed", "that is final"}, steps: "- up: {wait: completed}"},
	{name: "a job that fails ends", want: Pass, pod: jobs("broken"), steps: "- up: {wait: ended}\n- expect: {status: {phase: Failed}, count: {broken.exited(3): 1}}"},
	{name: "a job that completes ends", want: Pass, pod: jobs("job"), steps: "- up: {wait: ended}\n- expect: {status: {phase: Succeeded}}"},
	{name: "a second delete shortens the first", want: Pass,
		steps: `- up: {wait: ready}
- delete: {gracePeriodSeconds: 3600, wait: none}
- delete: {gracePeriodSeconds: 5}
- expect: {count: {pod.deleteRequested: 2, app.signal.KILL: 1}, order: [app.signal.TERM ~8s app.signal.KILL]}`,
		answer: func(b *bench, a pod.Action) (pod.Event, time.Duration, bool) {
			return pod.Event{}, time.Millisecond, a.Op == pod.OpSignal && a.Signal == "TERM" && a.Container == "app"
		}},
	{name: "a restart count that is too high is final", want: Fail, step: 3, says: []string{"restartCount is 1"},
		steps: `- up: {wait: ready}
- kill: {container: proxy, signal: KILL}
- eventually: 1h
  expect: {status: {containers: {proxy: {state: running, restartCount: 0}}}}
- sleep: 1s`},
	{name: "Kubernetes' events are judged", want: Pass,
		steps: `- up: {wait: ready}
- kill: {container: proxy, signal: KILL}
- wait: {container: proxy, state: ready}
- delete: {}
- expect:
    events:
      - {reason: Scheduled, count: 1}
      - {reason: Started, container: proxy, type: Normal, count: 2}
      - {reason: Killing, container: app, message: {contains: Stopping container}}
      - {reason: Unhealthy, count: 0}`},
	{name: "an event that was not said fails", want: Fail, step: 2, says: []string{"event Created of app with a message that", "0 times (of that reason there is: Container created)"},
		steps: "- up: {wait: ready}\n- expect: {events: {reason: Created, container: app, message: {contains: exploded}}}"},
	{name: "hooks overlap where the planner runs them at once", want: Fail, step: 3, says: []string{"they do not overlap"},
		steps: "- up: {wait: ready}\n- delete: {}\n- expect: {order: [\"app.running || proxy.running\", \"app.preStop || app.pulled\"]}"},
}

func TestScenariosComeToTheRightEnd(t *testing.T) {
	for _, c := range runCases {
		t.Run(c.name, func(t *testing.T) {
			from := c.pod
			if from == "" {
				from = "file: pod.yaml"
			}
			text := scenarioText("test", from, c.steps)
			for line := range strings.Lines(c.spec) {
				text += "  " + line
			}
			s := mustParse(t, text)
			b := newBench(s)
			b.answer = c.answer
			v := b.run(t)
			res := Judge(s, timeline.Header{Pods: s.Pods, Begin: epoch}, v)
			if res.Outcome != c.want || res.Flaky != c.flaky {
				t.Errorf("outcome %v (flaky %v), want %v (flaky %v)\n%s\n%s", res.Outcome, res.Flaky, c.want, c.flaky, tell(res), story(v))
			}
			if c.step > 0 {
				for _, text := range c.says {
					if got := tell(Result{Steps: res.Steps[c.step-1 : c.step]}); !strings.Contains(got, text) {
						t.Errorf("step %d does not say %q:\n%s", c.step, text, got)
					}
				}
			}
			marksAgree(t, res, v)
			if !coursed(t, s, v).history.Status("web").Gone() {
				t.Errorf("the pod is not gone at the end\n%s", story(v))
			}
		})
	}
}

func coursed(t *testing.T, s *Scenario, v timeline.View) *course {
	t.Helper()
	c := newCourse(s, s.Pods)
	c.catchUp(v)
	return c
}

// marksAgree holds the judge to what the script decided when it was live.
func marksAgree(t *testing.T, res Result, v timeline.View) {
	t.Helper()
	for r := range v.All() {
		if m, ok := MarkOf(r); ok && m.Seen > 0 && m.Outcome != res.Steps[m.Step-1].Outcome {
			t.Errorf("step %d: live it was %v, judged again %v", m.Step, m.Outcome, res.Steps[m.Step-1].Outcome)
		}
	}
}

// tell is a result in plain lines.
func tell(res Result) string {
	var out strings.Builder
	for _, s := range res.Steps {
		fmt.Fprintf(&out, "step %d %s: %v in %v, %d attempts\n", s.Number, s.Step, s.Outcome, s.Elapsed, s.Attempts)
		for _, f := range s.Findings {
			fmt.Fprintf(&out, "  %v %s: wanted %s, got %s\n", f.Outcome, f.Check, f.Wanted, f.Got)
		}
		for _, l := range s.Logs {
			fmt.Fprintf(&out, "  log of %s: %q\n", l.Container, l.Lines)
		}
	}
	for _, e := range res.Errors {
		fmt.Fprintf(&out, "error: %s\n", e)
	}
	return out.String()
}

func TestTheKubeletOfTheOptionsIsTheRunsAndIsNoted(t *testing.T) {
	text := scenarioText("test", "file: pod.yaml", "- up: {wait: ready}") +
		"  options: {profile: {kubernetes: \"1.35\", featureGates: {ContainerStopSignals: true}}, clock: {backoff: x10, maxBackoff: 30s, probeTicks: sync, timing: kubelet}}\n"
	s := mustParse(t, text)
	want := pod.Kubelet{Version: 35, Gates: map[pod.Gate]bool{pod.GateContainerStopSignals: true}, Pace: 10, MaxBackOff: 30 * time.Second, Ticks: pod.TicksSync, Poll: pod.KubeletPoll, Pause: pod.KubeletPause}
	if !reflect.DeepEqual(s.Options.Kubelet, &want) {
		t.Errorf("the kubelet is %+v, want %+v", s.Options.Kubelet, want)
	}
	b := newBench(s)
	v := b.run(t)
	if got := b.status["web"].Kubelet(); !reflect.DeepEqual(got, want) {
		t.Errorf("the pod was accepted by %+v, want %+v", got, want)
	}
	if res := Judge(s, timeline.Header{Pods: s.Pods, Begin: epoch}, v); res.Outcome != Pass || !slices.Equal(res.Notes, want.Notes()) {
		t.Errorf("outcome %v, notes %q, want %q", res.Outcome, res.Notes, want.Notes())
	}
}

func TestASecretsNewValueIsForTheHostAlone(t *testing.T) {
	s := mustParse(t, scenarioText("test", configured, "- up: {wait: ready}\n- update: {secrets: {token: {key: sesame}}, configMaps: {settings: {level: low}}}"))
	b := newBench(s)
	var given pod.Refresh
	b.answer = func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
		if a.Op == pod.OpRefresh {
			given = *a.Refresh
		}
		return pod.Event{}, 0, false
	}
	var out bytes.Buffer
	w := timeline.NewWriter(&out, timeline.Header{Pods: s.Pods})
	for r := range b.run(t).All() {
		w.Record(r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(given.Secrets) != 1 || string(given.Secrets[0].Data["key"]) != "sesame" || given.ConfigMaps[0].Data["level"] != "low" {
		t.Errorf("the host is given %+v", given)
	}
	if text := out.String(); strings.Contains(text, "sesame") || strings.Contains(text, "c2VzYW1l") || !strings.Contains(text, `"level":"low"`) {
		t.Errorf("the timeline tells a Secret, or no ConfigMap:\n%s", text)
	}
}

func TestAPodThatDoesNotGoAwayIsGivenUp(t *testing.T) {
	s := mustParse(t, scenarioText("test", "file: pod.yaml", "- up: {wait: ready}"))
	b := newBench(s)
	b.answer = func(_ *bench, a pod.Action) (pod.Event, time.Duration, bool) {
		return pod.Event{}, 24 * time.Hour, a.Op == pod.OpTearDown
	}
	v := b.run(t)
	res := Judge(s, timeline.Header{Pods: s.Pods, Begin: epoch}, v)
	if res.Outcome != Errored || len(res.Errors) != 1 || !strings.Contains(res.Errors[0], "pods [web] are not gone") {
		t.Errorf("outcome %v, errors %q\n%s", res.Outcome, res.Errors, story(v))
	}
	marks := 0
	for r := range v.All() {
		if m, ok := MarkOf(r); ok && m.GaveUp != "" {
			marks++
		}
	}
	if marks != 1 || b.now.Sub(epoch) > 5*time.Minute {
		t.Errorf("%d marks after %v, want 1 within five minutes", marks, b.now.Sub(epoch))
	}
}
