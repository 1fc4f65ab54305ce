package manifest

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podsim/podsim/podsim/pod"
)

// Default fills in what an API server fills in, of what podsim acts on. It is idempotent, and keeps what is set.
//
// Rules: RP-01, PB-01, PB-02, IM-01, RS-01, VO-05, VO-18, NW-12, CM-07, VL-05.
func Default(p *corev1.Pod) {
	orSet(&p.Namespace, corev1.NamespaceDefault)
	spec := &p.Spec
	orSet(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	orSet(&spec.DNSPolicy, corev1.DNSClusterFirst)
	orSet(&spec.SchedulerName, corev1.DefaultSchedulerName)
	orSet(&spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	orSet(&spec.ServiceAccountName, "default")
	orPoint(&spec.SecurityContext, corev1.PodSecurityContext{})
	orPoint(&spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	orPoint(&spec.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	if *spec.TerminationGracePeriodSeconds < 0 { // VL-05
		*spec.TerminationGracePeriodSeconds = 1
	}
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
	for i := range spec.InitContainers {
		defaultContainer(&spec.InitContainers[i], spec.HostNetwork)
	}
	for i := range spec.Containers {
		defaultContainer(&spec.Containers[i], spec.HostNetwork)
	}
	orSet(&p.Status.QOSClass, qosClass(p))
}

func defaultContainer(c *corev1.Container, hostNetwork bool) {
	c.ImagePullPolicy = pod.PullPolicy(c.Image, c.ImagePullPolicy)
	orSet(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	orSet(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	for i := range c.Ports {
		orSet(&c.Ports[i].Protocol, corev1.ProtocolTCP)
		if hostNetwork { // NW-12
			orSet(&c.Ports[i].HostPort, c.Ports[i].ContainerPort)
		}
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			defaultFieldRef(from.FieldRef)
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		defaultProbe(p)
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
	roundUp(c.Resources.Limits)
	roundUp(c.Resources.Requests)
	for name, limit := range c.Resources.Limits { // RS-01
		if _, ok := c.Resources.Requests[name]; !ok {
			if c.Resources.Requests == nil {
				c.Resources.Requests = corev1.ResourceList{}
			}
			c.Resources.Requests[name] = limit.DeepCopy()
		}
	}
}

// roundUp keeps whole thousandths, as the API server does.
func roundUp(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	orSet(&p.TimeoutSeconds, 1)
	orSet(&p.PeriodSeconds, 10)
	orSet(&p.SuccessThreshold, 1)
	orSet(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		orPoint(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(h *corev1.HTTPGetAction) {
	if h != nil {
		orSet(&h.Path, "/")
		orSet(&h.Scheme, corev1.URISchemeHTTP)
	}
}

func defaultFieldRef(f *corev1.ObjectFieldSelector) {
	if f != nil {
		orSet(&f.APIVersion, "v1")
	}
}

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) { // VO-18
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil {
		orPoint(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.ConfigMap != nil {
		orPoint(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if v.Secret != nil {
		orPoint(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if v.DownwardAPI != nil {
		orPoint(&v.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownward(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		orPoint(&v.Projected.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
		for _, s := range v.Projected.Sources {
			if s.DownwardAPI != nil {
				defaultDownward(s.DownwardAPI.Items)
			}
			if s.ServiceAccountToken != nil {
				orPoint(&s.ServiceAccountToken.ExpirationSeconds, int64(3600))
			}
		}
	}
}

func defaultDownward(items []corev1.DownwardAPIVolumeFile) {
	for _, item := range items {
		defaultFieldRef(item.FieldRef)
	}
}

// defaultSecret moves stringData into data, where it wins, and sets the type.
func defaultSecret(s *corev1.Secret) {
	orSet(&s.Type, corev1.SecretTypeOpaque)
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

func defaultService(s *corev1.Service) {
	orSet(&s.Spec.Type, corev1.ServiceTypeClusterIP)
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		orSet(&p.Protocol, corev1.ProtocolTCP)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

// orSet sets what is zero.
func orSet[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// orPoint points at value what is nil.
func orPoint[T any](v **T, value T) {
	if *v == nil {
		*v = &value
	}
}
