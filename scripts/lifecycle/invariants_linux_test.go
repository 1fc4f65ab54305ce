package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// invariants holds all versions of a pod to what never may be: that a status goes back on itself, or contradicts itself.
func invariants(versions []version) error {
	var errs []error
	for i := range versions {
		v := versions[i]
		what := func(err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("version %s: %w", v.pod.ResourceVersion, err))
			}
		}
		what(initOrder(v.pod))
		what(initialized(v.pod))
		what(readiness(v.pod))
		if i > 0 {
			what(onward(versions[i-1], v))
		}
	}
	if n := len(versions); n > 0 {
		errs = append(errs, lastVersion(versions[n-1]))
	}
	return errors.Join(errs...)
}

// isSidecar and restartsAll say what of a pod the invariants of initialization have to know: one whose containers all may
// be restarted is initialized again, and Pending meanwhile.
func isSidecar(p *corev1.Pod, name string) bool {
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.Name == name {
			return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
	}
	return false
}

func restartsAll(p *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for _, r := range list[i].RestartPolicyRules {
				if r.Action == corev1.ContainerRestartRuleActionRestartAllContainers {
					return true
				}
			}
		}
	}
	return false
}

// begun says that an instance of a container has run.
func begun(s corev1.ContainerStatus) bool {
	return s.State.Waiting == nil || s.RestartCount > 0 || s.LastTerminationState.Terminated != nil
}

// initOrder says that nothing has begun before what has to be done first.
func initOrder(p *corev1.Pod) error {
	if restartsAll(p) {
		return nil
	}
	blocked := ""
	for _, s := range p.Status.InitContainerStatuses {
		if blocked != "" && begun(s) {
			return fmt.Errorf("%s has begun, and %s is not done: %s", s.Name, blocked, statusLine(p))
		}
		done := s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
		if isSidecar(p, s.Name) {
			done = begun(s)
		}
		if !done && blocked == "" {
			blocked = s.Name
		}
		if done && !isSidecar(p, s.Name) && !s.Ready {
			return fmt.Errorf("init container %s is done and not ready", s.Name)
		}
	}
	if blocked == "" {
		return nil
	}
	for _, s := range p.Status.ContainerStatuses {
		if begun(s) {
			return fmt.Errorf("%s has begun, and init container %s is not done: %s", s.Name, blocked, statusLine(p))
		}
		if s.State.Waiting.Reason != "PodInitializing" && p.DeletionTimestamp == nil {
			return fmt.Errorf("%s waits because of %s while %s is not done", s.Name, s.State.Waiting.Reason, blocked)
		}
	}
	return nil
}

// initialized says that the pod's Initialized condition is as its containers are.
func initialized(p *corev1.Pod) error {
	c := condition(p, corev1.PodInitialized)
	if len(p.Status.Conditions) == 0 && isPending(p) {
		return nil // nobody has looked at it yet
	}
	if c.Status != corev1.ConditionTrue && c.Status != corev1.ConditionFalse || c.LastTransitionTime.IsZero() {
		return fmt.Errorf("condition Initialized is %q since %v", c.Status, c.LastTransitionTime)
	}
	if restartsAll(p) {
		return nil
	}
	done := true
	for _, s := range p.Status.InitContainerStatuses {
		if isSidecar(p, s.Name) {
			if !begun(s) {
				done = false
			}
			continue
		}
		done = done && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
	}
	if c.Status == corev1.ConditionTrue && !done {
		return fmt.Errorf("condition Initialized is true, and not all is done: %s", statusLine(p))
	}
	return nil
}

// readiness says that what is ready runs, and that the pod is ready only with all its containers.
func readiness(p *corev1.Pod) error {
	all := true
	for _, s := range p.Status.ContainerStatuses {
		all = all && s.Ready
		if s.Ready && s.State.Running == nil {
			return fmt.Errorf("%s is ready and does not run", s.Name)
		}
	}
	if condition(p, corev1.ContainersReady).Status == corev1.ConditionTrue && !all {
		return fmt.Errorf("condition ContainersReady is true: %s", statusLine(p))
	}
	if isReady(p) && condition(p, corev1.ContainersReady).Status != corev1.ConditionTrue {
		return fmt.Errorf("condition Ready is true without ContainersReady: %s", statusLine(p))
	}
	return nil
}

// onward says that of two versions the second does not go back on the first.
func onward(a, b version) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	av, aerr := strconv.Atoi(a.pod.ResourceVersion)
	bv, berr := strconv.Atoi(b.pod.ResourceVersion)
	if aerr != nil || berr != nil || av >= bv {
		bad("it follows version %s", a.pod.ResourceVersion)
	}
	if a.pod.UID != b.pod.UID || !a.pod.CreationTimestamp.Equal(&b.pod.CreationTimestamp) {
		bad("it is another pod")
	}
	order := []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}
	if was, is := slices.Index(order, a.pod.Status.Phase), slices.Index(order, b.pod.Status.Phase); is < 0 || is < was && (was > 1 || !restartsAll(b.pod)) || was == 2 && is == 3 {
		bad("the phase was %s and is %s", a.pod.Status.Phase, b.pod.Status.Phase)
	}
	if d := a.pod.DeletionTimestamp; d != nil && (b.pod.DeletionTimestamp == nil || b.pod.DeletionTimestamp.After(d.Time)) {
		bad("its deletion was to be done at %v, and is at %v", d, b.pod.DeletionTimestamp)
	}
	if s := a.pod.Status.StartTime; s != nil && !s.Equal(b.pod.Status.StartTime) {
		bad("it had started at %v, and has at %v", s, b.pod.Status.StartTime)
	}
	for _, c := range a.pod.Status.Conditions {
		d := condition(b.pod, c.Type)
		if d.LastTransitionTime.Before(&c.LastTransitionTime) || c.Status == d.Status && !d.LastTransitionTime.Equal(&c.LastTransitionTime) {
			bad("condition %s was %s since %v and is %s since %v", c.Type, c.Status, c.LastTransitionTime, d.Status, d.LastTransitionTime)
		}
	}
	for _, s := range statusesOf(a.pod) {
		if err := statusOnward(b.pod, s, status(b.pod, s.Name)); err != nil {
			bad("%s: %w", s.Name, err)
		}
	}
	return errors.Join(errs...)
}

func statusOnward(p *corev1.Pod, a, b corev1.ContainerStatus) error {
	if b.Name == "" {
		return errors.New("its status has gone")
	}
	if b.RestartCount < a.RestartCount {
		return fmt.Errorf("it was restarted %d times, and now %d", a.RestartCount, b.RestartCount)
	}
	switch {
	case a.State.Terminated != nil && b.State.Terminated != nil && a.RestartCount == b.RestartCount && *a.State.Terminated != *b.State.Terminated:
		return fmt.Errorf("it had ended as %v, and has as %v", a.State.Terminated, b.State.Terminated)
	case a.State.Terminated != nil && b.State.Running != nil && a.RestartCount == b.RestartCount:
		return errors.New("it had ended, and runs, without a restart")
	case a.State.Running != nil && b.State.Waiting != nil && b.LastTerminationState.Terminated == nil:
		return errors.New("it ran, and waits, and has never ended")
	case a.State.Running != nil && b.State.Running != nil && a.RestartCount == b.RestartCount && (a.ContainerID != b.ContainerID || *a.State.Running != *b.State.Running):
		return errors.New("it runs, and is another, without a restart")
	}
	// One that nothing will start again is not shown as one that waits.
	if a.State.Terminated != nil && b.State.Waiting != nil && p.DeletionTimestamp != nil {
		return fmt.Errorf("it had ended, and waits because of %s, while its pod is being deleted", b.State.Waiting.Reason)
	}
	if a.State.Terminated != nil && b.State.Terminated == nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed) {
		return errors.New("it had ended with its pod, and has not")
	}
	return nil
}

// lastVersion says that the event of the deletion carries a pod whose containers all have ended.
func lastVersion(v version) error {
	if v.kind != "DELETED" {
		return fmt.Errorf("the last event is %s", v.kind)
	}
	var still []string
	for _, s := range statusesOf(v.pod) {
		if s.State.Running != nil || begun(s) && s.State.Terminated == nil {
			still = append(still, s.Name)
		}
	}
	if len(still) > 0 {
		return fmt.Errorf("the pod is gone, and %s had not ended: %s", strings.Join(still, ", "), statusLine(v.pod))
	}
	if !isOver(v.pod) {
		return fmt.Errorf("the pod is gone, and its phase was %s", v.pod.Status.Phase)
	}
	return nil
}
