package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Status is all that has been observed of one pod. Its zero value is a pod that nobody has asked for yet.
type Status struct{}

// Apply folds one event into the status; an event that cannot follow is a *TransitionError.
func (s Status) Apply(e Event) (Status, error) { panic("being written") }

// PodStatus is what Kubernetes would report of the pod.
func (s Status) PodStatus(p *corev1.Pod, now time.Time) corev1.PodStatus { panic("being written") }

// Next says what to do now. Equal arguments give equal plans.
func Next(p *corev1.Pod, s Status, now time.Time) Plan { panic("being written") }
