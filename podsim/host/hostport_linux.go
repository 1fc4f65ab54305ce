package host

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns"
)

// hostPortsOf are the ports of the machine that a pod's containers ask for: its regular ones. Those of init containers and
// sidecars are passed over, as a kubelet passes them over (NW-04).
func hostPortsOf(p *corev1.Pod) []netns.HostPort {
	var out []netns.HostPort
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.HostPort == 0 {
				continue
			}
			h := netns.HostPort{Protocol: strings.ToLower(string(port.Protocol)), Port: uint16(port.HostPort), Target: uint16(port.ContainerPort)}
			if h.Protocol == "" {
				h.Protocol = "tcp"
			}
			if ip, err := netip.ParseAddr(port.HostIP); err == nil && !ip.IsUnspecified() {
				h.IP = ip.Unmap()
			}
			out = append(out, h)
		}
	}
	return out
}

// checkHostPorts looks, before anything is made, whether the run's pods can have their ports of the machine.
func checkHostPorts(c Config) error {
	type asked struct {
		pod  string
		port netns.HostPort
	}
	var before []asked
	for _, p := range c.Pods {
		if err := checkHostIPs(p); err != nil {
			return &InputError{err}
		}
		for _, port := range hostPortsOf(p) {
			if c.NoNetwork {
				return &InputError{fmt.Errorf("pod %s: hostPort %s: without a network (--no-network) nothing leads to the pod; leave the one or the other out", p.Name, port)}
			}
			for _, b := range before {
				if b.port.Clashes(port) {
					return &InputError{fmt.Errorf("pod %s: hostPort %s is pod %s's already; a machine has each port once", p.Name, port, b.pod)}
				}
			}
			before = append(before, asked{p.Name, port})
			if err := netns.CheckPort(port); err != nil {
				err = fmt.Errorf("pod %s: hostPort: %w", p.Name, err)
				if _, taken := errors.AsType[*netns.TakenError](err); taken {
					return err
				}
				return &InputError{err}
			}
		}
	}
	return nil
}

func checkHostIPs(p *corev1.Pod) error {
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if _, err := netip.ParseAddr(port.HostIP); port.HostIP != "" && err != nil {
				return fmt.Errorf("pod %s: container %s: hostIP: %w", p.Name, c.Name, err)
			}
		}
	}
	return nil
}
