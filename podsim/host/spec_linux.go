package host

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// A place is what a container is made of besides its own fields: what its pod has on this machine.
type place struct {
	cgroup     string
	namespaces ctrd.Namespaces
	mounts     []ctrd.Mount // volumes, /etc/hosts and the like
	env        []string
	command    []string // expanded (CM-02)
	args       []string
	image      ctrd.Image
	user       ctrd.User
}

// containerSpec says how a container runs. It is a pure function.
func containerSpec(p *corev1.Pod, c *corev1.Container, at place) (ctrd.Spec, error) {
	sc := securityOf(p, c)
	s := ctrd.Spec{
		Args:            commandLine(at),
		Env:             imageEnv(at),
		Cwd:             c.WorkingDir,
		User:            at.user,
		TTY:             c.TTY,
		Privileged:      is(sc.Privileged),
		ReadonlyRoot:    is(sc.ReadOnlyRootFilesystem),
		NoNewPrivileges: sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		Unmasked:        sc.ProcMount != nil && *sc.ProcMount == corev1.UnmaskedProcMount,
		Resources:       resourcesOf(c),
		OOMScoreAdj:     oomScoreAdj(p),
		Mounts:          at.mounts,
		Namespaces:      at.namespaces,
		Cgroup:          at.cgroup,
	}
	if s.Cwd == "" { // CM-09
		s.Cwd = at.image.WorkingDir
	}
	if sc.Capabilities != nil {
		for _, name := range sc.Capabilities.Add {
			s.CapAdd = append(s.CapAdd, string(name))
		}
		for _, name := range sc.Capabilities.Drop {
			s.CapDrop = append(s.CapDrop, string(name))
		}
	}
	if sc.SeccompProfile != nil && sc.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault { // NS-09
		s.Seccomp.Mode = ctrd.SeccompRuntimeDefault
	}
	if len(s.Args) == 0 {
		return s, &ctrd.RuntimeError{Op: "create", Message: fmt.Sprintf("no command specified: neither the container nor image %s names one", c.Image)}
	}
	return s, nil
}

// commandLine joins what the container says with what its image says (CM-01).
func commandLine(at place) []string {
	switch {
	case len(at.command) > 0:
		return slices.Concat(at.command, at.args)
	case len(at.args) > 0:
		return slices.Concat(at.image.Entrypoint, at.args)
	}
	return slices.Concat(at.image.Entrypoint, at.image.Cmd)
}

// imageEnv is the image's environment, overridden by the container's.
func imageEnv(at place) []string {
	named := make(map[string]bool, len(at.env))
	for _, e := range at.env {
		named[envName(e)] = true
	}
	var out []string
	for _, e := range at.image.Env {
		if !named[envName(e)] {
			out = append(out, e)
		}
	}
	return append(out, at.env...)
}

func envName(e string) string {
	for i := range len(e) {
		if e[i] == '=' {
			return e[:i]
		}
	}
	return e
}

// securityOf is a container's security context, the pod's filled in field by field where it has none (NS-02).
func securityOf(p *corev1.Pod, c *corev1.Container) corev1.SecurityContext {
	var sc corev1.SecurityContext
	if c.SecurityContext != nil {
		sc = *c.SecurityContext
	}
	psc := p.Spec.SecurityContext
	if psc == nil {
		return sc
	}
	if sc.RunAsUser == nil {
		sc.RunAsUser = psc.RunAsUser
	}
	if sc.RunAsGroup == nil {
		sc.RunAsGroup = psc.RunAsGroup
	}
	if sc.RunAsNonRoot == nil {
		sc.RunAsNonRoot = psc.RunAsNonRoot
	}
	if sc.SeccompProfile == nil {
		sc.SeccompProfile = psc.SeccompProfile
	}
	return sc
}

// userRequest is who a container asks to run as (NS-03).
func userRequest(p *corev1.Pod, c *corev1.Container, img ctrd.Image) ctrd.UserRequest {
	sc := securityOf(p, c)
	r := ctrd.UserRequest{Image: img.User, UID: sc.RunAsUser, GID: sc.RunAsGroup}
	if psc := p.Spec.SecurityContext; psc != nil {
		r.Groups = slices.Clone(psc.SupplementalGroups)
		if psc.FSGroup != nil { // VO-03
			r.Groups = append(r.Groups, *psc.FSGroup)
		}
		r.Strict = psc.SupplementalGroupsPolicy != nil && *psc.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict
	}
	return r
}

// checkNonRoot keeps runAsNonRoot (NS-04), in the kubelet's words.
func checkNonRoot(p *corev1.Pod, c *corev1.Container, img ctrd.Image) error {
	sc := securityOf(p, c)
	if !is(sc.RunAsNonRoot) {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", p.Name+"_"+p.Namespace+"("+string(p.UID)+")", c.Name)
	if sc.RunAsUser != nil {
		if *sc.RunAsUser == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
		}
		return nil
	}
	uid, name := img.UID()
	switch {
	case name != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", name, where)
	case uid == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	}
	return nil
}

// The kubelet's arithmetic of shares and quotas: 1024 shares are one CPU, a quota is of 100 ms.
const (
	sharesPerCPU = 1024
	minShares    = 2
	maxShares    = 262144
	quotaPeriod  = 100_000 // microseconds
	minQuota     = 1_000
)

// resourcesOf turns requests and limits into a cgroup's (RS-04).
func resourcesOf(c *corev1.Container) ctrd.Resources {
	r := ctrd.Resources{CPUShares: minShares}
	if milli := quantity(c.Resources.Requests, corev1.ResourceCPU).MilliValue(); milli > 0 {
		r.CPUShares = uint64(min(max(milli*sharesPerCPU/1000, minShares), maxShares))
	}
	if milli := quantity(c.Resources.Limits, corev1.ResourceCPU).MilliValue(); milli > 0 {
		r.CPUPeriod, r.CPUQuota = quotaPeriod, max(milli*quotaPeriod/1000, minQuota)
	}
	r.Memory = quantity(c.Resources.Limits, corev1.ResourceMemory).Value()
	return r
}

func quantity(list corev1.ResourceList, name corev1.ResourceName) *resource.Quantity {
	q := list[name]
	return &q
}

// oomScoreAdj is the kubelet's for the two classes that do not depend on the node's memory (RS-05). A Burstable
// container's would, and podsim has no node: it inherits.
func oomScoreAdj(p *corev1.Pod) *int {
	var score int
	switch p.Status.QOSClass {
	case corev1.PodQOSGuaranteed:
		score = -997
	case corev1.PodQOSBestEffort:
		score = 1000
	default:
		return nil
	}
	return &score
}

// mountsAt reports whether a container mounts something of its own at a path: what podsim adds must not hide it (NW-05).
func mountsAt(c *corev1.Container, destination string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return path.Clean(m.MountPath) == destination })
}

func is(b *bool) bool { return b != nil && *b }
