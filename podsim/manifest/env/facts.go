package env

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/podsim/podsim/podsim/manifest"
)

// Facts are what a container may learn about its pod and its node. Pod must be defaulted (manifest.Default).
type Facts struct {
	Pod       *corev1.Pod
	Resources manifest.Resources
	// PodIPs and HostIPs have the primary address first. They are known once the pod's network is set up (DW-07).
	PodIPs, HostIPs []string
	// NodeName is what spec.nodeName shows where the pod names no node.
	NodeName string
	// Allocatable is what a container without a limit is told (DW-05); DefaultAllocatable if nil.
	Allocatable corev1.ResourceList
	// Hostname is the pod's (netfiles.Hostname); it becomes HOSTNAME, unless empty (CM-11).
	Hostname string
}

// DefaultAllocatable is the size of the node that podsim declares where it is told none: a podsim decision, the same
// on every machine, so that a pod that sizes itself by its limits behaves the same everywhere.
var DefaultAllocatable = corev1.ResourceList{
	corev1.ResourceCPU:              resource.MustParse("4"),
	corev1.ResourceMemory:           resource.MustParse("8Gi"),
	corev1.ResourceEphemeralStorage: resource.MustParse("64Gi"),
}

// Field is a field of the pod as text, by a fieldRef's path (DW-01, DW-02, DW-03).
func (f Facts) Field(path string) (string, error) {
	m := &f.Pod.ObjectMeta
	switch path {
	case "metadata.name":
		return m.Name, nil
	case "metadata.namespace":
		return m.Namespace, nil
	case "metadata.uid":
		return string(m.UID), nil
	case "metadata.labels":
		return pairs(m.Labels), nil
	case "metadata.annotations":
		return pairs(m.Annotations), nil
	case "spec.nodeName":
		if f.Pod.Spec.NodeName != "" {
			return f.Pod.Spec.NodeName, nil
		}
		return f.NodeName, nil
	case "spec.serviceAccountName":
		return f.Pod.Spec.ServiceAccountName, nil
	case "status.podIP":
		return first(f.PodIPs), nil
	case "status.podIPs":
		return strings.Join(f.PodIPs, ","), nil
	case "status.hostIP":
		return first(f.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(f.HostIPs, ","), nil
	}
	if key, ok := subscript(path, "metadata.labels"); ok {
		return m.Labels[key], nil
	}
	if key, ok := subscript(path, "metadata.annotations"); ok {
		return m.Annotations[key], nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", path)
}

func subscript(path, field string) (string, bool) {
	rest, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// pairs writes a map as key="value" lines, sorted by key (DW-03).
func pairs(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for k, v := range m {
		lines = append(lines, k+"="+strconv.Quote(v))
	}
	slices.SortFunc(lines, func(a, b string) int {
		ka, _, _ := strings.Cut(a, "=")
		kb, _, _ := strings.Cut(b, "=")
		return strings.Compare(ka, kb)
	})
	return strings.Join(lines, "\n")
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// Resource is a container's limit or request in units of the selector's divisor, rounded up (DW-04). A selector
// without a container's name means the container called own (DW-06).
func (f Facts) Resource(r *corev1.ResourceFieldSelector, own string) (string, error) {
	name := r.ContainerName
	if name == "" {
		name = own
	}
	c := f.container(name)
	if c == nil {
		return "", fmt.Errorf("container %s not found", name)
	}
	kind, res, _ := strings.Cut(r.Resource, ".")
	var list corev1.ResourceList
	switch kind {
	case "limits":
		list = c.Resources.Limits
	case "requests":
		list = c.Resources.Requests
	default:
		return "", fmt.Errorf("unsupported container resource : %s", r.Resource)
	}
	q, ok := list[corev1.ResourceName(res)]
	if !ok && kind == "limits" { // DW-05
		allocatable := f.Allocatable
		if allocatable == nil {
			allocatable = DefaultAllocatable
		}
		q = allocatable[corev1.ResourceName(res)]
	}
	divisor := r.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if res == string(corev1.ResourceCPU) {
		return ceil(q.MilliValue(), divisor.MilliValue()), nil
	}
	return ceil(q.Value(), divisor.Value()), nil
}

func ceil(n, by int64) string {
	if by < 1 {
		by = 1
	}
	whole := n / by
	if n%by > 0 {
		whole++
	}
	return strconv.FormatInt(whole, 10)
}

func (f Facts) container(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{f.Pod.Spec.Containers, f.Pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
