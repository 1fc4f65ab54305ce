package pod

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkLife measures the planner's whole share of a pod's life, start and stop: every Next and every Apply, for a
// pod of one main and n sidecars. ns/event is the share of one event.
func BenchmarkLife(b *testing.B) {
	for _, sidecars := range []int{2, 8} {
		b.Run(fmt.Sprintf("1+%d", sidecars), func(b *testing.B) {
			p := sidecarPod(sidecars)
			events := 0
			for b.Loop() {
				ev, s, err := Rehearse(p, Script{}, t0, time.Hour, Ask{Action: Action{Op: OpDelete}, Ready: true})
				if err != nil || !s.Gone() {
					b.Fatalf("rehearse: %v, gone %v", err, s.Gone())
				}
				events = len(ev)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
		})
	}
}

// BenchmarkStep measures one Next and one Apply of a pod that runs.
func BenchmarkStep(b *testing.B) {
	for _, sidecars := range []int{2, 8} {
		p := sidecarPod(sidecars)
		_, s, err := Rehearse(p, Script{}, t0, time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		probe := Action{Op: OpProbe, Pod: p.Name, Container: "app", Probe: ProbeReadiness, Successes: 1, Failures: 3}
		began := Event{Kind: Began, Time: t0.Add(time.Minute), Action: probe}
		b.Run(fmt.Sprintf("next/1+%d", sidecars), func(b *testing.B) {
			for b.Loop() {
				Next(p, s, t0.Add(time.Minute))
			}
		})
		b.Run(fmt.Sprintf("apply/1+%d", sidecars), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Apply(began); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func sidecarPod(sidecars int) *corev1.Pod {
	p := onePod()
	p.Spec.Containers = []corev1.Container{{Name: "app", Image: "i:1", ReadinessProbe: &corev1.Probe{PeriodSeconds: 3600}}}
	always := corev1.ContainerRestartPolicyAlways
	for i := range sidecars {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: fmt.Sprintf("s%d", i), Image: "i:1",
			RestartPolicy: &always, StartupProbe: &corev1.Probe{PeriodSeconds: 1}})
	}
	return p
}
