package podsim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/pod/podtest"
	"github.com/podsim/podsim/podsim/timeline"
)

// probed is a pod of n containers with two probes a second each.
func probed(n int) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}}
	every := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 3, SuccessThreshold: 1}
	for i := range n {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "i:1", LivenessProbe: every, ReadinessProbe: every})
	}
	return p
}

// attempts counts, by container, the attempts of probes that have ended.
type attempts map[string]int

func (a attempts) Record(r timeline.Record) {
	if r.Action.Op == pod.OpProbe && r.Kind == pod.Ended {
		a[r.Action.Container]++
	}
}

func TestAProbeThatHangsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const containers, life = 50, time.Minute
		p := probed(containers)
		over := errors.New("the minute is over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), life, over)
		defer cancel()
		made := attempts{}
		host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": {}}, Faults: []podtest.Fault{{Op: pod.OpProbe, Container: "c7"}}}
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Sinks: []timeline.Sink{made}, Forget: true}
		if _, err := run.Drive(ctx); !errors.Is(err, over) {
			t.Fatal(err)
		}
		for _, c := range p.Spec.Containers {
			switch n := made[c.Name]; {
			case c.Name == "c7" && n != 0:
				t.Errorf("the probes of %s hang, and %d attempts ended", c.Name, n)
			case c.Name != "c7" && n < 2*55:
				t.Errorf("%s was probed %d times in a minute, want two times a second", c.Name, n)
			}
		}
	})
}
