package pod

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestTheWholeReport shows one PodStatus as users see it, with everything that the rules' cases leave out: messages,
// times of transitions, addresses and identities.
func TestTheWholeReport(t *testing.T) {
	p, sc := rehearsed()
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/on"}}
	p.Status.Conditions = []corev1.PodCondition{{Type: "example.com/on", Status: corev1.ConditionFalse}}
	var out []byte
	for _, at := range []time.Duration{time.Second, 4 * time.Second, 5 * time.Second} {
		_, s, err := Rehearse(p, sc, t0, at)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(s.PodStatus(p, t0.Add(at)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, "--- # after "+at.String()+"\n"+string(text)...)
	}
	golden(t, "testdata/podstatus.golden", string(out))
}

func TestAPodThatNobodyAskedForIsPending(t *testing.T) {
	s := Status{}
	if st := s.PodStatus(onePod(), t0); st.Phase != corev1.PodPending || st.StartTime != nil || len(st.ContainerStatuses) > 0 {
		t.Errorf("got %+v, want Pending and nothing else", st)
	}
	if s.Initialized(onePod()) || s.Ready(onePod()) || s.Gone() || s.Ending() {
		t.Error("the zero Status is initialized, ready, gone or ending")
	}
	if plan := Next(onePod(), s, t0); plan.Done || len(plan.Actions) > 0 {
		t.Errorf("got plan %+v, want one that asks for nothing and is not done", plan)
	}
}

func TestASignalThatEndedAProcessShowsInTheCodeAlone(t *testing.T) {
	p := onePod()
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	_, s, err := Rehearse(p, Script{Containers: map[string]Behaviour{"app": {Lives: []Life{{IgnoresTerm: true}}}}}, t0, time.Hour,
		Ask{Action: Action{Op: OpDelete}, Ready: true})
	if err != nil || !s.Gone() {
		t.Fatalf("rehearse: %v, gone %v", err, s.Gone())
	}
	if c, _ := s.Container("app"); c.Exit == nil || c.Exit.Signal != killSignal {
		t.Fatalf("the status of app is %+v, want an exit by signal %d", c, killSignal)
	}
	got := s.PodStatus(p, t0.Add(time.Hour)).ContainerStatuses[0].State.Terminated
	if got == nil || got.ExitCode != killedCode || got.Signal != 0 {
		t.Errorf("the report of app says %+v, want exit code %d and no signal, as containerd tells a kubelet none", got, killedCode)
	}
}
