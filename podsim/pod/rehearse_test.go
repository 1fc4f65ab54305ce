package pod

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rehearsed is a pod with one of everything, and a script with something to see in it.
func rehearsed() (*corev1.Pod, Script) {
	always := corev1.ContainerRestartPolicyAlways
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "uid-1"}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Name: "rules", Image: "r:1"},
			{Name: "proxy", Image: "p:1", RestartPolicy: &always, StartupProbe: &corev1.Probe{PeriodSeconds: 1},
				Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}}}},
		},
		Containers: []corev1.Container{
			{Name: "app", Image: "a:1", ReadinessProbe: &corev1.Probe{PeriodSeconds: 5}},
			{Name: "logs", Image: "l:1"},
		},
	}}
	return p, Script{TearDown: 30 * time.Millisecond, Containers: map[string]Behaviour{
		"proxy": {Pull: 700 * time.Millisecond, Lives: []Life{{StartupAfter: 1500 * time.Millisecond}}},
		"app":   {Lives: []Life{{Ends: true, After: 300 * time.Millisecond, Code: 1}, {StopTime: 4 * time.Second}}},
		"logs":  {Lives: []Life{{IgnoresTerm: true}}},
	}}
}

func TestARehearsalTellsThePodsLife(t *testing.T) {
	p, sc := rehearsed()
	events, s, err := Rehearse(p, sc, t0, time.Hour, Ask{Action: Action{Op: OpDelete}, Ready: true, After: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range events {
		fmt.Fprintf(&out, "%-8s %s %s\n", e.Time.Sub(t0), e.Kind, e.Action)
	}
	fmt.Fprintf(&out, "gone %v, %s\n", s.Gone(), s.Phase(p))
	golden(t, "testdata/rehearsal.golden", out.String())
}

func TestStoredEventsFoldToTheSameReport(t *testing.T) {
	p, sc := rehearsed()
	events, live, err := Rehearse(p, sc, t0, time.Hour, Ask{Action: Action{Op: OpDelete}, Ready: true, After: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s, now := Status{}, t0
	for _, e := range events {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("marshal %s: %v", e.Action, err)
		}
		var back Event
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("unmarshal %s: %v", text, err)
		}
		s, now = apply(t, s, back), e.Time
	}
	got, err := json.Marshal(s.PodStatus(p, now))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(live.PodStatus(p, now))
	if string(got) != string(want) {
		t.Errorf("folded from its JSON form the timeline reports another pod\ngot  %s\nwant %s", got, want)
	}
}

func TestARehearsalEndsAtItsHorizon(t *testing.T) {
	p := onePod()
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 1}
	events, s, err := Rehearse(p, Script{}, t0, time.Minute)
	if err != nil || s.Gone() {
		t.Fatalf("got error %v, gone %v, want a pod that runs on", err, s.Gone())
	}
	if last := events[len(events)-1].Time; last.After(t0.Add(time.Minute)) || last.Before(t0.Add(59*time.Second)) {
		t.Errorf("the last event is at %s, want it in the last second before the horizon", last.Sub(t0))
	}
}

func TestARehearsalAsksAtTheLatest(t *testing.T) {
	p := onePod()
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{}
	sc := Script{Containers: map[string]Behaviour{"app": {Lives: []Life{{ReadyAfter: time.Hour}}}}}
	events, s, err := Rehearse(p, sc, t0, 2*time.Hour, Ask{Action: Action{Op: OpDelete}, Ready: true, Latest: time.Minute})
	if err != nil || !s.Gone() {
		t.Fatalf("got error %v, gone %v, want a pod that was stopped", err, s.Gone())
	}
	if last := events[len(events)-1].Time.Sub(t0); last != time.Minute {
		t.Errorf("it was gone after %s, want a minute", last)
	}
}

func TestTwoRehearsalsAreOne(t *testing.T) {
	p, sc := rehearsed()
	ask := Ask{Action: Action{Op: OpDelete}, Ready: true}
	one, s1, err1 := Rehearse(p, sc, t0, time.Hour, ask)
	two, s2, err2 := Rehearse(p, sc, t0, time.Hour, ask)
	if err1 != nil || err2 != nil || !reflect.DeepEqual(one, two) || !reflect.DeepEqual(s1, s2) {
		t.Errorf("two rehearsals of one script differ (%v, %v)", err1, err2)
	}
}

func TestAProcessThatKillDoesNotEndIsSaidToBeStuck(t *testing.T) {
	p := onePod()
	sc := Script{Containers: map[string]Behaviour{"app": {Lives: []Life{{IgnoresKill: true}}}}}
	_, s, err := Rehearse(p, sc, t0, time.Hour, Ask{Action: Action{Op: OpDelete}, Ready: true})
	if err != nil || s.Gone() {
		t.Fatalf("got error %v, gone %v, want a pod that hangs", err, s.Gone())
	}
	plan := Next(p, s, t0.Add(time.Hour))
	if len(plan.Waiting) != 1 || plan.Waiting[0].Container != "app" || !strings.Contains(plan.Waiting[0].For, "10s after KILL") {
		t.Errorf("got waiting %+v, want app, whose process has not ended 10s after KILL", plan.Waiting)
	}
}
