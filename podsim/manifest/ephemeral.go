package manifest

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/podsim/podsim/podsim/pod"
)

// AddEphemeral adds an ephemeral container to a pod, which is defaulted and valid, and fills in what an API server does. What
// such a container cannot have is an error that names the field (EC-01, VL-01).
func AddEphemeral(p *corev1.Pod, c corev1.EphemeralContainer) error {
	base := corev1.Container(c.EphemeralContainerCommon)
	if err := checkEphemeral(p, &base, c.TargetContainerName); err != nil {
		return fmt.Errorf("add container %s to pod %s: %w", c.Name, p.Name, err)
	}
	defaultContainer(&base, p.Spec.HostNetwork)
	c.EphemeralContainerCommon = corev1.EphemeralContainerCommon(base)
	p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, c)
	return nil
}

func checkEphemeral(p *corev1.Pod, c *corev1.Container, target string) error {
	if problems := validation.IsDNS1123Label(c.Name); len(problems) > 0 {
		return fmt.Errorf("name: Invalid value: %q: %s", c.Name, problems[0])
	}
	switch {
	case pod.RoleOf(p, c.Name) != 0:
		return fmt.Errorf("name: Duplicate value: %q: choose another name", c.Name)
	case c.Image == "":
		return errors.New("image: Required value")
	case target != "" && (pod.RoleOf(p, target) == 0 || pod.RoleOf(p, target) == pod.RoleEphemeral):
		return fmt.Errorf("targetContainerName: Not found: %q", target)
	case len(c.Resources.Limits)+len(c.Resources.Requests) > 0:
		return errors.New("resources: Forbidden: cannot be set for an Ephemeral Container")
	}
	for field, set := range map[string]bool{
		"ports": len(c.Ports) > 0, "livenessProbe": c.LivenessProbe != nil, "readinessProbe": c.ReadinessProbe != nil,
		"startupProbe": c.StartupProbe != nil, "lifecycle": c.Lifecycle != nil, "restartPolicy": c.RestartPolicy != nil,
	} {
		if set {
			return fmt.Errorf("%s: Forbidden: cannot be set for an Ephemeral Container", field)
		}
	}
	declared := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		declared[v.Name] = true
	}
	for i, m := range c.VolumeMounts {
		switch {
		case !declared[m.Name]:
			return fmt.Errorf("volumeMounts[%d].name: Not found: %q", i, m.Name)
		case m.SubPath != "" || m.SubPathExpr != "":
			return fmt.Errorf("volumeMounts[%d].subPath: Forbidden: cannot be set for an Ephemeral Container", i)
		}
	}
	return nil
}
