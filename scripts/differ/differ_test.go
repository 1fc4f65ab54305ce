package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// A job with everything in it.
const jobPod = `
restartPolicy: OnFailure
initContainers:
- {name: init, image: i:1}
- {name: proxy, image: p:1, restartPolicy: Always, startupProbe: {httpGet: {port: 80}, periodSeconds: 1, failureThreshold: 10}}
- {name: logs, image: l:1, restartPolicy: Always}
containers:
- {name: app, image: a:1}
- {name: side, image: s:1, readinessProbe: {tcpSocket: {port: 81}, periodSeconds: 1}}
`

func jobScript() pod.Script {
	return pod.Script{Containers: map[string]pod.Behaviour{
		"proxy": {Lives: []pod.Life{{StartupAfter: 1500 * time.Millisecond, StopTime: 300 * time.Millisecond}}},
		"app":   {Lives: []pod.Life{{Ends: true, After: 4 * time.Second, Code: 3}, {Ends: true, After: 3 * time.Second}}},
		"side":  {Lives: []pod.Life{{Ends: true, After: 9 * time.Second, ReadyAfter: 2500 * time.Millisecond}}},
	}}
}

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A rehearsed run: its timeline, and the same as kubectl would have recorded it.
type rehearsed struct {
	header timeline.Header
	view   timeline.View
}

func rehearse(t *testing.T, spec string, sc pod.Script, asks ...pod.Ask) rehearsed {
	t.Helper()
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	p.Name, p.Namespace, p.UID = "web", "shop", "uid-1"
	told, _, err := pod.Rehearse(p, sc, t0, 10*time.Minute, asks...)
	if err != nil {
		t.Fatal(err)
	}
	var log timeline.Log
	for _, e := range told {
		log.Append(e)
	}
	return rehearsed{timeline.Header{Version: timeline.Version, Pods: []*corev1.Pod{p}}, log.View()}
}

// file writes a timeline.
func (r rehearsed) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "timeline.jsonl")
	var text bytes.Buffer
	w := timeline.NewWriter(&text, r.header)
	for rec := range r.view.All() {
		w.Record(rec)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// kubectl writes what kubectl would have shown of the run: events with their counts, and the versions of the pod that
// an API server would have been given by a kubelet that reports at most once in a while.
func (r rehearsed) kubectl(t *testing.T, reports time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	var told, versions bytes.Buffer
	recorder := events.NewRecorder(r.header)
	var status pod.Status
	p := r.header.Pods[0].DeepCopy()
	p.Kind, p.APIVersion = "Pod", "v1"
	var last corev1.PodStatus
	var next time.Time
	kind := "ADDED"
	version := func(at time.Time) {
		if p.Status = status.PodStatus(p, at); equality.Semantic.DeepEqual(p.Status, last) {
			return
		}
		last = p.Status
		encode(t, &versions, map[string]any{"type": kind, "object": p})
		kind = "MODIFIED"
	}
	for rec := range r.view.All() {
		if !next.IsZero() && rec.Time.After(next) {
			version(next)
			next = time.Time{}
		}
		for _, e := range recorder.Add(rec) {
			encode(t, &told, map[string]any{"type": "ADDED", "object": e})
		}
		s, err := status.Apply(rec.Event)
		if err != nil {
			t.Fatal(err)
		}
		if status = s; next.IsZero() {
			next = rec.Time.Add(reports)
		}
	}
	version(next)
	for name, text := range map[string][]byte{"events.json": told.Bytes(), "pods.json": versions.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func encode(t *testing.T, w *bytes.Buffer, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(append(text, '\n'))
}

func load(t *testing.T, path string) *Recording {
	t.Helper()
	r, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// compare compares two recordings, and returns what is printed.
func compare(t *testing.T, left, right *Recording) (string, *Difference) {
	t.Helper()
	left.Name, right.Name = "LEFT", "RIGHT"
	c := Compare(left, right, Options{Merged: 2 * time.Second})
	var out strings.Builder
	if err := c.print(&out, left, right); err != nil {
		t.Fatal(err)
	}
	return out.String(), c.First
}

// A story is a pod and what happens to it.
type story struct {
	name, spec string
	script     pod.Script
	asks       []pod.Ask
}

func stories() []story {
	after := func(d time.Duration) []pod.Ask {
		return []pod.Ask{{Action: pod.Action{Op: pod.OpDelete}, After: d}}
	}
	crash := func(after time.Duration) []pod.Life { return []pod.Life{{Ends: true, After: after, Code: 1}} }
	return []story{
		{"a job with sidecars ends", jobPod, jobScript(), nil},
		{"a pod with sidecars is deleted", jobPod, jobScript(), after(6 * time.Second)},
		{"a pod is deleted during initialisation", jobPod, jobScript(), after(1500 * time.Millisecond)},
		{"a container crashes again and again", "containers: [{name: app, image: a:1}, {name: other, image: o:1}]", pod.Script{Containers: map[string]pod.Behaviour{"app": {Lives: crash(time.Second)}}}, after(3 * time.Minute)},
		{"an init container fails twice", jobPod, pod.Script{Containers: map[string]pod.Behaviour{"init": {Lives: append(crash(time.Second), pod.Life{Ends: true, After: time.Second, Code: 2}, pod.Life{Ends: true, After: time.Second})}}}, after(2 * time.Minute)},
		{"a liveness probe fails", "containers: [{name: app, image: a:1, livenessProbe: {periodSeconds: 5, failureThreshold: 2}}]", pod.Script{Containers: map[string]pod.Behaviour{"app": {Lives: []pod.Life{{AliveFor: 12 * time.Second}}}}}, after(time.Minute)},
		{"an image cannot be pulled at first", "containers: [{name: app, image: a:1}]", pod.Script{Containers: map[string]pod.Behaviour{"app": {PullFailures: []pod.Failure{{Reason: "ErrImagePull", Message: "not found"}, {Reason: "ErrImagePull", Message: "not found"}}}}}, after(2 * time.Minute)},
		{"a postStart hook fails", "containers: [{name: app, image: a:1, lifecycle: {postStart: {exec: {command: [x]}}}}]", pod.Script{Containers: map[string]pod.Behaviour{"app": {Lives: []pod.Life{{PostStart: pod.HookRun{Fails: "x"}}}}}}, after(time.Minute)},
	}
}

func TestARecordingDoesNotDifferFromItself(t *testing.T) {
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			r := rehearse(t, s.spec, s.script, s.asks...)
			if out, d := compare(t, load(t, r.file(t)), load(t, r.file(t))); d != nil {
				t.Errorf("a timeline and itself:\n%s", out)
			}
		})
	}
}

// What kubectl shows of a run, in whole seconds and with states left out, is no other run.
func TestATimelineDoesNotDifferFromItsOwnRecordingByKubectl(t *testing.T) {
	for _, s := range stories() {
		for _, reports := range []time.Duration{time.Millisecond, time.Second} {
			t.Run(s.name+", reported every "+reports.String(), func(t *testing.T) {
				r := rehearse(t, s.spec, s.script, s.asks...)
				dir := r.kubectl(t, reports)
				if out, d := compare(t, load(t, r.file(t)), load(t, dir)); d != nil {
					t.Errorf("a timeline and its recording:\n%s", out)
				}
				if out, d := compare(t, load(t, dir), load(t, r.file(t))); d != nil {
					t.Errorf("the recording and its timeline:\n%s", out)
				}
			})
		}
	}
}

// plain is a run in the plain form, whose lines a test changes.
func plain(t *testing.T, r *Recording) []string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteLines(&out, r.Events); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

func fromLines(t *testing.T, pod *corev1.Pod, lines []string) *Recording {
	t.Helper()
	r := &Recording{Pod: pod}
	if err := r.read([]byte(strings.Join(lines, "\n")+"\n"), ""); err != nil {
		t.Fatal(err)
	}
	return r
}

// place finds an event of a recording by its name.
func place(t *testing.T, r *Recording, name string) int {
	t.Helper()
	i := slices.IndexFunc(r.Events, func(e Event) bool { return e.Name() == name })
	if i < 0 {
		t.Fatalf("there is no %s in %s", name, join(r.Events, Event.Name))
	}
	return i
}

func TestDifferences(t *testing.T) {
	var golden strings.Builder
	base := load(t, "testdata/job.jsonl") // as podsim had it once
	base.Pod = rehearse(t, jobPod, jobScript()).header.Pods[0]
	move := func(name, behind string) func([]string) []string {
		return func(lines []string) []string {
			i, j := place(t, base, name), place(t, base, behind)
			l := lines[i]
			lines = slices.Delete(lines, i, i+1)
			if j > i {
				j--
			}
			return slices.Insert(lines, j+1, l)
		}
	}
	without := func(name string) func([]string) []string {
		return func(lines []string) []string { i := place(t, base, name); return slices.Delete(lines, i, i+1) }
	}
	for _, c := range []struct {
		does   string
		change func([]string) []string
		same   bool
	}{
		{does: "nothing is changed", same: true},
		{does: "a sidecar's flag comes after the next container's start", change: move("proxy.startedFlag", "logs.pulled")},
		{does: "the first main is started after the second", change: move("app.started", "side.created")},
		{does: "a container is created before its image is there", change: move("app.pulled", "app.created")},
		{does: "a sidecar ends before the last main", change: move("logs.exited(0)", "app[1].started")},
		{does: "sidecars end in the spec's order", change: move("logs.exited(0)", "proxy.exited(0)")},
		{does: "one main crashes a little later, when the other has become ready", change: move("app.exited(3)", "side.ready"), same: true},
		{does: "a probe fails a little later", change: move("side.unhealthy(readiness)", "app.exited(3)"), same: true},
		{does: "an event is missing", change: without("app[1].started")},
		{does: "the last event is missing", change: without("pod.condition(PodReadyToStartContainers=False)")},
		{does: "an event is on the right side only", change: func(lines []string) []string {
			return slices.Insert(lines, place(t, base, "side.ready"), `{"event":"killing","container":"side"}`)
		}},
		{does: "another exit code", change: func(lines []string) []string {
			i := place(t, base, "app.exited(3)")
			lines[i] = strings.Replace(lines[i], `"detail":"3"`, `"detail":"137"`, 1)
			return lines
		}},
	} {
		t.Run(c.does, func(t *testing.T) {
			lines := plain(t, base)
			if c.change != nil {
				lines = c.change(lines)
			}
			out, d := compare(t, fromLines(t, base.Pod, plain(t, base)), fromLines(t, base.Pod, lines))
			if (d == nil) != c.same {
				t.Errorf("a difference was found: %v, want %v\n%s", d != nil, !c.same, out)
			}
			golden.WriteString("== " + c.does + "\n" + out + "\n")
		})
	}
	holdTo(t, "testdata/differences.txt", golden.String())
}

// The pod of testdata/kubectl, and how its containers behave there.
const recordedPod = `
restartPolicy: Never
initContainers:
- {name: init, image: i:1}
- {name: proxy, image: p:1, restartPolicy: Always, startupProbe: {httpGet: {port: 80}, periodSeconds: 1, failureThreshold: 10}}
containers:
- {name: app, image: a:1}
- {name: side, image: s:1, readinessProbe: {tcpSocket: {port: 81}, periodSeconds: 1}}
`

func recordedScript() pod.Script {
	return pod.Script{Containers: map[string]pod.Behaviour{
		"proxy": {Lives: []pod.Life{{StartupAfter: 1500 * time.Millisecond, StopTime: 300 * time.Millisecond}}},
		"app":   {Lives: []pod.Life{{Ends: true, After: 5 * time.Second, Code: 1}}},
		"side":  {Lives: []pod.Life{{Ends: true, After: 7 * time.Second, ReadyAfter: 1500 * time.Millisecond}}},
	}}
}

func TestARecordingOfKubectls(t *testing.T) {
	ours := rehearse(t, recordedPod, recordedScript()).file(t)
	theirs := load(t, "testdata/kubectl")
	var lines bytes.Buffer
	if err := WriteLines(&lines, theirs.Events); err != nil {
		t.Fatal(err)
	}
	holdTo(t, "testdata/kubectl.lines", lines.String())
	if out, d := compare(t, load(t, ours), theirs); d != nil {
		t.Errorf("the same pod in podsim:\n%s", out)
	}
	quick := recordedScript()
	quick.Containers["proxy"] = pod.Behaviour{Lives: []pod.Life{{StartupAfter: 1500 * time.Millisecond, Ends: true, After: 4 * time.Second, Code: 9}, {}}}
	out, d := compare(t, load(t, rehearse(t, recordedPod, quick).file(t)), theirs)
	if d == nil || !strings.Contains(d.Text, "proxy.exited(9)") {
		t.Errorf("a sidecar that crashes in podsim alone is not the difference:\n%s", out)
	}
}

// The pod of testdata/kubelet, as a kubelet of v1.36.3 ran it, and how its containers behave.
const kubeletPod = `
restartPolicy: OnFailure
terminationGracePeriodSeconds: 5
initContainers:
- {name: init, image: i:1}
- {name: proxy, image: i:1, restartPolicy: Always, startupProbe: {httpGet: {port: 8081}, periodSeconds: 1, failureThreshold: 30}}
- {name: logs, image: i:1, restartPolicy: Always}
containers:
- {name: app, image: i:1}
- {name: side, image: i:1, readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1, failureThreshold: 1}}
`

// A real kubelet is what podsim is held to.
func TestTheSamePodOfARealKubeletsDoesNotDiffer(t *testing.T) {
	script := pod.Script{Kubelet: pod.Kubelet{Poll: time.Second, Ticks: pod.TicksSync}, Containers: map[string]pod.Behaviour{
		"init":  {Lives: []pod.Life{{Ends: true, After: 1500 * time.Millisecond}}},
		"proxy": {Lives: []pod.Life{{StartupAfter: 2500 * time.Millisecond}}},
		"app":   {Lives: []pod.Life{{Ends: true, After: 4 * time.Second, Code: 3}}},
		"side":  {Lives: []pod.Life{{ReadyAfter: 2 * time.Second}}},
	}}
	deleted := pod.Ask{Action: pod.Action{Op: pod.OpDelete}, After: 33 * time.Second}
	ours, theirs := load(t, rehearse(t, kubeletPod, script, deleted).file(t)), load(t, "testdata/kubelet")
	if out, d := compare(t, ours, theirs); d != nil {
		t.Errorf("podsim and a kubelet:\n%s", out)
	}
}

func TestWhatCannotBeReadSaysWhy(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an empty file", "", "neither a timeline nor a recording"},
		{"something else", `{"a": 1}`, "README.md"},
		{"another object", `{"kind": "Node"}`, `kind "Node"`},
		{"an event that there is not", `{"event": "born", "container": "app"}`, `"born"`},
		{"an event of no container", `{"event": "pulled"}`, "line 1"},
		{"a field that there is not", "{\"event\": \"pulled\", \"container\": \"app\"}\n{\"event\": \"created\", \"pod\": \"x\"}", "line 2"},
		{"a list of an event that came too often", `{"kind": "List", "items": [{"kind": "Event", "count": 3, "reason": "Created", "involvedObject": {"kind": "Pod", "fieldPath": "spec.containers{app}"}}]}`, "--output-watch-events"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&Recording{}).read([]byte(c.text), "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it was read, or refused with other words: %v; want %q in them", err, c.want)
			}
		})
	}
}

func TestTheCommandSaysByItsExitCodeWhatItFound(t *testing.T) {
	ours := rehearse(t, recordedPod, recordedScript()).file(t)
	deleted := rehearse(t, recordedPod, recordedScript(), pod.Ask{Action: pod.Action{Op: pod.OpDelete}, After: 4 * time.Second}).file(t)
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{ours, "testdata/kubectl"}, exitSame},
		{[]string{deleted, "testdata/kubectl"}, exitDifferent},
		{[]string{"--lines", ours}, exitSame},
		{[]string{ours}, exitUsage},
		{[]string{ours, "testdata/nothing"}, exitUsage},
		{[]string{"--pod", "other", ours, ours}, exitUsage},
		{[]string{"--ignore", "birth", ours, ours}, exitUsage},
	} {
		var out, errs strings.Builder
		if code := run(c.args, &out, &errs); code != c.want {
			t.Errorf("differ %v: exit code %d, want %d\n%s%s", c.args, code, c.want, out.String(), errs.String())
		}
	}
}

func holdTo(t *testing.T, file, got string) {
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
		t.Errorf("%s is out of date; rewrite it with -update if this is right:\n%s", file, got)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	for _, w := range Whats() {
		text, err := w.MarshalText()
		var back What
		if err != nil || back.UnmarshalText(text) != nil || back != w {
			t.Errorf("%d is written %q (%v) and read as %d", w, text, err, back)
		}
	}
	var w What
	if err := w.UnmarshalText([]byte("nothing")); err == nil {
		t.Error("a kind that there is not was read")
	}
}
