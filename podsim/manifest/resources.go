package manifest

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Resources are the objects beside a pod that it may refer to. The zero value holds none.
//
// An object without a namespace is found from every namespace.
type Resources struct {
	ConfigMaps []*corev1.ConfigMap
	Secrets    []*corev1.Secret
	Services   []*corev1.Service
}

// ConfigMap finds a ConfigMap, nil if there is none.
func (r Resources) ConfigMap(namespace, name string) *corev1.ConfigMap {
	return find(r.ConfigMaps, func(o *corev1.ConfigMap) bool { return o.Name == name && visible(o.Namespace, namespace) })
}

// Secret finds a Secret, nil if there is none. Its stringData is already in its data.
func (r Resources) Secret(namespace, name string) *corev1.Secret {
	return find(r.Secrets, func(o *corev1.Secret) bool { return o.Name == name && visible(o.Namespace, namespace) })
}

// ServicesOf gives the Services of a namespace, in the order of the files.
func (r Resources) ServicesOf(namespace string) []*corev1.Service {
	var out []*corev1.Service
	for _, s := range r.Services {
		if visible(s.Namespace, namespace) {
			out = append(out, s)
		}
	}
	return out
}

// Join gives the resources of r and of others, those of r first.
func (r Resources) Join(others ...Resources) Resources {
	out := Resources{slices.Clone(r.ConfigMaps), slices.Clone(r.Secrets), slices.Clone(r.Services)}
	for _, o := range others {
		out.ConfigMaps = append(out.ConfigMaps, o.ConfigMaps...)
		out.Secrets = append(out.Secrets, o.Secrets...)
		out.Services = append(out.Services, o.Services...)
	}
	return out
}

// Replace gives the resources of r with those of o: one of the same namespace and name is replaced, others are added.
func (r Resources) Replace(o Resources) Resources {
	out := r.Join()
	for _, c := range o.ConfigMaps {
		out.ConfigMaps = append(slices.DeleteFunc(out.ConfigMaps, func(have *corev1.ConfigMap) bool {
			return have.Namespace == c.Namespace && have.Name == c.Name
		}), c)
	}
	for _, s := range o.Secrets {
		out.Secrets = append(slices.DeleteFunc(out.Secrets, func(have *corev1.Secret) bool {
			return have.Namespace == s.Namespace && have.Name == s.Name
		}), s)
	}
	return out
}

func visible(of, from string) bool { return of == "" || of == from }

func find[T any](all []*T, is func(*T) bool) *T {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i]
	}
	return nil
}
