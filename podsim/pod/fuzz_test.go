package pod

import (
	"errors"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// FuzzApply feeds events made of raw bytes, sense or nonsense, to a status. Nothing may panic, an error must leave the
// status as it was, and whatever status is reached must have a plan and a report.
func FuzzApply(f *testing.F) {
	for _, sc := range []Script{{}, {Containers: map[string]Behaviour{"app": {Lives: []Life{{Ends: true, Code: 1}}}}},
		{SetUpFailures: []Failure{{Reason: "FailedMount"}}}} {
		events, _, err := Rehearse(fuzzPod(), sc, t0, time.Minute, Ask{Action: Action{Op: OpDelete}, After: 30 * time.Second})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encode(events))
	}
	f.Add([]byte{1, byte(OpUp), 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, s, now := fuzzPod(), Status{}, t0
		for len(data) >= eventBytes {
			e := decode(data[:eventBytes])
			data = data[eventBytes:]
			now = now.Add(e.Time.Sub(t0))
			e.Time = now
			before := s
			next, err := s.Apply(e)
			var te *TransitionError
			if err != nil && (!errors.As(err, &te) || te.Error() == "" || !reflect.DeepEqual(next, before)) {
				t.Fatalf("Apply %s %s: got error %#v, want a *TransitionError and the status as it was", e.Action, e.Kind, err)
			}
			s = next
			plan := Next(p, s, now)
			if !plan.Wake.IsZero() && !plan.Wake.After(now) {
				t.Fatalf("after %s %s the planner wants to be woken at %s, which is not after %s", e.Action, e.Kind, plan.Wake, now)
			}
			if st := s.PodStatus(p, now); st.Phase == "" {
				t.Fatalf("after %s %s the pod has no phase", e.Action, e.Kind)
			}
		}
	})
}

func fuzzPod() *corev1.Pod {
	p := onePod()
	always := corev1.ContainerRestartPolicyAlways
	probe := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1}
	p.Spec.InitContainers = []corev1.Container{{Name: "proxy", RestartPolicy: &always, StartupProbe: probe}, {Name: "init"}}
	p.Spec.Containers[0].LivenessProbe = probe
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}},
		PreStop:   &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
	return p
}

var fuzzNames = []string{"", "proxy", "init", "app", "more", "stranger"}

// eventBytes is how many bytes make an event: kind, op, container, instance, which probe or hook or signal, outcome,
// sync, seconds.
const eventBytes = 8

func decode(b []byte) Event {
	a := Action{Op: Op(b[1]), Pod: "web", Container: fuzzNames[int(b[2])%len(fuzzNames)], Instance: int(b[3] % 4), Sync: int(b[6] % 8)}
	switch which := b[4]; a.Op {
	case OpProbe:
		a.Probe, a.Successes, a.Failures = ProbeKind(which%5), 1, 1
	case OpHook:
		a.Hook, a.Stop, a.Timeout = HookKind(which%4), StopReason(which/4%12), time.Second
	case OpSignal:
		a.Signal, a.Stop = []string{"", "TERM", "KILL"}[which%3], StopReason(which/3%12)
	case OpStart:
		a.Hook, a.Role, a.Probes = HookKind(which%2), Role(which/2%5), ProbeKinds()[:which%4]
	case OpPull:
		a.Then, a.Role, a.Image = fuzzNames[which%6:], Role(which/6%6), []string{"", "i:1", "i:2"}[which%3]
	case OpRemove:
		a.Stop, a.Waited = StopReason(which%12), which%2 == 0
	case OpSetUp:
		a.Members = &Members{Inits: 1, Sidecars: 1, Mains: int(which % 3)}
	case OpUpdate:
		if which > 0 {
			a.Spec = fuzzPod()
			a.Spec.Spec.Containers[0].Image = "i:2"
		}
	case OpDelete:
		g := int64(int8(which))
		a.Grace = &g
	}
	e := Event{Kind: Kind(b[0]), Time: t0.Add(time.Duration(b[7]) * time.Second), Action: a}
	switch b[5] % 4 {
	case 1:
		e.Failure = &Failure{Reason: "ErrImagePull"}
	case 2:
		e.Exit, e.Probe = &Exit{Code: int(b[4])}, &ProbeResult{Result: Result(b[4] % 5)}
	case 3:
		e.Network, e.Image, e.Instance, e.Exit = &Network{}, &Image{StopSignal: "SIGUSR1"}, &Instance{}, &Exit{OOMKilled: true}
	}
	return e
}

// encode is the inverse of decode, as far as bytes can say; it makes the seeds.
func encode(events []Event) (data []byte) {
	last := t0
	for _, e := range events {
		b := [eventBytes]byte{byte(e.Kind), byte(e.Action.Op), 0, byte(e.Action.Instance), 0, 0, byte(e.Action.Sync), byte(e.Time.Sub(last) / time.Second)}
		last = e.Time
		for i, name := range fuzzNames {
			if name == e.Action.Container {
				b[2] = byte(i)
			}
		}
		switch a := e.Action; a.Op {
		case OpProbe:
			b[4] = byte(a.Probe)
		case OpHook:
			b[4] = byte(a.Hook) + 4*byte(a.Stop)
		case OpSignal:
			b[4] = map[string]byte{"TERM": 1, "KILL": 2}[a.Signal] + 3*byte(a.Stop)
		case OpStart:
			b[4] = byte(a.Hook) + 2*byte(a.Role)
		}
		if e.Failure != nil {
			b[5] = 1
		}
		data = append(data, b[:]...)
	}
	return data
}
