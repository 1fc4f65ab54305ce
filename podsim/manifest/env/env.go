package env

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest/reference"
)

// CreateContainerConfigError is the reason of a container that waits because its configuration cannot be made.
const CreateContainerConfigError = "CreateContainerConfigError"

// An Error is why a container's environment, or something expanded in it, cannot be made. Kubernetes tries again
// for as long as the pod lives: the ConfigMap may come (CM-05).
type Error struct {
	// Reason is that of the waiting state: always CreateContainerConfigError.
	Reason  string
	Message string
}

func (e *Error) Error() string { return e.Message }

func errorf(format string, args ...any) error {
	return &Error{Reason: CreateContainerConfigError, Message: fmt.Sprintf(format, args...)}
}

// An Env is a container's environment. The zero value is an empty one.
type Env struct {
	names  []string // in the order of their definition
	values map[string]string
}

// Of works out the environment that f gives the container: the Services' variables, then envFrom, then env, where
// the later wins (CM-02..05, CM-07, DW-01, DW-04).
func Of(f Facts, c *corev1.Container) (Env, error) {
	e := Env{values: map[string]string{}}
	for _, source := range c.EnvFrom {
		if err := e.from(f, source); err != nil {
			return Env{}, err
		}
	}
	services := serviceVariables(f)
	if f.Hostname != "" {
		services["HOSTNAME"] = f.Hostname
	}
	for _, v := range c.Env {
		value, ok, err := e.value(f, c, v, services)
		if err != nil {
			return Env{}, err
		}
		if ok {
			e.set(v.Name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if _, ok := e.values[name]; !ok {
			e.set(name, services[name])
		}
	}
	for _, name := range e.names {
		if strings.ContainsRune(e.values[name], 0) {
			return Env{}, errorf("environment variable %s holds a NUL byte, which no environment can", name)
		}
	}
	return e, nil
}

// Lookup gives a variable's value.
func (e Env) Lookup(name string) (string, bool) {
	v, ok := e.values[name]
	return v, ok
}

// Strings gives the environment as NAME=value, each name once, the same each time.
func (e Env) Strings() []string {
	out := make([]string, len(e.names))
	for i, name := range e.names {
		out[i] = name + "=" + e.values[name]
	}
	return out
}

// Expand replaces each $(NAME) of s that is defined; what is not stays as it is, and $$ is a plain $ (CM-02).
func (e Env) Expand(s string) string {
	return reference.Expand(s, e.Lookup)
}

// ExpandAll expands each of a command's words. nil stays nil: the image's own command is then meant (CM-01).
func (e Env) ExpandAll(words []string) []string {
	if words == nil {
		return nil
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = e.Expand(w)
	}
	return out
}

// SubPath expands a subPathExpr (VO-12). A variable that is not defined is an error, and so is a result that would
// leave the volume.
func (e Env) SubPath(expr string) (string, error) {
	var missing []string
	sub := reference.Expand(expr, func(name string) (string, bool) {
		v, ok := e.Lookup(name)
		if !ok {
			missing = append(missing, name)
		}
		return v, ok
	})
	switch {
	case len(missing) > 0:
		return "", errorf("missing value for %q", missing[0])
	case path.IsAbs(sub):
		return "", errorf("error SubPath `%s` must not be an absolute path", sub)
	case slices.Contains(strings.Split(sub, "/"), ".."):
		return "", errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
	}
	return sub, nil
}

func (e *Env) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// from adds all keys of a ConfigMap or a Secret, in their alphabet's order (CM-04).
func (e *Env) from(f Facts, source corev1.EnvFromSource) error {
	data := map[string]string{}
	ns := f.Pod.Namespace
	switch {
	case source.ConfigMapRef != nil:
		cm := f.Resources.ConfigMap(ns, source.ConfigMapRef.Name)
		if cm == nil {
			return missing("configmap", source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
		}
		maps.Copy(data, cm.Data)
	case source.SecretRef != nil:
		s := f.Resources.Secret(ns, source.SecretRef.Name)
		if s == nil {
			return missing("secret", source.SecretRef.Name, source.SecretRef.Optional)
		}
		for k, v := range s.Data {
			data[k] = string(v)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		e.set(source.Prefix+key, data[key])
	}
	return nil
}

// missing is nil where the object may be missing.
func missing(kind, name string, optional *bool) error {
	if optional != nil && *optional {
		return nil
	}
	return errorf("%s %q not found", kind, name)
}

// value works out one variable; false leaves it undefined, as an optional reference to nothing does.
func (e *Env) value(f Facts, c *corev1.Container, v corev1.EnvVar, services map[string]string) (string, bool, error) {
	from := v.ValueFrom
	if from == nil || v.Value != "" {
		known := func(name string) (string, bool) { // only what comes before it (CM-03)
			if value, ok := e.values[name]; ok {
				return value, true
			}
			value, ok := services[name]
			return value, ok
		}
		return reference.Expand(v.Value, known), true, nil
	}
	switch ns := f.Pod.Namespace; {
	case from.FieldRef != nil:
		value, err := f.Field(from.FieldRef.FieldPath)
		if err != nil {
			return "", false, errorf("environment variable %s: %v", v.Name, err)
		}
		return value, true, nil
	case from.ResourceFieldRef != nil:
		value, err := f.Resource(from.ResourceFieldRef, c.Name)
		if err != nil {
			return "", false, errorf("environment variable %s: %v", v.Name, err)
		}
		return value, true, nil
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		cm := f.Resources.ConfigMap(ns, r.Name)
		if cm == nil {
			return "", false, missing("configmap", r.Name, r.Optional)
		}
		value, ok := cm.Data[r.Key]
		return value, ok, missingKey(ok, r.Key, "ConfigMap", ns, r.Name, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		s := f.Resources.Secret(ns, r.Name)
		if s == nil {
			return "", false, missing("secret", r.Name, r.Optional)
		}
		value, ok := s.Data[r.Key]
		return string(value), ok, missingKey(ok, r.Key, "Secret", ns, r.Name, r.Optional)
	}
	return "", false, errorf("environment variable %s: podsim does not act on its source", v.Name)
}

func missingKey(found bool, key, kind, namespace, name string, optional *bool) error {
	if found || optional != nil && *optional {
		return nil
	}
	return errorf("couldn't find key %s in %s %s/%s", key, kind, namespace, name)
}
