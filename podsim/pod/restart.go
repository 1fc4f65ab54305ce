package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// restarts reports whether a container that ended with code is started again (RP-02). Rules come first, in order
// (RP-05), then the container's own policy (RP-04), then the pod's; an empty one is Always (RP-01). A rule with the
// action RestartAllContainers is not acted upon: podsim/manifest refuses it.
func restarts(p *corev1.Pod, c *corev1.Container, code int) bool {
	if c.RestartPolicy != nil {
		if rule := matchingRule(c, int32(code)); rule != nil && rule.Action == corev1.ContainerRestartRuleActionRestart {
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

// restartsWhenKilled reports whether a container that is killed for a probe is started again: only policies count
// here, no rule (RP-07, RP-09).
func restartsWhenKilled(p *corev1.Pod, c *corev1.Container) bool {
	if c.RestartPolicy != nil {
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
