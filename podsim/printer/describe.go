package printer

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Description says how a pod is described.
type Description struct {
	Lost     bool // nobody knows any more how it is
	NoEvents bool // its events are left out
}

// Describe prints all that there is to say of a pod, and its events.
func Describe(out io.Writer, p *corev1.Pod, events []corev1.Event, how Description, now time.Time) error {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	d := &description{out: table, now: now}
	d.pod(p, how.Lost)
	d.containers("Init Containers", p, p.Spec.InitContainers, p.Status.InitContainerStatuses)
	d.containers("Containers", p, p.Spec.Containers, p.Status.ContainerStatuses)
	d.containers("Ephemeral Containers", p, ephemeral(p), p.Status.EphemeralContainerStatuses)
	d.conditions(p)
	d.volumes(p.Spec.Volumes)
	d.line(0, "QoS Class:\t%s", or(string(p.Status.QOSClass), string(corev1.PodQOSBestEffort)))
	d.pairs("Node-Selectors", p.Spec.NodeSelector)
	d.tolerations(p.Spec.Tolerations)
	d.spread(p.Spec.TopologySpreadConstraints)
	if !how.NoEvents {
		d.events(events)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := out.Write(text.Bytes())
	return err
}

// ephemeral are a pod's ephemeral containers as any others.
func ephemeral(p *corev1.Pod) (out []corev1.Container) {
	for i := range p.Spec.EphemeralContainers {
		out = append(out, corev1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return out
}

// A description is one being written. Its tabs are made columns.
type description struct {
	out io.Writer
	now time.Time
}

// line writes a line at an indentation of so many levels.
func (d *description) line(level int, format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, "%s%s\n", strings.Repeat("  ", level), escape(fmt.Sprintf(format, args...))) // it writes to memory
}

func (d *description) pod(p *corev1.Pod, isLost bool) {
	d.line(0, "Name:\t%s", p.Name)
	d.line(0, "Namespace:\t%s", p.Namespace)
	if p.Spec.Priority != nil {
		d.line(0, "Priority:\t%d", *p.Spec.Priority)
	}
	if p.Spec.PriorityClassName != "" {
		d.line(0, "Priority Class Name:\t%s", p.Spec.PriorityClassName)
	}
	if c := p.Spec.RuntimeClassName; c != nil && *c != "" {
		d.line(0, "Runtime Class Name:\t%s", *c)
	}
	if p.Spec.ServiceAccountName != "" {
		d.line(0, "Service Account:\t%s", p.Spec.ServiceAccountName)
	}
	if p.Spec.NodeName == "" {
		d.line(0, "Node:\t%s", none)
	} else {
		d.line(0, "Node:\t%s/%s", p.Spec.NodeName, p.Status.HostIP)
	}
	if p.Status.StartTime != nil {
		d.line(0, "Start Time:\t%s", clock(*p.Status.StartTime))
	}
	d.pairs("Labels", p.Labels)
	d.annotations(p.Annotations)
	d.status(p, isLost)
	if p.Spec.SecurityContext != nil {
		d.seccomp(0, p.Spec.SecurityContext.SeccompProfile)
	}
	d.line(0, "IP:\t%s", p.Status.PodIP)
	if len(p.Status.PodIPs) == 0 {
		d.line(0, "IPs:\t%s", none)
	} else {
		d.line(0, "IPs:")
	}
	for _, ip := range p.Status.PodIPs {
		d.line(1, "IP:\t%s", ip.IP)
	}
	if owner := metav1.GetControllerOf(p); owner != nil {
		d.line(0, "Controlled By:\t%s/%s", owner.Kind, owner.Name)
	}
	if p.Status.NominatedNodeName != "" {
		d.line(0, "NominatedNodeName:\t%s", p.Status.NominatedNodeName)
	}
	if p.Spec.Resources != nil {
		d.line(0, "Resources:")
		d.resources(1, *p.Spec.Resources)
	}
}

func (d *description) status(p *corev1.Pod, isLost bool) {
	terminal := p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	switch {
	case isLost:
		d.line(0, "Status:\t%s", lost)
	case p.DeletionTimestamp != nil && !terminal:
		d.line(0, "Status:\tTerminating (lasts %s)", since(*p.DeletionTimestamp, d.now))
		grace := int64(0)
		if p.DeletionGracePeriodSeconds != nil {
			grace = *p.DeletionGracePeriodSeconds
		}
		d.line(0, "Termination Grace Period:\t%ds", grace)
	default:
		d.line(0, "Status:\t%s", p.Status.Phase)
	}
	if p.Status.Reason != "" {
		d.line(0, "Reason:\t%s", p.Status.Reason)
	}
	if p.Status.Message != "" {
		d.line(0, "Message:\t%s", p.Status.Message)
	}
}

func (d *description) seccomp(level int, s *corev1.SeccompProfile) {
	if s == nil {
		return
	}
	d.line(level, "SeccompProfile:\t%s", s.Type)
	if s.Type == corev1.SeccompProfileTypeLocalhost && s.LocalhostProfile != nil {
		d.line(level+level/2, "LocalhostProfile:\t%s", *s.LocalhostProfile)
	}
}

// pairs writes names with their values, sorted by name.
func (d *description) pairs(title string, values map[string]string) {
	first := title + ":\t"
	for _, key := range slices.Sorted(maps.Keys(values)) {
		d.line(0, "%s%s=%s", first, key, values[key])
		first = "\t"
	}
	if len(values) == 0 {
		d.line(0, "%s%s", first, none)
	}
}

// maxAnnotation is how long an annotation may be to be written on one line.
const maxAnnotation = 140

func (d *description) annotations(values map[string]string) {
	first := "Annotations:\t"
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key == corev1.LastAppliedConfigAnnotation {
			continue
		}
		value := strings.TrimSuffix(values[key], "\n")
		if len(key)+len(value)+2 <= maxAnnotation && !strings.Contains(value, "\n") {
			d.line(0, "%s%s: %s", first, key, value)
		} else {
			d.line(0, "%s%s:", first, key)
			for line := range strings.SplitSeq(value, "\n") {
				if len(line) > maxAnnotation-2 {
					line = line[:maxAnnotation-2] + "..."
				}
				d.line(0, "\t  %s", line)
			}
		}
		first = "\t"
	}
	if first != "\t" {
		d.line(0, "%s%s", first, none)
	}
}

func (d *description) conditions(p *corev1.Pod) {
	if len(p.Spec.ReadinessGates) > 0 {
		d.line(0, "Readiness Gates:")
		d.line(1, "Type\tStatus")
		for _, g := range p.Spec.ReadinessGates {
			d.line(1, "%v \t%v ", g.ConditionType, or(string(conditionStatus(p, g.ConditionType)), none))
		}
	}
	if len(p.Status.Conditions) > 0 {
		d.line(0, "Conditions:")
		d.line(1, "Type\tStatus")
		for _, c := range p.Status.Conditions {
			d.line(1, "%v \t%v ", c.Type, c.Status)
		}
	}
}

func (d *description) tolerations(list []corev1.Toleration) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b corev1.Toleration) int { return strings.Compare(a.Key, b.Key) })
	first := "Tolerations:\t"
	for _, t := range list {
		d.line(0, "%s%s", first, toleration(t))
		first = "\t"
	}
	if len(list) == 0 {
		d.line(0, "%s%s", first, none)
	}
}

func toleration(t corev1.Toleration) string {
	s := t.Key
	if t.Value != "" {
		s += "=" + t.Value
	}
	if t.Effect != "" {
		s += ":" + string(t.Effect)
	}
	if t.Operator == corev1.TolerationOpExists && t.Value == "" {
		s = strings.TrimPrefix(s+" op=Exists", " ")
	}
	if t.TolerationSeconds != nil {
		s += fmt.Sprintf(" for %ds", *t.TolerationSeconds)
	}
	return s
}

func (d *description) spread(list []corev1.TopologySpreadConstraint) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b corev1.TopologySpreadConstraint) int { return strings.Compare(a.TopologyKey, b.TopologyKey) })
	first := "Topology Spread Constraints:\t"
	for _, c := range list {
		selector := ""
		if c.LabelSelector != nil {
			selector = " for selector " + metav1.FormatLabelSelector(c.LabelSelector)
		}
		d.line(0, "%s%s:%v when max skew %d is exceeded%s", first, c.TopologyKey, c.WhenUnsatisfiable, c.MaxSkew, selector)
		first = "\t"
	}
}

// events writes a table of its own: the columns above do not bear on it. Events of the newer form come first, as they
// have no last time.
func (d *description) events(list []corev1.Event) {
	if len(list) == 0 {
		d.line(0, "Events:\t%s", none)
		return
	}
	if t, ok := d.out.(*tabwriter.Writer); ok {
		_ = t.Flush() // into memory
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	d.line(0, "Events:")
	d.line(1, "Type\tReason\tAge\tFrom\tMessage")
	d.line(1, "----\t------\t----\t----\t-------")
	for _, e := range list {
		message := strings.TrimSpace(e.Message)
		if path := e.InvolvedObject.FieldPath; path != "" {
			message = path + ": " + message
		}
		d.line(1, "%v\t%v\t%s\t%v\t%v", e.Type, e.Reason, interval(e, d.now), or(e.Source.Component, e.ReportingController), message)
	}
}
