package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// containers validates regular and init containers, and what must be unique over both (VL-01, VL-03).
func (v *validator) containers(s *corev1.PodSpec, p *field.Path) {
	if len(s.Containers) == 0 {
		v.required(p.Child("containers"), "")
	}
	names := map[string]bool{}
	unique := func(p *field.Path, name string) {
		if name != "" && names[name] {
			v.add(field.Duplicate(p, name))
		}
		names[name] = true
	}
	ports := portNumbers{}
	for i := range s.Containers {
		c, p := &s.Containers[i], p.Child("containers").Index(i)
		v.container(c, s, p)
		v.restart(c, p)
		v.probesAndHooks(c, s, p)
		unique(p.Child("name"), c.Name)
		v.portClash(c, p, ports)
	}
	for i := range s.InitContainers {
		c, p := &s.InitContainers[i], p.Child("initContainers").Index(i)
		v.container(c, s, p)
		v.restart(c, p)
		unique(p.Child("name"), c.Name)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			v.probesAndHooks(c, s, p)
			v.portClash(c, p, ports)
			continue
		}
		v.portClash(c, p, portNumbers{})
		v.noProbes(c, p)
	}
	for i, c := range s.EphemeralContainers {
		unique(p.Child("ephemeralContainers").Index(i).Child("name"), c.Name)
	}
}

// noProbes refuses what a regular init container must not have (IN-08).
func (v *validator) noProbes(c *corev1.Container, p *field.Path) {
	for name, set := range map[string]bool{
		"lifecycle": c.Lifecycle != nil, "livenessProbe": c.LivenessProbe != nil,
		"readinessProbe": c.ReadinessProbe != nil, "startupProbe": c.StartupProbe != nil,
	} {
		if set {
			v.forbidden(p.Child(name), "may not be set for init containers without restartPolicy=Always")
		}
	}
}

// container validates what all containers have in common.
func (v *validator) container(c *corev1.Container, s *corev1.PodSpec, p *field.Path) {
	v.label(p.Child("name"), c.Name)
	if c.Image == "" {
		v.required(p.Child("image"), "")
	} else if strings.TrimSpace(c.Image) != c.Image {
		v.invalid(p.Child("image"), c.Image, "must not have leading or trailing whitespace")
	}
	oneOf(v, p.Child("imagePullPolicy"), c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
	oneOf(v, p.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)
	v.ports(c.Ports, p.Child("ports"))
	v.env(c, s, p)
	v.mounts(c, s.Volumes, p.Child("volumeMounts"))
	v.resources(&c.Resources, p.Child("resources"))
	v.security(c.SecurityContext, p.Child("securityContext"))
}

// restart validates a container's own restart policy and its rules (RP-06, SC-23).
func (v *validator) restart(c *corev1.Container, p *field.Path) {
	if c.RestartPolicy != nil {
		oneOf(v, p.Child("restartPolicy"), *c.RestartPolicy, corev1.ContainerRestartPolicyAlways,
			corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	} else if len(c.RestartPolicyRules) > 0 {
		v.required(p.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
	}
	const maxRules, maxValues = 20, 255
	p = p.Child("restartPolicyRules")
	if n := len(c.RestartPolicyRules); n > maxRules {
		v.add(field.TooMany(p, n, maxRules))
	}
	for i, r := range c.RestartPolicyRules {
		p := p.Index(i)
		oneOf(v, p.Child("action"), r.Action, corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
		if r.ExitCodes == nil {
			v.required(p.Child("exitCodes"), "must be specified")
			continue
		}
		oneOf(v, p.Child("exitCodes", "operator"), r.ExitCodes.Operator,
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)
		if n := len(r.ExitCodes.Values); n > maxValues {
			v.add(field.TooMany(p.Child("exitCodes", "values"), n, maxValues))
		}
	}
}

func (v *validator) ports(ports []corev1.ContainerPort, p *field.Path) {
	names := map[string]bool{}
	for i, port := range ports {
		p := p.Index(i)
		if port.Name != "" {
			v.all(p.Child("name"), port.Name, validation.IsValidPortName(port.Name))
			if names[port.Name] {
				v.add(field.Duplicate(p.Child("name"), port.Name))
			}
			names[port.Name] = true
		}
		if port.ContainerPort == 0 {
			v.required(p.Child("containerPort"), "")
		} else {
			v.all(p.Child("containerPort"), port.ContainerPort, validation.IsValidPortNum(int(port.ContainerPort)))
		}
		if port.HostPort != 0 {
			v.all(p.Child("hostPort"), port.HostPort, validation.IsValidPortNum(int(port.HostPort)))
		}
		oneOf(v, p.Child("protocol"), port.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
	}
}

// portNumbers are the ports that containers declare, with the path of the first declaration.
type portNumbers map[string]string

// portClash warns of a port that two of the containers that run at once declare: they share one network (NW-01).
func (v *validator) portClash(c *corev1.Container, p *field.Path, seen portNumbers) {
	for i, port := range c.Ports {
		p := p.Child("ports").Index(i)
		key := fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol)
		if before, ok := seen[key]; ok {
			v.warn(p, "duplicate port definition with %s: the containers of a pod share one network", before)
			continue
		}
		seen[key] = p.String()
	}
}

func (v *validator) mounts(c *corev1.Container, volumes []corev1.Volume, p *field.Path) {
	var names []string
	for _, vol := range volumes {
		names = append(names, vol.Name)
	}
	paths := map[string]bool{}
	for i, m := range c.VolumeMounts {
		p := p.Index(i)
		switch {
		case m.Name == "":
			v.required(p.Child("name"), "")
		case !slices.Contains(names, m.Name): // VO-19
			v.notFound(p.Child("name"), m.Name, names)
		}
		switch {
		case m.MountPath == "":
			v.required(p.Child("mountPath"), "")
		case paths[m.MountPath]:
			v.invalid(p.Child("mountPath"), m.MountPath, "must be unique")
		}
		paths[m.MountPath] = true
		v.subPath(p.Child("subPath"), m.SubPath)
		v.subPath(p.Child("subPathExpr"), m.SubPathExpr)
		if m.SubPath != "" && m.SubPathExpr != "" { // VO-12
			v.invalid(p.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
		}
		v.propagation(m, c, p)
	}
}

// subPath wants a relative path that stays inside (VO-11).
func (v *validator) subPath(p *field.Path, sub string) {
	if path.IsAbs(sub) {
		v.invalid(p, sub, "must be a relative path")
	}
	v.noBacksteps(p, sub)
}

// propagation validates mountPropagation and recursiveReadOnly (VO-14, VO-15).
func (v *validator) propagation(m corev1.VolumeMount, c *corev1.Container, p *field.Path) {
	none := true
	if m.MountPropagation != nil {
		p := p.Child("mountPropagation")
		oneOf(v, p, *m.MountPropagation, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
		if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged(c.SecurityContext) {
			v.forbidden(p, "Bidirectional mount propagation is available only to privileged containers")
		}
		none = *m.MountPropagation == corev1.MountPropagationNone
	}
	if m.RecursiveReadOnly == nil {
		return
	}
	p = p.Child("recursiveReadOnly")
	oneOf(v, p, *m.RecursiveReadOnly, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	if *m.RecursiveReadOnly == corev1.RecursiveReadOnlyDisabled {
		return
	}
	if !m.ReadOnly {
		v.forbidden(p, "may only be specified when readOnly is true")
	}
	if !none {
		v.forbidden(p, "may only be specified when mountPropagation is None or not specified")
	}
}

func (v *validator) resources(r *corev1.ResourceRequirements, p *field.Path) {
	for _, name := range sortedKeys(r.Limits) {
		v.quantity(p.Child("limits").Key(string(name)), r.Limits[name])
	}
	for _, name := range sortedKeys(r.Requests) {
		request := r.Requests[name]
		limit, limited := r.Limits[name]
		if limited && request.Cmp(limit) == 0 { // often it was made from the limit (RS-01)
			continue
		}
		p := p.Child("requests")
		v.quantity(p.Key(string(name)), request)
		if limited && request.Cmp(limit) > 0 {
			v.invalid(p, request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))
		}
	}
}

func (v *validator) quantity(p *field.Path, q resource.Quantity) {
	if q.Sign() < 0 {
		v.invalid(p, q.String(), "must be greater than or equal to 0")
	}
}

func (v *validator) security(c *corev1.SecurityContext, p *field.Path) {
	if c == nil {
		return
	}
	v.user(p.Child("runAsUser"), c.RunAsUser)
	v.group(p.Child("runAsGroup"), c.RunAsGroup)
	v.seccomp(c.SeccompProfile, p.Child("seccompProfile"))
	if c.ProcMount != nil {
		oneOf(v, p.Child("procMount"), *c.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
	}
	if c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation {
		return
	}
	if privileged(c) {
		v.invalid(p, false, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
	}
	if c.Capabilities != nil && slices.Contains(c.Capabilities.Add, "CAP_SYS_ADMIN") {
		v.invalid(p, false, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
	}
}

func privileged(c *corev1.SecurityContext) bool {
	return c != nil && c.Privileged != nil && *c.Privileged
}
