package manifest

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxObjectBytes is what the data of a ConfigMap or a Secret may hold.
const maxObjectBytes = 1 << 20

func (v *validator) configMap(c *corev1.ConfigMap) {
	v.namespace(&c.ObjectMeta)
	total := 0
	for _, key := range sortedKeys(c.Data) {
		v.all(field.NewPath("data").Key(key), key, validation.IsConfigMapKey(key))
		total += len(c.Data[key])
	}
	for _, key := range sortedKeys(c.BinaryData) {
		p := field.NewPath("binaryData").Key(key)
		v.all(p, key, validation.IsConfigMapKey(key))
		if _, ok := c.Data[key]; ok {
			v.invalid(p, key, "duplicate of key present in data")
		}
		total += len(c.BinaryData[key])
	}
	v.size(total, "data")
}

func (v *validator) secret(s *corev1.Secret) {
	v.namespace(&s.ObjectMeta)
	total := 0
	for _, key := range sortedKeys(s.Data) {
		v.all(field.NewPath("data").Key(key), key, validation.IsConfigMapKey(key))
		total += len(s.Data[key])
	}
	v.size(total, "data")
}

func (v *validator) size(total int, name string) {
	if total > maxObjectBytes {
		v.add(field.TooLong(field.NewPath(name), "", maxObjectBytes))
	}
}

func (v *validator) service(s *corev1.Service) {
	v.namespace(&s.ObjectMeta)
	p := field.NewPath("spec")
	oneOf(v, p.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)
	if ip := s.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
		v.ip(p.Child("clusterIP"), ip)
	}
	names := map[string]bool{}
	for i, port := range s.Spec.Ports {
		p := p.Child("ports").Index(i)
		v.all(p.Child("port"), port.Port, validation.IsValidPortNum(int(port.Port)))
		oneOf(v, p.Child("protocol"), port.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
		switch {
		case port.Name == "" && len(s.Spec.Ports) > 1:
			v.required(p.Child("name"), "")
		case port.Name != "" && names[port.Name]:
			v.add(field.Duplicate(p.Child("name"), port.Name))
		case port.Name != "":
			v.all(p.Child("name"), port.Name, validation.IsDNS1123Label(port.Name))
		}
		names[port.Name] = true
	}
}
