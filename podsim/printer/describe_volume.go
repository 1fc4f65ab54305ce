package printer

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

func (d *description) volumes(list []corev1.Volume) {
	if len(list) == 0 {
		d.line(0, "Volumes:\t%s", none)
		return
	}
	d.line(0, "Volumes:")
	for i := range list {
		d.line(1, "%s:", list[i].Name)
		d.volume(&list[i].VolumeSource)
	}
}

func (d *description) volume(v *corev1.VolumeSource) {
	switch {
	case v.HostPath != nil:
		kind := none
		if v.HostPath.Type != nil {
			kind = string(*v.HostPath.Type)
		}
		d.facts("HostPath (bare host directory volume)", "Path", v.HostPath.Path, "HostPathType", kind)
	case v.EmptyDir != nil:
		limit := "<unset>"
		if q := v.EmptyDir.SizeLimit; q != nil && q.Sign() > 0 {
			limit = q.String()
		}
		d.facts("EmptyDir (a temporary directory that shares a pod's lifetime)", "Medium", v.EmptyDir.Medium, "SizeLimit", limit)
	case v.Secret != nil:
		d.facts("Secret (a volume populated by a Secret)", "SecretName", v.Secret.SecretName, "Optional", is(v.Secret.Optional))
	case v.ConfigMap != nil:
		d.facts("ConfigMap (a volume populated by a ConfigMap)", "Name", v.ConfigMap.Name, "Optional", is(v.ConfigMap.Optional))
	case v.DownwardAPI != nil:
		d.facts("DownwardAPI (a volume populated by information about the pod)")
		d.line(2, "Items:")
		for _, item := range v.DownwardAPI.Items {
			d.item(item)
		}
	case v.Projected != nil:
		d.facts("Projected (a volume that contains injected data from multiple sources)")
		for i := range v.Projected.Sources {
			d.projection(&v.Projected.Sources[i])
		}
	case v.Image != nil:
		d.facts("Image (a container image or OCI artifact)", "Reference", v.Image.Reference, "PullPolicy", v.Image.PullPolicy)
	case v.PersistentVolumeClaim != nil:
		d.facts("PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
			"ClaimName", v.PersistentVolumeClaim.ClaimName, "ReadOnly", v.PersistentVolumeClaim.ReadOnly)
	default:
		d.line(1, "<unknown>")
	}
}

// facts writes a volume's type and more of it, names and values by turns.
func (d *description) facts(kind string, more ...any) {
	d.line(2, "Type:\t%s", kind)
	for i := 0; i+1 < len(more); i += 2 {
		d.line(2, "%s", fmt.Sprintf("%v:\t%v", more[i], more[i+1]))
	}
}

func (d *description) item(item corev1.DownwardAPIVolumeFile) {
	if item.FieldRef != nil {
		d.line(3, "%v -> %v", item.FieldRef.FieldPath, item.Path)
	}
	if item.ResourceFieldRef != nil {
		d.line(3, "%v -> %v", item.ResourceFieldRef.Resource, item.Path)
	}
}

func (d *description) projection(s *corev1.VolumeProjection) {
	switch {
	case s.Secret != nil:
		d.line(2, "SecretName:\t%v", s.Secret.Name)
		d.line(2, "Optional:\t%v", is(s.Secret.Optional))
	case s.DownwardAPI != nil:
		d.line(2, "DownwardAPI:\ttrue")
	case s.ConfigMap != nil:
		d.line(2, "ConfigMapName:\t%v", s.ConfigMap.Name)
		d.line(2, "Optional:\t%v", is(s.ConfigMap.Optional))
	case s.ServiceAccountToken != nil && s.ServiceAccountToken.ExpirationSeconds != nil:
		d.line(2, "TokenExpirationSeconds:\t%d", *s.ServiceAccountToken.ExpirationSeconds)
	}
}
