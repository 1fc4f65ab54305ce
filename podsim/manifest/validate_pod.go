package manifest

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// pod validates a defaulted pod. restart are the restart policies that its controller allows; nil allows all.
func (v *validator) pod(pod *corev1.Pod, restart []corev1.RestartPolicy) {
	meta := field.NewPath("metadata")
	if v.root != "" {
		meta = at(v.root).Child("metadata")
	}
	v.objectName(&pod.Name, pod.GenerateName)
	v.namespace(&pod.ObjectMeta)
	v.errs = append(v.errs, metav1validation.ValidateLabels(pod.Labels, meta.Child("labels"))...)
	for _, key := range sortedKeys(pod.Annotations) {
		v.all(meta.Child("annotations"), key, validation.IsQualifiedName(strings.ToLower(key)))
	}
	v.podSpec(pod, v.specPath(), restart)
}

// at makes a field path of a written one that has no indices.
func at(path string) *field.Path {
	parts := strings.Split(path, ".")
	return field.NewPath(parts[0], parts[1:]...)
}

func (v *validator) podSpec(pod *corev1.Pod, p *field.Path, restart []corev1.RestartPolicy) {
	s := &pod.Spec
	v.spec = s
	if restart == nil {
		restart = []corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
	}
	oneOf(v, p.Child("restartPolicy"), s.RestartPolicy, restart...)
	v.volumes(s.Volumes, p.Child("volumes"))
	v.containers(s, p)
	v.dns(s, p)
	v.podSecurity(s.SecurityContext, p.Child("securityContext"))
	for i, a := range s.HostAliases {
		p := p.Child("hostAliases").Index(i)
		v.ip(p.Child("ip"), a.IP)
		for j, name := range a.Hostnames {
			v.all(p.Child("hostnames").Index(j), name, validation.IsDNS1123Subdomain(name))
		}
	}
	for i, g := range s.ReadinessGates {
		v.all(p.Child("readinessGates").Index(i).Child("conditionType"), g.ConditionType, validation.IsQualifiedName(string(g.ConditionType)))
	}
	if s.ServiceAccountName != "" {
		v.all(p.Child("serviceAccountName"), s.ServiceAccountName, validation.IsDNS1123Subdomain(s.ServiceAccountName))
	}
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		v.invalid(p.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	if s.OS != nil {
		oneOf(v, p.Child("os", "name"), s.OS.Name, corev1.Linux)
	}
	v.hostname(s, p)
}

// hostname checks the names that the pod is known by (NW-07, NW-08).
func (v *validator) hostname(s *corev1.PodSpec, p *field.Path) {
	if s.Hostname != "" {
		v.label(p.Child("hostname"), s.Hostname)
	}
	if s.Subdomain != "" {
		v.label(p.Child("subdomain"), s.Subdomain)
	}
	if name := s.HostnameOverride; name != nil {
		q := p.Child("hostnameOverride")
		if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
			v.forbidden(q, "may not be specified when setHostnameAsFQDN is true")
		}
		if len(*name) > 64 {
			v.add(field.TooLong(q, "", 64))
		}
		v.all(q, *name, validation.IsDNS1123Subdomain(*name))
	}
}

// What libc's resolver can hold (NW-11).
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
)

func (v *validator) dns(s *corev1.PodSpec, p *field.Path) {
	oneOf(v, p.Child("dnsPolicy"), s.DNSPolicy, corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone)
	p = p.Child("dnsConfig")
	c := s.DNSConfig
	if s.DNSPolicy == corev1.DNSNone {
		if c == nil {
			v.required(p, "must provide `dnsConfig` when `dnsPolicy` is None")
			return
		}
		if len(c.Nameservers) == 0 {
			v.required(p.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")
			return
		}
	}
	if c == nil {
		return
	}
	if len(c.Nameservers) > maxNameservers {
		v.invalid(p.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %d nameservers", maxNameservers))
	}
	for i, ns := range c.Nameservers {
		v.ip(p.Child("nameservers").Index(i), ns)
	}
	if len(c.Searches) > maxSearches {
		v.invalid(p.Child("searches"), len(c.Searches), fmt.Sprintf("must not have more than %d search paths", maxSearches))
	}
	if len(strings.Join(c.Searches, " ")) > maxSearchChars {
		v.invalid(p.Child("searches"), len(c.Searches),
			fmt.Sprintf("must not have more than %d characters (including spaces) in the search list", maxSearchChars))
	}
	for i, search := range c.Searches {
		if search = strings.TrimSuffix(search, "."); search != "" {
			v.all(p.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search))
		}
	}
	for i, o := range c.Options {
		if o.Name == "" {
			v.required(p.Child("options").Index(i), "must not be empty")
		}
	}
}

func (v *validator) ip(p *field.Path, ip string) {
	if a, err := netip.ParseAddr(ip); err != nil || a.Zone() != "" {
		v.invalid(p, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
	}
}

var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func (v *validator) podSecurity(c *corev1.PodSecurityContext, p *field.Path) {
	if c == nil {
		return
	}
	v.user(p.Child("runAsUser"), c.RunAsUser)
	v.group(p.Child("runAsGroup"), c.RunAsGroup)
	v.group(p.Child("fsGroup"), c.FSGroup)
	for i := range c.SupplementalGroups {
		v.group(p.Child("supplementalGroups").Index(i), &c.SupplementalGroups[i])
	}
	if c.FSGroupChangePolicy != nil {
		oneOf(v, p.Child("fsGroupChangePolicy"), *c.FSGroupChangePolicy, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)
	}
	if c.SupplementalGroupsPolicy != nil {
		oneOf(v, p.Child("supplementalGroupsPolicy"), *c.SupplementalGroupsPolicy, corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)
	}
	v.seccomp(c.SeccompProfile, p.Child("seccompProfile"))
	var seen []string
	for i, s := range c.Sysctls {
		p := p.Child("sysctls").Index(i).Child("name")
		switch {
		case s.Name == "":
			v.required(p, "")
		case len(s.Name) > 253 || !sysctlName.MatchString(s.Name):
			v.invalid(p, s.Name, "must have at most 253 characters and match regex "+sysctlName.String())
		case slices.Contains(seen, s.Name):
			v.add(field.Duplicate(p, s.Name))
		case !safeSysctl(s.Name):
			v.forbidden(p, "not in the kubelet's list of safe sysctls: "+strings.Join(safeSysctls, ", "))
		}
		seen = append(seen, s.Name)
	}
}

// safeSysctls are those that a kubelet sets without being told to (NW-13).
var safeSysctls = []string{
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}

func safeSysctl(name string) bool {
	return slices.Contains(safeSysctls, strings.ReplaceAll(name, "/", "."))
}

func (v *validator) user(p *field.Path, id *int64) {
	if id != nil {
		v.all(p, *id, validation.IsValidUserID(*id))
	}
}

func (v *validator) group(p *field.Path, id *int64) {
	if id != nil {
		v.all(p, *id, validation.IsValidGroupID(*id))
	}
}

func (v *validator) seccomp(s *corev1.SeccompProfile, p *field.Path) {
	if s == nil {
		return
	}
	oneOf(v, p.Child("type"), s.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	switch local := s.Type == corev1.SeccompProfileTypeLocalhost; {
	case local && s.LocalhostProfile == nil:
		v.required(p.Child("localhostProfile"), "must be set when seccomp type is Localhost")
	case !local && s.LocalhostProfile != nil:
		v.invalid(p.Child("localhostProfile"), *s.LocalhostProfile, "can only be set when seccomp type is Localhost")
	}
}
