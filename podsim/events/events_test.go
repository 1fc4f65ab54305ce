package events

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A story is a rehearsal, by which a case shows some events.
type story struct {
	does    string // in a sentence, with the rules' ids
	pod     string // its spec, as YAML
	script  pod.Script
	horizon time.Duration // 0: ten minutes
	asks    []pod.Ask
	between []timeline.Record // put in by their time: what only a real host would say
}

const never = "restartPolicy: Never\n"

func one(more string) string {
	return "containers: [{name: app, image: a:1" + more + "}]\n"
}

func lives(name string, l ...pod.Life) pod.Script {
	return pod.Script{Containers: map[string]pod.Behaviour{name: {Lives: l}}}
}

func deleteAt(after time.Duration, grace ...int64) pod.Ask {
	a := pod.Ask{Action: pod.Action{Op: pod.OpDelete}, After: after}
	if len(grace) > 0 {
		a.Action.Grace = &grace[0]
	}
	return a
}

func failures(reason, message string) []pod.Failure {
	return []pod.Failure{{Reason: reason, Message: message}}
}

const sidecars = `
initContainers:
- {name: init, image: i:1}
- {name: proxy, image: p:1, restartPolicy: Always, startupProbe: {periodSeconds: 1, failureThreshold: 3}}
- {name: logs, image: l:1, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}
containers:
- {name: app, image: a:1}
`

var stories = []story{
	{does: "IM-06, TM-25: a pod comes, runs, and is deleted; all that run are killed at once, whatever their order",
		pod: sidecars, script: pod.Script{Containers: map[string]pod.Behaviour{"proxy": {Lives: []pod.Life{{StartupAfter: 1500 * time.Millisecond, StopTime: time.Second}}}, "app": {Pull: 1234567 * time.Microsecond}}},
		asks: []pod.Ask{{Action: pod.Action{Op: pod.OpDelete}, Ready: true, After: time.Second}}},
	{does: "IM-06: before 1.35 the kubelet named the container", pod: one(""), script: pod.Script{Kubelet: pod.Kubelet{Version: 34}}},
	{does: "BO-04: a container crashes again and again", pod: one(""), script: lives("app", pod.Life{Ends: true, After: time.Second, Code: 3}), horizon: 2 * time.Minute},
	{does: "BO-04: nothing is said of a container that has ended and stays so", pod: never + one(""), script: lives("app", pod.Life{Ends: true, After: time.Second})},
	{does: "BO-10, IM-06: an image cannot be pulled, and then can",
		pod:    "containers: [{name: app, image: a:1}, {name: other, image: b}]\n",
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {Pull: 300 * time.Millisecond, PullFailures: append(failures("ErrImagePull", `Failed to pull image "a:1": not found`), failures("ErrImagePull", "not found")...)}}}},
	{does: "IM-02: an image is not there and may not be pulled", pod: one(", imagePullPolicy: Never"), horizon: 25 * time.Second,
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {PullFailures: append(failures("ErrImageNeverPull", "x"), failures("ErrImageNeverPull", "y")...)}}}},
	{does: "IM-03: an image's name is none", pod: "containers: [{name: app, image: 'A B'}]\n",
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {PullFailures: failures("InvalidImageName", `Failed to pull image "A B": couldn't parse image name`)}}}, horizon: time.Second},
	{does: "IM-06: an image cannot be read", pod: one(""),
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {PullFailures: failures("ImageInspectError", "no content")}}}, horizon: time.Second},
	{does: "ST-11: a container cannot be created, and then can", pod: one(""),
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {CreateFailures: failures("CreateContainerConfigError", `configmap "cfg" not found`)}}}},
	{does: "ST-12: a container cannot be started; its ID is not said, so that it is said once", pod: one(""), horizon: 5 * time.Second,
		script: lives("app", pod.Life{StartFailure: &pod.Failure{Reason: "RunContainerError", Message: "start app: no such file"}},
			pod.Life{StartFailure: &pod.Failure{Reason: "RunContainerError", Message: "start app-1: no such file"}})},
	{does: "ST-01: the network cannot be made, and then can", pod: one(""),
		script: pod.Script{SetUpFailures: failures("FailedCreatePodSandBox", "no address is free")}},
	{does: "ST-01: a volume cannot be made", pod: one(""), horizon: time.Second,
		script: pod.Script{SetUpFailures: failures("FailedMount", `set up volume "cfg": configmap "cfg" not found`)}},
	{does: "PB-27, PB-14: a liveness probe fails", pod: one(", livenessProbe: {periodSeconds: 5, failureThreshold: 2}"), horizon: 40 * time.Second,
		script: lives("app", pod.Life{AliveFor: 12 * time.Second})},
	{does: "PB-27, PB-13: a sidecar's startup probe fails, and a main's under Never", horizon: 30 * time.Second,
		pod: never + `
initContainers:
- {name: proxy, image: p:1, restartPolicy: Always, livenessProbe: {periodSeconds: 1, failureThreshold: 1}}
containers:
- {name: app, image: a:1, startupProbe: {periodSeconds: 1, failureThreshold: 2}}
- {name: other, image: o:1}
`,
		script: pod.Script{Containers: map[string]pod.Behaviour{"proxy": {Lives: []pod.Life{{AliveFor: 4 * time.Second}, {}}}, "app": {Lives: []pod.Life{{StartupAfter: time.Hour}}}}}},
	{does: "PB-15: a readiness probe fails until the app is ready", pod: one(", readinessProbe: {periodSeconds: 2}"), horizon: 20 * time.Second,
		script: lives("app", pod.Life{ReadyAfter: 5 * time.Second})},
	{does: "LH-02: a postStart hook fails", pod: one(", lifecycle: {postStart: {exec: {command: [x]}}}"), horizon: 25 * time.Second,
		script: lives("app", pod.Life{PostStart: pod.HookRun{Fails: "a secret"}, StopTime: 500 * time.Millisecond})},
	{does: "TM-13: a preStop hook fails", pod: one(", lifecycle: {preStop: {exec: {command: [x]}}}"),
		script: lives("app", pod.Life{PreStop: pod.HookRun{Fails: "a secret"}}), asks: []pod.Ask{deleteAt(5 * time.Second)}},
	{does: "TM-09: a second delete shortens and has all killed again, a third that would lengthen does not", pod: one(""),
		script: lives("app", pod.Life{IgnoresTerm: true}), asks: []pod.Ask{deleteAt(2*time.Second, 20), deleteAt(4*time.Second, 5), deleteAt(5*time.Second, 60)}},
	{does: "TM-18: a job's sidecars are killed when its mains are done, and again by a delete", pod: never + sidecars,
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {Lives: []pod.Life{{Ends: true, After: 3 * time.Second}}}, "proxy": {Lives: []pod.Life{{IgnoresTerm: true}}}}},
		asks:   []pod.Ask{deleteAt(12 * time.Second)}},
	{does: "IN-02: an init container fails for good, and its sidecar is killed once", asks: []pod.Ask{deleteAt(8 * time.Second)},
		pod: never + `
initContainers:
- {name: proxy, image: p:1, restartPolicy: Always}
- {name: init, image: i:1}
containers: [{name: app, image: a:1}]
`,
		script: pod.Script{Containers: map[string]pod.Behaviour{"init": {Lives: []pod.Life{{Ends: true, After: time.Second, Code: 1}}}, "proxy": {Lives: []pod.Life{{IgnoresTerm: true}}}}}},
	{does: "TM-29: the pod's deadline passes", pod: "activeDeadlineSeconds: 5\n" + one("")},
	{does: "RA-03: all containers are restarted", horizon: 20 * time.Second,
		pod: `
containers:
- {name: app, image: a:1}
- {name: boss, image: b:1, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [7]}}]}
`,
		script: lives("boss", pod.Life{Ends: true, After: 2 * time.Second, Code: 7}, pod.Life{})},
	{does: "SC-22: a crashed container is passed over while another is restarted", horizon: 32 * time.Second,
		pod: "containers: [{name: app, image: a:1}, {name: other, image: o:1}]\n",
		script: pod.Script{Containers: map[string]pod.Behaviour{"app": {Lives: []pod.Life{{Ends: true, After: time.Second, Code: 1}}},
			"other": {Lives: []pod.Life{{Ends: true, After: 4 * time.Second}, {}}}}}},
	{does: "client-go: what differs in its message alone is combined from the tenth on, and one pod may say 25 warnings",
		pod: one(", readinessProbe: {periodSeconds: 1}"), horizon: 40 * time.Second,
		between: unhealthy(40)},
	{does: "IM-06: a real host tells when it begins to fetch", pod: one(", imagePullPolicy: Always"),
		script:  pod.Script{Containers: map[string]pod.Behaviour{"app": {Pull: 2 * time.Second}}},
		between: []timeline.Record{{Event: pod.Event{Kind: pod.Noted, Time: t0.Add(500 * time.Millisecond), Action: pod.Action{Pod: "web", Container: "app", Image: "a:1"}, Note: pod.NotePulling}}}},
}

// unhealthy are the marks of n answers of probes, a second each, that say something else every time; tell puts them
// into the probes' own answers.
func unhealthy(n int) (out []timeline.Record) {
	for i := range n {
		out = append(out, timeline.Record{Event: pod.Event{Kind: pod.Ended, Time: t0.Add(time.Duration(i) * time.Second), Probe: &pod.ProbeResult{Result: pod.Failed, Output: fmt.Sprintf("answer %d", i)}}})
	}
	return out
}

// tell plays a story and returns its timeline.
func tell(t testing.TB, s story) (timeline.Header, timeline.View) {
	t.Helper()
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(s.pod), &p.Spec); err != nil {
		t.Fatalf("parse pod: %v\n%s", err, s.pod)
	}
	p.Name, p.Namespace, p.UID = "web", "shop", "uid-1"
	horizon := s.horizon
	if horizon == 0 {
		horizon = 10 * time.Minute
	}
	told, _, err := pod.Rehearse(p, s.script, t0, horizon, s.asks...)
	if err != nil {
		t.Fatal(err)
	}
	var log timeline.Log
	between := s.between
	for _, e := range told {
		for len(between) > 0 && between[0].Time.Before(e.Time) && between[0].Kind == pod.Noted {
			log.Append(between[0].Event)
			between = between[1:]
		}
		if e.Probe != nil && len(between) > 0 {
			e.Probe, between = between[0].Probe, between[1:]
		}
		log.Append(e)
	}
	return timeline.Header{Version: timeline.Version, Pods: []*corev1.Pod{p}}, log.View()
}

func line(e corev1.Event) string {
	since := func(at time.Time) string { return at.Sub(t0).String() }
	when := since(e.FirstTimestamp.Time)
	if !e.EventTime.IsZero() {
		when = since(e.EventTime.Time)
	}
	if e.Count > 1 {
		when += fmt.Sprintf("..%s x%d", since(e.LastTimestamp.Time), e.Count)
	}
	about := strings.TrimPrefix(e.InvolvedObject.FieldPath, "spec.")
	return fmt.Sprintf("%-22s %-7s %-22s %-22s %s", when, e.Type, e.Reason, about, e.Message)
}

func TestStories(t *testing.T) {
	var b strings.Builder
	for _, s := range stories {
		fmt.Fprintf(&b, "== %s\n", s.does)
		h, v := tell(t, s)
		for _, e := range Of(h, v) {
			fmt.Fprintln(&b, strings.TrimRight(line(e), " "))
		}
		fmt.Fprintln(&b)
	}
	golden(t, "testdata/stories.txt", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
		for i := range w {
			if i >= len(g) || w[i] != g[i] {
				t.Fatalf("%s:%d is out of date; rewrite it with -update if the difference is right\n got %q\nwant %q", file, i+1, append(g, "")[min(i, len(g))], w[i])
			}
		}
		t.Fatalf("%s is out of date: there are %d more lines", file, len(g)-len(w))
	}
}

func TestAnEventIsAWholeObject(t *testing.T) {
	h, v := tell(t, stories[0])
	var b strings.Builder
	for _, e := range Of(h, v)[:4] {
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	golden(t, "testdata/objects.json", b.String())
}

// A story's timeline and any beginning of it.
func drawn(r *rapid.T, t *testing.T) (timeline.Header, timeline.View, timeline.View) {
	h, v := tell(t, rapid.SampledFrom(stories).Draw(r, "story"))
	return h, v, v.Until(rapid.IntRange(0, v.Len()).Draw(r, "records"))
}

func TestEqualTimelinesGiveEqualEvents(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h, v, part := drawn(r, t)
		if a, b := Of(h, part), Of(h, timeline.Of(records(v)[:part.Len()])); !reflect.DeepEqual(a, b) {
			r.Fatalf("one timeline gives\n%v\nand\n%v", a, b)
		}
	})
}

func records(v timeline.View) (out []timeline.Record) {
	for r := range v.All() {
		out = append(out, r)
	}
	return out
}

func TestEventsNeverShrinkAsATimelineGrows(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h, v, part := drawn(r, t)
		before, after := Of(h, part), Of(h, v)
		if len(after) < len(before) {
			r.Fatalf("%d events were there after %d records, and %d at the end", len(before), part.Len(), len(after))
		}
		names := map[string]bool{}
		for i, e := range after {
			if names[e.Name] {
				r.Fatalf("two events have the name %s", e.Name)
			}
			names[e.Name] = true
			if i >= len(before) {
				continue
			}
			was := before[i]
			if was.Name != e.Name || !was.FirstTimestamp.Equal(&e.FirstTimestamp) || was.Reason != e.Reason || was.Count > e.Count || e.LastTimestamp.Before(&was.LastTimestamp) {
				r.Fatalf("event %d was\n%s\nand is\n%s", i, line(was), line(e))
			}
		}
	})
}

func TestARecorderTellsWhatChanged(t *testing.T) {
	for _, s := range stories {
		h, v := tell(t, s)
		r := NewRecorder(h)
		told := map[string]corev1.Event{}
		for rec := range v.All() {
			for _, e := range r.Add(rec) {
				told[e.Name] = e
			}
		}
		all := Of(h, v)
		if len(all) != len(told) {
			t.Errorf("%s: %d events were told one by one, %d at once", s.does, len(told), len(all))
		}
		for _, e := range all {
			if !reflect.DeepEqual(e, told[e.Name]) {
				t.Errorf("%s: told last as\n%s\nand at once as\n%s", s.does, line(told[e.Name]), line(e))
			}
		}
	}
}
