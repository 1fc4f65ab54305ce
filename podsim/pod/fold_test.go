package pod

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func onePod() *corev1.Pod {
	p := new(corev1.Pod)
	p.Name, p.Namespace, p.UID = "web", "default", "uid-1"
	p.Spec.Containers = []corev1.Container{{Name: "app", Image: "i:1"}, {Name: "more", Image: "i:1"}}
	return p
}

// running is the status of a pod whose containers have been started, after a rehearsal of its first second.
func running(t *testing.T, p *corev1.Pod) Status {
	t.Helper()
	_, s, err := Rehearse(p, Script{}, t0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEventsThatCannotFollow(t *testing.T) {
	zero, up := Status{}, running(t, onePod())
	_, gone, err := Rehearse(onePod(), Script{}, t0, time.Minute, Ask{Action: Action{Op: OpDelete}, Ready: true})
	if err != nil || !gone.Gone() {
		t.Fatalf("rehearse a stop: %v, gone %v", err, gone.Gone())
	}
	began := func(a Action) Event { a.Pod = "web"; return Event{Kind: Began, Time: t0, Action: a} }
	ended := func(a Action) Event { a.Pod = "web"; return Event{Kind: Ended, Time: t0, Action: a} }
	for name, tc := range map[string]struct {
		s    Status
		e    Event
		want string
	}{
		"before anybody has asked for the pod":            {zero, began(Action{Op: OpSetUp}), "nobody has asked"},
		"a second OpUp":                                   {up, began(Action{Op: OpUp}), "asked for already"},
		"another pod's":                                   {up, Event{Kind: Began, Action: Action{Op: OpDelete, Pod: "db"}}, `status of pod "web"`},
		"no operation":                                    {up, began(Action{}), "no such operation"},
		"an operation that does not exist":                {up, began(Action{Op: 200}), "no such operation"},
		"a probe that does not exist":                     {up, began(Action{Op: OpProbe, Container: "app", Probe: 9}), "no such probe"},
		"no time":                                         {up, Event{Kind: Began, Action: Action{Op: OpDelete, Pod: "web"}}, "no time"},
		"no kind":                                         {up, Event{Action: Action{Op: OpDelete, Pod: "web"}}, "no such kind"},
		"a second set-up":                                 {up, began(Action{Op: OpSetUp}), "set up already"},
		"an end without a beginning":                      {up, ended(Action{Op: OpPull, Container: "app"}), "not in flight"},
		"what is in flight":                               {up, began(Action{Op: OpAwait, Container: "app"}), "in flight already"},
		"no container":                                    {up, began(Action{Op: OpPull, Sync: 2}), "names no container"},
		"the start of a container that runs":              {up, began(Action{Op: OpStart, Container: "app", Sync: 2}), "not created"},
		"the pull of a container that runs":               {up, began(Action{Op: OpPull, Container: "app", Instance: 1, Sync: 2}), "is running"},
		"the removal of a container that runs":            {up, began(Action{Op: OpRemove, Container: "app", Sync: 2}), "not exited"},
		"a step of a start outside of a sync":             {up, began(Action{Op: OpPull, Container: "new"}), "no sync"},
		"a step of a sync that is over":                   {up, began(Action{Op: OpPull, Container: "new", Sync: 1}), "is over"},
		"an instance out of turn":                         {up, began(Action{Op: OpPull, Container: "new", Instance: 3, Sync: 2}), "number 0"},
		"a probe of another instance":                     {up, began(Action{Op: OpProbe, Container: "app", Instance: 4, Probe: ProbeLiveness}), "number 0"},
		"a hook that does not say which":                  {up, began(Action{Op: OpHook, Container: "app"}), "does not say which"},
		"the tear-down while containers run":              {up, began(Action{Op: OpTearDown}), "is running (TM-24)"},
		"a signal to what does not run":                   {up, began(Action{Op: OpSignal, Container: "new", Signal: "TERM"}), "not running"},
		"a preparation of what was prepared":              {up, began(Action{Op: OpPrepare, Container: "app"}), "prepared or created"},
		"anything of a pod that is gone":                  {gone, began(Action{Op: OpSetUp}), "is gone"},
		"a second life of a pod deleted before its first": {apply(t, zero, began(Action{Op: OpDelete}), ended(Action{Op: OpDelete})), began(Action{Op: OpUp}), "deleted before"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.s.Apply(tc.e)
			var te *TransitionError
			if !errors.As(err, &te) || !strings.Contains(te.Why, tc.want) {
				t.Errorf("Apply: got error %v, want a *TransitionError that says %q", err, tc.want)
			}
			if !reflect.DeepEqual(got, tc.s) {
				t.Error("Apply returned an error and a changed status")
			}
		})
	}
}

// apply folds events that must follow.
func apply(t *testing.T, s Status, events ...Event) Status {
	t.Helper()
	for _, e := range events {
		next, err := s.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	return s
}

func TestWhatADirectorAsksChangesNothing(t *testing.T) {
	s := running(t, onePod())
	for _, a := range []Action{{Op: OpRequest}, {Op: OpExec}, {Op: OpRun}, {Op: OpRead}, {Op: OpFlows}, {Op: OpRefresh}, {Op: OpMark},
		{Op: OpSignal, Container: "app", Signal: "KILL", Step: 3}} {
		for _, k := range []Kind{Began, Ended} {
			if got := apply(t, s, Event{Kind: k, Time: t0, Action: a}); !reflect.DeepEqual(got, s) {
				t.Errorf("%s %s changed the status", a, k)
			}
		}
	}
	if got := apply(t, s, Event{Kind: Noted, Note: NoteRules}); !reflect.DeepEqual(got, s) {
		t.Error("a noted event changed the status")
	}
}

func TestAnEndThatNobodySawIsUnknown(t *testing.T) {
	p := onePod()
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	s := running(t, p)
	for _, a := range s.InFlight() {
		if a.Op == OpAwait && a.Container == "app" {
			s = apply(t, s, Event{Kind: Ended, Time: t0.Add(time.Second), Action: a.Ref(), Failure: &Failure{Message: "the shim is gone"}})
		}
	}
	c, _ := s.Container("app")
	if c.Exit == nil || c.Exit.Reason != "ContainerStatusUnknown" || c.Exit.Code != 137 || c.Exit.Message != "the shim is gone" {
		t.Errorf("got %+v, want ContainerStatusUnknown with code 137", c.Exit)
	}
}

func TestPullPolicyDefaults(t *testing.T) {
	for _, tc := range []struct {
		image  string
		policy corev1.PullPolicy
		want   corev1.PullPolicy
	}{
		{"app", "", corev1.PullAlways},
		{"app:latest", "", corev1.PullAlways},
		{"app:1", "", corev1.PullIfNotPresent},
		{"registry.example.com:5000/app", "", corev1.PullAlways},
		{"registry.example.com:5000/team/app:1", "", corev1.PullIfNotPresent},
		{"app@sha256:0123", "", corev1.PullIfNotPresent},
		{"app:1@sha256:0123", "", corev1.PullIfNotPresent},
		{"app:latest@sha256:0123", "", corev1.PullAlways},
		{"app", corev1.PullNever, corev1.PullNever},
		{"app:1", corev1.PullAlways, corev1.PullAlways},
	} {
		if got := PullPolicy(tc.image, tc.policy); got != tc.want {
			t.Errorf("PullPolicy(%q, %q): got %s, want %s (IM-01)", tc.image, tc.policy, got, tc.want)
		}
	}
}

// awaited is the end of a container, as it is awaited.
func awaited(s Status, name string) Action {
	return s.flying(func(a *Action) bool { return a.Op == OpAwait && a.Container == name }).Ref()
}

func TestAnEndThatIsToldLateTakesNoTimeBack(t *testing.T) { // PH-12, PH-13
	p := onePod()
	p.Spec.Containers = p.Spec.Containers[:1]
	p.Spec.ReadinessGates = nil
	s := running(t, p)
	c, _ := s.Container("app")
	early := Event{Kind: Ended, Time: c.StartedAt.Add(-time.Millisecond), Action: awaited(s, "app"), Exit: &Exit{Code: 1}}
	st := apply(t, s, early).PodStatus(p, t0)
	end := st.ContainerStatuses[0].LastTerminationState.Terminated
	if end == nil {
		end = st.ContainerStatuses[0].State.Terminated
	}
	if end.FinishedAt.Before(&end.StartedAt) {
		t.Errorf("it ran from %s to %s", end.StartedAt, end.FinishedAt)
	}
	was := s.PodStatus(p, t0).Conditions
	for i, now := range st.Conditions {
		if now.LastTransitionTime.Before(&was[i].LastTransitionTime) {
			t.Errorf("the time of condition %s went back from %s to %s", now.Type, was[i].LastTransitionTime, now.LastTransitionTime)
		}
	}
}

func TestAReadinessGateKeepsThePodFromEverBeingReady(t *testing.T) { // PH-10
	p := onePod()
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/on"}}
	s := running(t, p)
	after := apply(t, s, Event{Kind: Ended, Time: t0.Add(time.Minute), Action: awaited(s, "app"), Exit: &Exit{Code: 1}})
	for _, c := range after.PodStatus(p, t0.Add(time.Minute)).Conditions {
		if c.Type == corev1.PodReady && (c.Status != corev1.ConditionFalse || !c.LastTransitionTime.Time.Equal(t0)) {
			t.Errorf("condition Ready is %s since %s, want False since %s", c.Status, c.LastTransitionTime, t0)
		}
	}
}
