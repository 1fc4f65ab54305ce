package scenarios

import (
	"container/heap"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
)

// A bench runs a scenario in virtual time: the real planner and the real script, and a host that answers as the
// test says. It is the driver's loop without its goroutines, so a run is a function of the scenario and the answers.
type bench struct {
	scenario *Scenario
	script   *Script
	pods     []*corev1.Pod // the scenario's, as they are asked for now
	log      timeline.Log
	status   map[string]pod.Status
	now      time.Time
	due      deliveries
	ids      int
	exits    map[string]pod.Action // the awaited instance of each container
	leaving  map[int]bool          // awaited instances whose exit is due already, by the action's ID
	// answer gives what an action comes to, and after how long. ok false: the default.
	answer func(b *bench, a pod.Action) (e pod.Event, after time.Duration, ok bool)
	// until ends the run early, as a crash would.
	until func(r timeline.Record) bool
}

type delivery struct {
	at time.Time
	n  int
	e  pod.Event
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	if !d[i].at.Equal(d[j].at) {
		return d[i].at.Before(d[j].at)
	}
	return d[i].n < d[j].n
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newBench(s *Scenario) *bench {
	return &bench{scenario: s, script: NewScript(s), pods: slices.Clone(s.Pods), status: map[string]pod.Status{}, now: epoch, exits: map[string]pod.Action{}, leaving: map[int]bool{}}
}

// run drives the scenario to its end and returns its timeline.
func (b *bench) run(t *testing.T) timeline.View {
	t.Helper()
	for range 100_000 {
		wake, done, begun := b.settle(t)
		switch {
		case done:
			return b.log.View()
		case begun:
			continue
		}
		if b.until != nil && b.log.View().Len() > 0 && b.until(b.log.View().At(b.log.View().Len())) {
			return b.log.View()
		}
		if len(b.due) > 0 && (wake.IsZero() || !b.due[0].at.After(wake)) {
			d := heap.Pop(&b.due).(delivery)
			b.now = d.at
			b.fold(t, d.e)
			continue
		}
		if wake.IsZero() || !wake.After(b.now) {
			t.Fatalf("the run is stuck at %v, wake %v\n%s", b.now.Sub(epoch), wake, b.story())
		}
		b.now = wake
	}
	t.Fatalf("the run does not end\n%s", b.story())
	return timeline.View{}
}

func (b *bench) settle(t *testing.T) (wake time.Time, done, begun bool) {
	done = true
	take := func(p pod.Plan) {
		for _, a := range p.Actions {
			b.begin(t, a)
			begun = true
		}
		done = done && p.Done
		if wake.IsZero() || !p.Wake.IsZero() && p.Wake.Before(wake) {
			wake = p.Wake
		}
	}
	for _, p := range b.pods {
		plan := pod.Next(p, b.status[p.Name], b.now)
		plan.Done = true // the script's own end counts
		take(plan)
	}
	v := b.log.View()
	plan := b.script.Next(v, b.status, b.now)
	if again := NewScript(b.scenario).Next(v, b.status, b.now); !reflect.DeepEqual(again, plan) {
		t.Errorf("equal arguments, other plans: %+v and %+v", plan, again)
	}
	take(plan)
	return wake, done && !begun, begun
}

func (b *bench) begin(t *testing.T, a pod.Action) {
	b.ids++
	a.ID = b.ids
	b.fold(t, pod.Event{Kind: pod.Began, Time: b.now, Action: a})
	if a.Op == pod.OpUpdate {
		b.pods = []*corev1.Pod{a.Spec}
	}
	if a.Op.ByDriver() {
		b.fold(t, pod.Event{Kind: pod.Ended, Time: b.now, Action: a.Ref()})
		return
	}
	if b.answer != nil {
		if e, after, ok := b.answer(b, a); ok {
			b.end(a, e, after)
			return
		}
	}
	b.obey(a)
}

// obey answers as a healthy pod would.
func (b *bench) obey(a pod.Action) {
	ms := time.Millisecond
	switch a.Op {
	case pod.OpSetUp:
		b.end(a, pod.Event{Network: &pod.Network{PodIPs: []string{"10.7.0.2"}}}, 5*ms)
	case pod.OpPull:
		b.end(a, pod.Event{Image: &pod.Image{ID: "sha256:1", Present: true}}, ms)
	case pod.OpCreate, pod.OpStart:
		b.end(a, pod.Event{Instance: &pod.Instance{ContainerID: "c", PID: 100 + a.ID}}, 10*ms)
	case pod.OpAwait:
		if b.leaving[a.ID] {
			return
		}
		b.exits[a.Container] = a
		switch a.Container {
		case "init":
			b.exit(a.Container, 0, 300*ms)
		case "job":
			b.exit(a.Container, 0, 3*time.Second)
		case "broken":
			b.exit(a.Container, 3, 2*time.Second)
		}
	case pod.OpProbe:
		b.end(a, pod.Event{Probe: &pod.ProbeResult{Result: pod.Success}}, 2*ms)
	case pod.OpSignal:
		b.end(a, pod.Event{}, ms)
		switch a.Signal {
		case "KILL":
			b.exit(a.Container, 137, 2*ms)
		case "TERM":
			b.exit(a.Container, 0, 50*ms)
		}
	case pod.OpExec, pod.OpRun:
		b.end(a, pod.Event{Output: &pod.Output{}}, 3*ms)
	case pod.OpRequest:
		b.end(a, pod.Event{Response: &pod.Response{Status: 200, Body: "ok", Local: "10.7.0.2:4001", Remote: "198.18.0.10:80"}}, 3*ms)
	case pod.OpFlows:
		b.end(a, pod.Event{Ledger: &pod.Ledger{Complete: true}}, 3*ms)
	case pod.OpRead:
		b.end(a, pod.Event{Content: &pod.Content{Data: "line of " + a.Container + "\n"}}, ms)
	default:
		b.end(a, pod.Event{}, ms)
	}
}

func (b *bench) end(a pod.Action, e pod.Event, after time.Duration) {
	e.Kind, e.Action, e.Time = pod.Ended, a.Ref(), b.now.Add(after)
	b.ids++
	heap.Push(&b.due, delivery{e.Time, b.ids, e})
}

// exit ends the container's running instance.
func (b *bench) exit(container string, code int, after time.Duration) {
	a, ok := b.exits[container]
	if !ok {
		return
	}
	delete(b.exits, container)
	b.leaving[a.ID] = true
	b.end(a, pod.Event{Exit: &pod.Exit{Code: code, LastLog: []string{container + " says goodbye"}}}, after)
}

func (b *bench) fold(t *testing.T, e pod.Event) {
	t.Helper()
	b.log.Append(e)
	if e.Action.Pod == "" || e.Kind == pod.Noted {
		return
	}
	next, err := b.status[e.Action.Pod].Apply(e)
	if err != nil {
		t.Fatalf("fold %s: %v\n%s", e.Action, err, b.story())
	}
	b.status[e.Action.Pod] = next
}

// story is the timeline in short lines.
func (b *bench) story() string { return story(b.log.View()) }

func story(v timeline.View) string {
	var out strings.Builder
	for r := range v.All() {
		fmt.Fprintf(&out, "%4d %8v %s %s %s\n", r.Seq, r.Time.Sub(epoch), r.Kind, r.Action, r.Action.Why)
	}
	return out.String()
}

// mustParse loads one scenario beside the test's pod.
func mustParse(t *testing.T, text string) *Scenario {
	t.Helper()
	list, found := Parse("testdata/load/test.yaml", []byte(text))
	if found.Err() != nil || len(list) != 1 {
		t.Fatalf("parse the scenario: %+v", found)
	}
	return list[0]
}
