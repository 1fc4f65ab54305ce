package manifest

import (
	"path"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// volumes validates the pod's volumes. Those of kinds that podsim does not act on are reported as such and not
// judged further.
func (v *validator) volumes(volumes []corev1.Volume, p *field.Path) {
	names := map[string]bool{}
	for i := range volumes {
		vol, p := &volumes[i], p.Index(i)
		v.label(p.Child("name"), vol.Name)
		if vol.Name != "" && names[vol.Name] {
			v.add(field.Duplicate(p.Child("name"), vol.Name))
		}
		names[vol.Name] = true
		v.oneSource(vol.VolumeSource, p)
		v.volume(vol, p)
	}
}

// oneSource wants no more than one source; none at all was made an emptyDir (VO-18).
func (v *validator) oneSource(s corev1.VolumeSource, p *field.Path) {
	sources, set := reflect.ValueOf(s), 0
	for i := range sources.NumField() {
		if sources.Field(i).IsNil() {
			continue
		}
		if set++; set > 1 {
			name, _, _ := strings.Cut(sources.Type().Field(i).Tag.Get("json"), ",")
			v.forbidden(p.Child(name), "may not specify more than 1 volume type")
		}
	}
}

func (v *validator) volume(vol *corev1.Volume, p *field.Path) {
	if s := vol.EmptyDir; s != nil {
		if s.SizeLimit != nil && s.SizeLimit.Sign() < 0 {
			v.forbidden(p.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity")
		}
	}
	if s := vol.HostPath; s != nil {
		v.hostPath(s, p.Child("hostPath"))
	}
	if s := vol.ConfigMap; s != nil {
		p := p.Child("configMap")
		v.reference(p.Child("name"), s.Name)
		v.mode(p.Child("defaultMode"), s.DefaultMode)
		v.items(s.Items, p.Child("items"), nil)
	}
	if s := vol.Secret; s != nil {
		p := p.Child("secret")
		v.reference(p.Child("secretName"), s.SecretName)
		v.mode(p.Child("defaultMode"), s.DefaultMode)
		v.items(s.Items, p.Child("items"), nil)
	}
	if s := vol.DownwardAPI; s != nil {
		p := p.Child("downwardAPI")
		v.mode(p.Child("defaultMode"), s.DefaultMode)
		v.downward(s.Items, p.Child("items"), nil)
	}
	if s := vol.Projected; s != nil {
		v.projected(s, p.Child("projected"))
	}
}

func (v *validator) hostPath(s *corev1.HostPathVolumeSource, p *field.Path) {
	switch {
	case s.Path == "":
		v.required(p.Child("path"), "")
	case !path.IsAbs(s.Path):
		v.invalid(p.Child("path"), s.Path, "must be an absolute path")
	}
	v.noBacksteps(p.Child("path"), s.Path)
	if s.Type != nil {
		oneOf(v, p.Child("type"), *s.Type, corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory,
			corev1.HostPathFileOrCreate, corev1.HostPathFile, corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev)
	}
}

// projected validates the sources that are joined in one tree, and that no two claim one path (VO-10).
func (v *validator) projected(s *corev1.ProjectedVolumeSource, p *field.Path) {
	v.mode(p.Child("defaultMode"), s.DefaultMode)
	taken := map[string]bool{}
	for i, source := range s.Sources {
		p := p.Child("sources").Index(i)
		sources := 0
		if c := source.ConfigMap; c != nil {
			sources++
			v.reference(p.Child("configMap", "name"), c.Name)
			v.items(c.Items, p.Child("configMap", "items"), taken)
		}
		if c := source.Secret; c != nil {
			sources++
			v.reference(p.Child("secret", "name"), c.Name)
			v.items(c.Items, p.Child("secret", "items"), taken)
		}
		if c := source.DownwardAPI; c != nil {
			sources++
			v.downward(c.Items, p.Child("downwardAPI", "items"), taken)
		}
		if source.ServiceAccountToken != nil || source.ClusterTrustBundle != nil || source.PodCertificate != nil {
			sources++
		}
		if sources > 1 {
			v.forbidden(p, "may not specify more than 1 volume type per source")
		}
		if sources == 0 {
			v.required(p, "must specify a volume source")
		}
	}
}

// items validates which keys go where. taken holds the paths of a projected volume so far; nil for others.
func (v *validator) items(items []corev1.KeyToPath, p *field.Path, taken map[string]bool) {
	for i, item := range items {
		p := p.Index(i)
		if item.Key == "" {
			v.required(p.Child("key"), "")
		}
		v.filePath(p.Child("path"), item.Path, taken)
		v.mode(p.Child("mode"), item.Mode)
	}
}

func (v *validator) downward(files []corev1.DownwardAPIVolumeFile, p *field.Path, taken map[string]bool) {
	for i, f := range files {
		p := p.Index(i)
		v.filePath(p.Child("path"), f.Path, taken)
		v.mode(p.Child("mode"), f.Mode)
		switch {
		case f.FieldRef != nil && f.ResourceFieldRef != nil:
			v.invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
		case f.FieldRef != nil:
			v.fieldRef(f.FieldRef, volumeFields, p.Child("fieldRef"))
		case f.ResourceFieldRef != nil:
			v.resourceRef(f.ResourceFieldRef, v.spec, true, p.Child("resourceFieldRef"))
		default:
			v.required(p, "one of fieldRef and resourceFieldRef is required")
		}
	}
}

// filePath wants a path below the volume's root that podsim's own "..data" cannot clash with.
func (v *validator) filePath(p *field.Path, file string, taken map[string]bool) {
	switch {
	case file == "":
		v.required(p, "")
		return
	case path.IsAbs(file):
		v.invalid(p, file, "must be a relative path")
	case strings.HasPrefix(file, ".."):
		v.invalid(p, file, "must not start with '..'")
	}
	v.noBacksteps(p, file)
	if taken == nil {
		return
	}
	if taken[path.Clean(file)] {
		v.invalid(p, file, "conflicting duplicate paths")
	}
	taken[path.Clean(file)] = true
}
