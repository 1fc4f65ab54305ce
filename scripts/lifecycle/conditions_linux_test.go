package lifecycle

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What cases wait for.

func isRunning(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }

func isPending(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodPending }

func isOver(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func isReady(p *corev1.Pod) bool { return condition(p, corev1.PodReady).Status == corev1.ConditionTrue }

func condition(p *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// runs says that a container's newest instance runs.
func runs(name string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return status(p, name).State.Running != nil }
}

// runsStarted says that it also has started, as far as podsim says so of an init container.
func runsStarted(name string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		s := status(p, name)
		return s.State.Running != nil && s.Started != nil && *s.Started
	}
}

// restarted says that a container was restarted at least so many times.
func restarted(name string, n int32) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return status(p, name).RestartCount >= n }
}

// waits says that a container waits for a reason.
func waits(name, reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		s := status(p, name)
		return s.State.Waiting != nil && s.State.Waiting.Reason == reason
	}
}

func all(conditions ...func(*corev1.Pod) bool) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, so := range conditions {
			if !so(p) {
				return false
			}
		}
		return true
	}
}

// hasImage says that a container's status names an image.
func hasImage(name, ref string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return status(p, name).Image == ref }
}

// An end is how a container is to have ended.
type end struct {
	name   string
	code   int32
	reason string
}

func completed(name string) end         { return end{name, 0, "Completed"} }
func erred(name string, code int32) end { return end{name, code, "Error"} }

// ended holds the containers of a pod to how they are to have ended. None else may have.
func ended(t *testing.T, p *corev1.Pod, ends ...end) {
	t.Helper()
	var errs []error
	for _, e := range ends {
		s := status(p, e.name).State.Terminated
		if s == nil || s.ExitCode != e.code || s.Reason != e.reason {
			errs = append(errs, fmt.Errorf("%s ended with %s, want %s:%d", e.name, stateWord(status(p, e.name).State), e.reason, e.code))
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// hasPhase holds a pod to its phase.
func hasPhase(t *testing.T, p *corev1.Pod, want corev1.PodPhase) {
	t.Helper()
	if p.Status.Phase != want {
		t.Errorf("the phase is %s, want %s: %s", p.Status.Phase, want, statusLine(p))
	}
}
