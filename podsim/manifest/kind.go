package manifest

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A kind is how podsim reads one kind of document: as something that holds a pod, or as a resource.
type kind struct {
	apiVersion string
	object     func() any // a new object to decode into

	// pod gives the pod that the object holds, and the path of the field it is in ("" for a Pod).
	pod func(object any) (*corev1.Pod, string)
	// restart are the restart policies that the kind allows; nil allows all.
	restart []corev1.RestartPolicy
	// add puts a resource into a manifest; mutually exclusive with pod.
	add func(m *Manifest, object any)
}

var (
	onlyAlways = []corev1.RestartPolicy{corev1.RestartPolicyAlways}
	notAlways  = []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
)

// kinds are the documents that podsim reads, List apart.
var kinds = map[string]kind{
	"Pod": {apiVersion: "v1", object: newOf[corev1.Pod], pod: func(o any) (*corev1.Pod, string) {
		return o.(*corev1.Pod), ""
	}},
	"PodTemplate": template("v1", nil, "template", func(o *corev1.PodTemplate) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		return &o.ObjectMeta, &o.Template
	}),
	"Deployment": template("apps/v1", onlyAlways, "spec.template", func(o *appsv1.Deployment) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		return &o.ObjectMeta, &o.Spec.Template
	}),
	"StatefulSet": template("apps/v1", onlyAlways, "spec.template", func(o *appsv1.StatefulSet) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		addClaims(o)
		return &o.ObjectMeta, &o.Spec.Template
	}),
	"DaemonSet": template("apps/v1", onlyAlways, "spec.template", func(o *appsv1.DaemonSet) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		return &o.ObjectMeta, &o.Spec.Template
	}),
	"ReplicaSet": template("apps/v1", onlyAlways, "spec.template", func(o *appsv1.ReplicaSet) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		return &o.ObjectMeta, &o.Spec.Template
	}),
	"Job": template("batch/v1", notAlways, "spec.template", func(o *batchv1.Job) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		return &o.ObjectMeta, &o.Spec.Template
	}),
	"CronJob": template("batch/v1", notAlways, "spec.jobTemplate.spec.template", func(o *batchv1.CronJob) (*metav1.ObjectMeta, *corev1.PodTemplateSpec) {
		return &o.ObjectMeta, &o.Spec.JobTemplate.Spec.Template
	}),

	"ConfigMap": {apiVersion: "v1", object: newOf[corev1.ConfigMap], add: func(m *Manifest, o any) {
		m.Resources.ConfigMaps = append(m.Resources.ConfigMaps, o.(*corev1.ConfigMap))
	}},
	"Secret": {apiVersion: "v1", object: newOf[corev1.Secret], add: func(m *Manifest, o any) {
		m.Resources.Secrets = append(m.Resources.Secrets, o.(*corev1.Secret))
	}},
	"Service": {apiVersion: "v1", object: newOf[corev1.Service], add: func(m *Manifest, o any) {
		m.Resources.Services = append(m.Resources.Services, o.(*corev1.Service))
	}},
}

// meaningless are kinds that say nothing about how a pod behaves here; they are passed over. A kind that would
// change what the pod sees (NetworkPolicy, LimitRange, PersistentVolumeClaim, ...) is not among them.
var meaningless = []string{
	"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "HorizontalPodAutoscaler", "Ingress",
	"IngressClass", "Namespace", "PodDisruptionBudget", "PriorityClass", "Role", "RoleBinding", "ServiceAccount",
	"ServiceMonitor", "PodMonitor", "StorageClass",
}

// KindNames lists the kinds of documents that podsim reads.
func KindNames() []string {
	names := []string{"List"}
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func newOf[T any]() any { return new(T) }

// addClaims gives a StatefulSet's template the volumes that its controller would: one for each claim template that
// the template does not override.
func addClaims(o *appsv1.StatefulSet) {
	for _, claim := range o.Spec.VolumeClaimTemplates {
		s := &o.Spec.Template.Spec
		if slices.ContainsFunc(s.Volumes, func(v corev1.Volume) bool { return v.Name == claim.Name }) {
			continue
		}
		s.Volumes = append(s.Volumes, corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-" + o.Name + "-0"}}})
	}
}

// template is a kind whose pod is made from a pod template at path.
func template[T any](apiVersion string, restart []corev1.RestartPolicy, path string,
	parts func(*T) (*metav1.ObjectMeta, *corev1.PodTemplateSpec)) kind {
	return kind{apiVersion: apiVersion, object: newOf[T], restart: restart, pod: func(o any) (*corev1.Pod, string) {
		owner, t := parts(o.(*T))
		pod := &corev1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
		pod.Name, pod.GenerateName, pod.Namespace = owner.Name, owner.GenerateName, owner.Namespace
		return pod, path
	}}
}
