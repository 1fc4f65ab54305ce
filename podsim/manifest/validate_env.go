package manifest

import (
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podsim/podsim/podsim/pod"
)

// env validates a container's env and envFrom (VL-02, DW-01, DW-04, DW-06). Names may be nearly any printable
// ASCII but '=' (CM-06).
func (v *validator) env(c *corev1.Container, s *corev1.PodSpec, p *field.Path) {
	seen := map[string]bool{}
	for i, e := range c.Env {
		p := p.Child("env").Index(i)
		if e.Name == "" {
			v.required(p.Child("name"), "")
		} else {
			v.all(p.Child("name"), e.Name, v.envName(e.Name))
		}
		if seen[e.Name] && e.Name != "" {
			v.warn(p, "hides previous definition of %q", e.Name)
		}
		seen[e.Name] = true
		if e.ValueFrom != nil {
			v.valueFrom(e, s, p.Child("valueFrom"))
		}
	}
	for i, from := range c.EnvFrom {
		v.envFrom(from, p.Child("envFrom").Index(i))
	}
}

// envName says what is wrong with the name of an environment variable.
func (v *validator) envName(name string) []string {
	if v.kubelet.On(pod.GateRelaxedEnvNames) {
		return validation.IsRelaxedEnvVarName(name)
	}
	return validation.IsEnvVarName(name)
}

func (v *validator) envFrom(from corev1.EnvFromSource, p *field.Path) {
	if from.Prefix != "" {
		v.all(p.Child("prefix"), from.Prefix, v.envName(from.Prefix))
	}
	switch {
	case from.ConfigMapRef == nil && from.SecretRef == nil:
		v.invalid(p, "", "must specify one of: `configMapRef` or `secretRef`")
	case from.ConfigMapRef != nil && from.SecretRef != nil:
		v.invalid(p, "", "may not have more than one field specified at a time")
	case from.ConfigMapRef != nil:
		v.reference(p.Child("configMapRef", "name"), from.ConfigMapRef.Name)
	default:
		v.reference(p.Child("secretRef", "name"), from.SecretRef.Name)
	}
}

func (v *validator) reference(p *field.Path, name string) {
	if name == "" {
		v.required(p, "")
		return
	}
	v.all(p, name, validation.IsDNS1123Subdomain(name))
}

func (v *validator) valueFrom(e corev1.EnvVar, s *corev1.PodSpec, p *field.Path) {
	from, sources := e.ValueFrom, 0
	if f := from.FieldRef; f != nil {
		sources++
		v.fieldRef(f, envFields, p.Child("fieldRef"))
	}
	if r := from.ResourceFieldRef; r != nil {
		sources++
		v.resourceRef(r, s, false, p.Child("resourceFieldRef"))
	}
	if r := from.ConfigMapKeyRef; r != nil {
		sources++
		v.keyRef(r.Name, r.Key, p.Child("configMapKeyRef"))
	}
	if r := from.SecretKeyRef; r != nil {
		sources++
		v.keyRef(r.Name, r.Key, p.Child("secretKeyRef"))
	}
	if from.FileKeyRef != nil {
		sources++ // not acted on: reported as such, and not judged further
	}
	switch {
	case sources == 0:
		v.invalid(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case e.Value != "":
		v.invalid(p, "", "may not be specified when `value` is not empty")
	case sources > 1:
		v.invalid(p, "", "may not have more than one field specified at a time")
	}
}

func (v *validator) keyRef(name, key string, p *field.Path) {
	v.reference(p.Child("name"), name)
	if key == "" {
		v.required(p.Child("key"), "")
		return
	}
	v.all(p.Child("key"), key, validation.IsConfigMapKey(key))
}

// The fields that the downward API knows in the environment (DW-01) and in volumes (DW-02); labels and
// annotations by their key are known in both.
var (
	envFields = []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
		"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
	volumeFields = []string{"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"}
	// resourceFields are the resources that it knows (DW-04), huge pages apart.
	resourceFields = []string{"limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.ephemeral-storage"}
	subscripted = regexp.MustCompile(`^(.*)\['(.*)'\]$`)
)

func (v *validator) fieldRef(f *corev1.ObjectFieldSelector, known []string, p *field.Path) {
	if f.FieldPath == "" {
		v.required(p.Child("fieldPath"), "")
		return
	}
	if f.APIVersion != "v1" {
		v.invalid(p.Child("fieldPath"), f.FieldPath, "error converting fieldPath: unsupported pod version: "+f.APIVersion)
		return
	}
	if m := subscripted.FindStringSubmatch(f.FieldPath); m != nil {
		switch m[1] {
		case "metadata.annotations":
			v.all(p, m[2], validation.IsQualifiedName(strings.ToLower(m[2])))
		case "metadata.labels":
			v.all(p, m[2], validation.IsQualifiedName(m[2]))
		default:
			v.invalid(p, m[1], "does not support subscript")
		}
		return
	}
	oneOf(v, p.Child("fieldPath"), f.FieldPath, known...)
}

var (
	cpuDivisors  = []string{"1m", "1"}
	byteDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
)

func (v *validator) resourceRef(r *corev1.ResourceFieldSelector, s *corev1.PodSpec, inVolume bool, p *field.Path) {
	switch huge := strings.HasPrefix(r.Resource, "limits.hugepages-") || strings.HasPrefix(r.Resource, "requests.hugepages-"); {
	case inVolume && r.ContainerName == "": // DW-06
		v.required(p.Child("containerName"), "")
	case r.Resource == "":
		v.required(p.Child("resource"), "")
	case !huge:
		oneOf(v, p.Child("resource"), r.Resource, resourceFields...)
	}
	if names := containerNames(s); r.ContainerName != "" && !slices.Contains(names, r.ContainerName) {
		v.notFound(p.Child("containerName"), r.ContainerName, names)
	}
	if r.Divisor.IsZero() {
		return
	}
	divisors := byteDivisors
	if strings.HasSuffix(r.Resource, ".cpu") {
		divisors = cpuDivisors
	}
	if !slices.Contains(divisors, r.Divisor.String()) {
		v.invalid(p.Child("divisor"), r.Divisor.String(), "only divisor's values "+strings.Join(divisors, ", ")+" are supported with the resource "+r.Resource)
	}
}

func containerNames(s *corev1.PodSpec) []string {
	var names []string
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		names = append(names, c.Name)
	}
	return names
}
