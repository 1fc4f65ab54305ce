package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// restarts reports whether a container that ended with code is started again (RP-02). Rules come first, in order
// (RP-05), then the container's own policy (RP-04), then the pod's; an empty one is Always (RP-01).
func (s *Status) restarts(p *corev1.Pod, c *corev1.Container, code int) bool {
	if c.RestartPolicy != nil && s.on(GateContainerRestartRules) {
		if rule := matchingRule(c, int32(code)); rule != nil && s.acts(rule) {
			return true
		}
		switch *c.RestartPolicy {
		case corev1.ContainerRestartPolicyAlways:
			return true
		case corev1.ContainerRestartPolicyOnFailure:
			return code != 0
		case corev1.ContainerRestartPolicyNever:
			return false
		}
	}
	switch p.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	default:
		return true
	}
}

// acts reports whether a rule that matches has its container restarted, alone or with all others (RA-01).
func (s *Status) acts(r *corev1.ContainerRestartRule) bool {
	switch r.Action {
	case corev1.ContainerRestartRuleActionRestart:
		return true
	case corev1.ContainerRestartRuleActionRestartAllContainers:
		return s.on(GateRestartAllContainers)
	}
	return false
}

// restartsWhenKilled reports whether a container that is killed for a probe is started again: only policies count
// here, no rule (RP-07, RP-09).
func (s *Status) restartsWhenKilled(p *corev1.Pod, c *corev1.Container) bool {
	if c.RestartPolicy != nil && s.on(GateContainerRestartRules) {
		return *c.RestartPolicy != corev1.ContainerRestartPolicyNever
	}
	return p.Spec.RestartPolicy != corev1.RestartPolicyNever
}

// matchingRule returns the first rule that an exit code matches, nil if there is none (RP-05).
func matchingRule(c *corev1.Container, code int32) *corev1.ContainerRestartRule {
	for i := range c.RestartPolicyRules {
		r := &c.RestartPolicyRules[i]
		if r.ExitCodes == nil {
			continue
		}
		listed := slices.Contains(r.ExitCodes.Values, code)
		if listed && r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn ||
			!listed && r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpNotIn {
			return r
		}
	}
	return nil
}
