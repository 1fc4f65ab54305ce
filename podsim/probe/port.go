package probe

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ResolvePort finds the port that a probe or a hook means: a number stands for itself, a name is looked up among
// the ports of the same container, and a name that none of them has may still be a number in quotes (PB-10).
// A nil container has no ports.
func ResolvePort(port intstr.IntOrString, c *corev1.Container) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String {
		var err error
		if number, err = named(port.StrVal, c); err != nil {
			return 0, err
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", number)
	}
	return number, nil
}

func named(name string, c *corev1.Container) (int, error) {
	if c != nil {
		for _, p := range c.Ports {
			if p.Name == name {
				return int(p.ContainerPort), nil
			}
		}
	}
	number, err := strconv.Atoi(name)
	if err != nil {
		return 0, fmt.Errorf("the container has no port named %q, and it is not a number either", name)
	}
	return number, nil
}
