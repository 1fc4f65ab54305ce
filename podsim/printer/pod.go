package printer

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Columns says which columns of a table are shown besides the usual ones.
type Columns struct {
	Event     bool // what a watch event is, in front
	Namespace bool
	Wide      bool
}

// lost is the status of a pod of which nobody knows any more how it is.
const lost = "Lost"

// none stands for what there is not.
const none = "<none>"

// PodHeaders are the headers of a table of pods.
func PodHeaders(c Columns) (headers []string) {
	headers = c.front("EVENT", "NAMESPACE")
	headers = append(headers, "NAME", "READY", "STATUS", "RESTARTS", "AGE")
	if c.Wide {
		headers = append(headers, "IP", "NODE", "NOMINATED NODE", "READINESS GATES")
	}
	return headers
}

// front are the cells in front of a row.
func (c Columns) front(event, namespace string) (cells []string) {
	if c.Event {
		cells = append(cells, event)
	}
	if c.Namespace {
		cells = append(cells, namespace)
	}
	return cells
}

// PodRow is a pod's row of a table. event is the type of its watch event, if that is a column. A pod that is lost is
// said to be so, whatever its status was.
func PodRow(p *corev1.Pod, c Columns, event string, isLost bool, now time.Time) []string {
	s := sum(p)
	if isLost {
		s.status = lost
	}
	again := strconv.Itoa(s.number)
	if s.number != 0 && !s.last.IsZero() {
		again = fmt.Sprintf("%d (%s ago)", s.number, since(s.last, now))
	}
	row := c.front(fmt.Sprintf("%-8s", event), p.Namespace)
	row = append(row, p.Name, fmt.Sprintf("%d/%d", s.ready, s.total), firstLine(s.status), again, since(p.CreationTimestamp, now))
	if c.Wide {
		ip := none
		if len(p.Status.PodIPs) > 0 {
			ip = or(p.Status.PodIPs[0].IP, none)
		}
		row = append(row, ip, or(p.Spec.NodeName, none), or(p.Status.NominatedNodeName, none), gates(p))
	}
	return row
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// gates says how many of a pod's readiness gates are open.
func gates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return none
	}
	open := 0
	for _, g := range p.Spec.ReadinessGates {
		if conditionStatus(p, g.ConditionType) == corev1.ConditionTrue {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(p.Spec.ReadinessGates))
}

// conditionStatus is the status of a pod's condition, empty if it has none of that type.
func conditionStatus(p *corev1.Pod, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}

// A summary is a pod in one line, as an API server sums it up for a table.
type summary struct {
	ready, total int
	status       string
	restarts
}

// restarts is how often containers were restarted, and when the last of them ended before.
type restarts struct {
	number int
	last   metav1.Time
}

// count adds a container's.
func (r *restarts) count(c *corev1.ContainerStatus) {
	r.number += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && r.last.Before(&t.FinishedAt) {
		r.last = t.FinishedAt
	}
}

// sum sums up a pod. Sidecars count among its containers, regular init containers do not (SC-22).
func sum(p *corev1.Pod) summary {
	s := summary{total: len(p.Spec.Containers), status: or(p.Status.Reason, string(p.Status.Phase))}
	for i := range p.Spec.InitContainers {
		if isSidecar(&p.Spec.InitContainers[i]) {
			s.total++
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.status = c.Reason
		}
	}
	initializing, sidecars := s.addInits(p)
	if !initializing || conditionStatus(p, corev1.PodInitialized) == corev1.ConditionTrue {
		s.restarts = sidecars // regular init containers count no more
		s.addMains(p)
	}
	terminal := p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	if p.DeletionTimestamp != nil && p.Status.Reason == "NodeLost" {
		s.status = "Unknown"
	} else if p.DeletionTimestamp != nil && !terminal {
		s.status = "Terminating"
	}
	return s
}

func isSidecar(c *corev1.Container) bool {
	return c != nil && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// initSpec is the init container that a status is of, nil if the pod has none such; i is where it should be.
func initSpec(p *corev1.Pod, i int, name string) *corev1.Container {
	inits := p.Spec.InitContainers
	if i < len(inits) && inits[i].Name == name {
		return &inits[i]
	}
	for i := range inits {
		if inits[i].Name == name {
			return &inits[i]
		}
	}
	return nil
}

// addInits goes through the init containers up to the one that holds the pod's initialisation up, and reports whether
// there is such a one, and the restarts of the sidecars among them.
func (s *summary) addInits(p *corev1.Pod) (initializing bool, sidecars restarts) {
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		sidecar := isSidecar(initSpec(p, i, c.Name))
		s.count(c)
		if sidecar {
			sidecars.count(c)
		}
		ended, waits := c.State.Terminated, c.State.Waiting
		switch {
		case ended != nil && ended.ExitCode == 0:
			continue
		case sidecar && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case ended != nil:
			s.status = "Init:" + endWord(ended)
		case waits != nil && waits.Reason != "" && waits.Reason != "PodInitializing":
			s.status = "Init:" + waits.Reason
		default:
			s.status = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		return true, sidecars
	}
	return false, sidecars
}

// endWord says in a word how a container has ended.
func endWord(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

// addMains goes through the main containers from the last to the first; what the first has to say counts most.
func (s *summary) addMains(p *corev1.Pod) {
	running, failure := false, ""
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &p.Status.ContainerStatuses[i]
		s.count(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.status = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.status = endWord(c.State.Terminated)
			if c.State.Terminated.ExitCode != 0 {
				failure = s.status
			}
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.status != "Completed" {
		return
	}
	switch {
	case running && conditionStatus(p, corev1.PodReady) == corev1.ConditionTrue:
		s.status = "Running"
	case failure != "":
		s.status = failure
	case running:
		s.status = "NotReady"
	}
}
