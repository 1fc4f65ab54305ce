package printer

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// containers writes those of one kind. Of the mains it says so if there are none.
func (d *description) containers(title string, p *corev1.Pod, list []corev1.Container, statuses []corev1.ContainerStatus) {
	if len(list) == 0 {
		if title == "Containers" {
			d.line(0, "%s: %s", title, none)
		}
		return
	}
	d.line(0, "%s:", title)
	for i := range list {
		c := &list[i]
		var st *corev1.ContainerStatus
		if j := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name }); j >= 0 {
			st = &statuses[j]
		}
		d.container(p, c, st)
	}
}

func (d *description) container(p *corev1.Pod, c *corev1.Container, st *corev1.ContainerStatus) {
	d.line(1, "%s:", c.Name)
	if st != nil {
		d.line(2, "Container ID:\t%s", st.ContainerID)
	}
	d.line(2, "Image:\t%s", c.Image)
	if st != nil {
		d.line(2, "Image ID:\t%s", st.ImageID)
	}
	d.ports("Port", c, func(p *corev1.ContainerPort) int32 { return p.ContainerPort })
	d.ports("Host Port", c, func(p *corev1.ContainerPort) int32 { return p.HostPort })
	if c.SecurityContext != nil {
		d.seccomp(2, c.SecurityContext.SeccompProfile)
	}
	d.words("Command", c.Command)
	d.words("Args", c.Args)
	if st != nil {
		d.state("State", st.State)
		if st.LastTerminationState.Terminated != nil {
			d.state("Last State", st.LastTerminationState)
		}
		d.line(2, "Ready:\t%s", strings.Title(strconv.FormatBool(st.Ready))) //nolint:staticcheck // True or False
		d.line(2, "Restart Count:\t%d", st.RestartCount)
	}
	d.resources(2, c.Resources)
	d.probe("Liveness", c.LivenessProbe)
	d.probe("Readiness", c.ReadinessProbe)
	d.probe("Startup", c.StartupProbe)
	d.envFrom(c.EnvFrom)
	d.env(p, c)
	d.mounts(c.VolumeMounts)
}

func (d *description) ports(title string, c *corev1.Container, number func(*corev1.ContainerPort) int32) {
	var ports []string
	for i := range c.Ports {
		port := fmt.Sprintf("%d/%s", number(&c.Ports[i]), c.Ports[i].Protocol)
		if c.Ports[i].Name != "" {
			port += " (" + c.Ports[i].Name + ")"
		}
		ports = append(ports, port)
	}
	if len(ports) > 1 {
		title += "s"
	}
	d.line(2, "%s:\t%s", title, or(strings.Join(ports, ", "), none))
}

func (d *description) words(title string, words []string) {
	if len(words) > 0 {
		d.line(2, "%s:", title)
	}
	for _, w := range words {
		for line := range strings.SplitSeq(w, "\n") {
			d.line(3, "%s", line)
		}
	}
}

func (d *description) state(title string, s corev1.ContainerState) {
	switch {
	case s.Running != nil:
		d.line(2, "%s:\tRunning", title)
		d.line(3, "Started:\t%v", clock(s.Running.StartedAt))
	case s.Terminated != nil:
		d.line(2, "%s:\tTerminated", title)
		if s.Terminated.Reason != "" {
			d.line(3, "Reason:\t%s", s.Terminated.Reason)
		}
		if s.Terminated.Message != "" {
			d.line(3, "Message:\t%s", s.Terminated.Message)
		}
		d.line(3, "Exit Code:\t%d", s.Terminated.ExitCode)
		if s.Terminated.Signal > 0 {
			d.line(3, "Signal:\t%d", s.Terminated.Signal)
		}
		d.line(3, "Started:\t%s", clock(s.Terminated.StartedAt))
		d.line(3, "Finished:\t%s", clock(s.Terminated.FinishedAt))
	default:
		d.line(2, "%s:\tWaiting", title)
		if s.Waiting != nil && s.Waiting.Reason != "" {
			d.line(3, "Reason:\t%s", s.Waiting.Reason)
		}
	}
}

// clock is a time of day where the user is.
func clock(t metav1.Time) string { return t.Local().Format(time.RFC1123Z) }

func (d *description) resources(level int, r corev1.ResourceRequirements) {
	write := func(title string, list corev1.ResourceList) {
		if len(list) > 0 {
			d.line(level, "%s:", title)
		}
		for _, name := range slices.Sorted(maps.Keys(list)) {
			q := list[name]
			d.line(level+1, "%s:\t%s", name, q.String())
		}
	}
	write("Limits", r.Limits)
	write("Requests", r.Requests)
}

func (d *description) probe(title string, p *corev1.Probe) {
	if p != nil {
		d.line(2, "%s:\t%s", title, probe(p))
	}
}

// probe is a probe in one line.
func probe(p *corev1.Probe) string {
	often := fmt.Sprintf("delay=%ds timeout=%ds period=%ds #success=%d #failure=%d",
		p.InitialDelaySeconds, p.TimeoutSeconds, p.PeriodSeconds, p.SuccessThreshold, p.FailureThreshold)
	switch {
	case p.Exec != nil:
		return fmt.Sprintf("exec %v %s", p.Exec.Command, often)
	case p.HTTPGet != nil:
		host := p.HTTPGet.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if port := p.HTTPGet.Port.String(); port != "" {
			host += ":" + port
		}
		u := url.URL{Scheme: strings.ToLower(string(p.HTTPGet.Scheme)), Host: host, Path: p.HTTPGet.Path}
		return fmt.Sprintf("http-get %s %s", u.String(), often)
	case p.TCPSocket != nil:
		return fmt.Sprintf("tcp-socket %s:%s %s", p.TCPSocket.Host, p.TCPSocket.Port.String(), often)
	case p.GRPC != nil:
		service := ""
		if p.GRPC.Service != nil {
			service = *p.GRPC.Service
		}
		return fmt.Sprintf("grpc <pod>:%d %s %s", p.GRPC.Port, service, often)
	}
	return "unknown " + often
}

func (d *description) envFrom(list []corev1.EnvFromSource) {
	if len(list) > 0 {
		d.line(2, "Environment Variables from:")
	}
	for _, e := range list {
		from, name, optional := "", "", (*bool)(nil)
		switch {
		case e.ConfigMapRef != nil:
			from, name, optional = "ConfigMap", e.ConfigMapRef.Name, e.ConfigMapRef.Optional
		case e.SecretRef != nil:
			from, name, optional = "Secret", e.SecretRef.Name, e.SecretRef.Optional
		}
		if e.Prefix != "" {
			from += fmt.Sprintf(" with prefix '%s'", e.Prefix)
		}
		d.line(3, "%s\t%s\tOptional: %t", name, from, is(optional))
	}
}

func is(b *bool) bool { return b != nil && *b }

func (d *description) env(p *corev1.Pod, c *corev1.Container) {
	if len(c.Env) == 0 {
		d.line(2, "Environment:\t%s", none)
		return
	}
	d.line(2, "Environment:")
	for _, e := range c.Env {
		from := e.ValueFrom
		switch {
		case from == nil:
			name := e.Name + ":"
			for line := range strings.SplitSeq(e.Value, "\n") {
				d.line(3, "%s\t%s", name, line)
				name = ""
			}
		case from.FieldRef != nil:
			d.line(3, "%s:\t%s (%s:%s)", e.Name, field(p, from.FieldRef.FieldPath), from.FieldRef.APIVersion, from.FieldRef.FieldPath)
		case from.ResourceFieldRef != nil:
			d.line(3, "%s:\t%s (%s)", e.Name, resourceValue(c, from.ResourceFieldRef), from.ResourceFieldRef.Resource)
		case from.SecretKeyRef != nil:
			d.line(3, "%s:\t<set to the key '%s' in secret '%s'>\tOptional: %t", e.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Name, is(from.SecretKeyRef.Optional))
		case from.ConfigMapKeyRef != nil:
			d.line(3, "%s:\t<set to the key '%s' of config map '%s'>\tOptional: %t", e.Name, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Name, is(from.ConfigMapKeyRef.Optional))
		}
	}
}

// field is the value of one of a pod's fields; kubectl itself knows these two.
func field(p *corev1.Pod, path string) string {
	switch path {
	case "metadata.name":
		return p.Name
	case "metadata.namespace":
		return p.Namespace
	}
	return ""
}

// resourceValue is a container's limit or request in units of a divisor, rounded up.
func resourceValue(c *corev1.Container, ref *corev1.ResourceFieldSelector) string {
	side, name, _ := strings.Cut(ref.Resource, ".")
	list := map[string]corev1.ResourceList{"limits": c.Resources.Limits, "requests": c.Resources.Requests}[side]
	if list == nil && side != "limits" && side != "requests" {
		return ""
	}
	q, divisor := list[corev1.ResourceName(name)], ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	value := float64(q.Value()) / float64(divisor.Value())
	if name == string(corev1.ResourceCPU) {
		value = float64(q.MilliValue()) / float64(divisor.MilliValue())
	}
	units := strconv.FormatInt(int64(math.Ceil(value)), 10)
	if units == "0" && (ref.Resource == "limits.cpu" || ref.Resource == "limits.memory") {
		return "node allocatable"
	}
	return units
}

func (d *description) mounts(list []corev1.VolumeMount) {
	if len(list) == 0 {
		d.line(2, "Mounts:\t%s", none)
		return
	}
	d.line(2, "Mounts:")
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
	for _, m := range list {
		how := "rw"
		if m.ReadOnly {
			how = "ro"
		}
		if m.SubPath != "" {
			how += fmt.Sprintf(",path=%q", m.SubPath)
		}
		d.line(3, "%s from %s (%s)", m.MountPath, m.Name, how)
	}
}
