package pod

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestAChangedPodIsRehearsedFromThenOn(t *testing.T) {
	p := onePod()
	q := p.DeepCopy()
	q.Spec.Containers[0].Image = "i:2"
	events, s, err := Rehearse(p, Script{}, t0, time.Minute, Ask{Action: Action{Op: OpUpdate, Spec: q}, After: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"app": 1, "more": 0} {
		if c, _ := s.Container(name); c.RestartCount() != want || !c.Running() {
			t.Errorf("%s: got %d restarts, running %v, want %d, true", name, c.RestartCount(), c.Running(), want)
		}
	}
	if c, _ := s.Container("app"); c.ImageName != "i:2" {
		t.Errorf("app runs %s, want i:2", c.ImageName)
	}
	// The events alone tell it all, also after they were stored.
	var again Status
	for _, e := range events {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var stored Event
		if err := json.Unmarshal(text, &stored); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if again, err = again.Apply(stored); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := again.PodStatus(q, t0.Add(time.Minute)), s.PodStatus(q, t0.Add(time.Minute)); !reflect.DeepEqual(got, want) {
		t.Errorf("folded from what was stored, the report is\n%+v\nwant\n%+v", got, want)
	}
}

func TestAKubeletIsKeptInTheStatusAndSurvivesItsStorage(t *testing.T) {
	want := Kubelet{Version: 37, Gates: map[Gate]bool{GateContainerStopSignals: true, GateEnvFiles: false}, Pace: 10,
		MaxBackOff: time.Minute, Ticks: TicksSync, Poll: time.Second}
	text, err := json.Marshal(Action{Op: OpUp, Pod: "web", Kubelet: &want})
	if err != nil {
		t.Fatal(err)
	}
	var a Action
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var s Status
	for _, k := range []Kind{Began, Ended} {
		if s, err = s.Apply(Event{Kind: k, Time: t0, Action: a}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Kubelet(); !reflect.DeepEqual(got, want) {
		t.Errorf("the status has %+v, want %+v; stored: %s", got, want, text)
	}
	if got := (Status{}).Kubelet(); !reflect.DeepEqual(got, Kubelet{}) {
		t.Errorf("before the pod was asked for the kubelet is %+v, want the zero one", got)
	}
}
