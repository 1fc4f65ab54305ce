package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/manifest/strict"
	"github.com/podsim/podsim/podsim/pod"
)

// A validator collects what is wrong with an object, in the API server's words. The zero value is ready for an
// object that is a whole document; root is the path of one that is part of it (a pod template).
//
// Its methods are named by what they look at and are spread over the validate_*.go files.
type validator struct {
	root    string
	spec    *corev1.PodSpec // of the pod being validated
	kubelet pod.Kubelet     // whose feature gates count
	dropped []string        // fields that were, since their gates are off

	errs     field.ErrorList
	near     map[*field.Error]string // the right name nearest to a wrong one
	warnings field.ErrorList
}

func (v *validator) add(err *field.Error) { v.errs = append(v.errs, err) }

func (v *validator) required(p *field.Path, detail string) { v.add(field.Required(p, detail)) }

func (v *validator) invalid(p *field.Path, value any, detail string) {
	v.add(field.Invalid(p, value, detail))
}

func (v *validator) forbidden(p *field.Path, detail string) { v.add(field.Forbidden(p, detail)) }

// all adds one Invalid for each message.
func (v *validator) all(p *field.Path, value any, messages []string) {
	for _, m := range messages {
		v.invalid(p, value, m)
	}
}

// suggest gives the newest error the nearest of the right names.
func (v *validator) suggest(word string, names []string) {
	if v.near == nil {
		v.near = map[*field.Error]string{}
	}
	v.near[v.errs[len(v.errs)-1]] = diag.Nearest(word, names)
}

// notFound reports a reference to something that is not there.
func (v *validator) notFound(p *field.Path, name string, names []string) {
	v.add(field.NotFound(p, name))
	v.suggest(name, names)
}

// warn reports what the API server warns of. It is written "path: message".
func (v *validator) warn(p *field.Path, format string, args ...any) {
	v.warnings = append(v.warnings, &field.Error{Field: p.String(), Detail: fmt.Sprintf(format, args...)})
}

// oneOf reports a value that is none of an enum's. An empty one counts as such.
func oneOf[T ~string](v *validator, p *field.Path, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	v.add(field.NotSupported(p, value, allowed))
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	v.suggest(string(value), names)
}

// label wants a DNS label, as the names of containers and volumes are (VL-01, VL-02).
func (v *validator) label(p *field.Path, name string) {
	if name == "" {
		v.required(p, "")
		return
	}
	v.all(p, name, validation.IsDNS1123Label(name))
}

// noBacksteps wants a path without "..".
func (v *validator) noBacksteps(p *field.Path, path string) {
	if slices.Contains(strings.Split(path, "/"), "..") {
		v.invalid(p, path, "must not contain '..'")
	}
}

// mode wants permission bits.
func (v *validator) mode(p *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		v.invalid(p, *mode, "must be a number between 0 and 0777 (octal), both inclusive")
	}
}

// objectName checks metadata.name, and gives an object that has only a generateName its name.
func (v *validator) objectName(name *string, generateName string) {
	p := field.NewPath("metadata", "name")
	if *name == "" && generateName != "" {
		*name = generateName + "podsim"
	}
	if *name == "" {
		v.required(p, "name or generateName is required")
		return
	}
	v.all(p, *name, validation.IsDNS1123Subdomain(*name))
}

// namespace wants a DNS label where one is set.
func (v *validator) namespace(meta *metav1.ObjectMeta) {
	if meta.Namespace != "" {
		v.all(field.NewPath("metadata", "namespace"), meta.Namespace, validation.IsDNS1123Label(meta.Namespace))
	}
}

// list gives what was found its places in the file, and leaves out what follows from a value of the wrong type.
func (v *validator) list(src *diag.Source, index *strict.Index) diag.List {
	var found diag.List
	for _, e := range v.errs {
		if index.Bad(e.Field) {
			continue
		}
		d := src.ErrorAt(index.Node(e.Field), "%s", e.Error())
		d.Suggestion = v.near[e]
		found = append(found, d)
	}
	for _, w := range v.warnings {
		found = append(found, src.WarningAt(index.Node(w.Field), "%s: %s", w.Field, w.Detail))
	}
	return found
}

func duplicateObject(kind, name string) *field.Error {
	return &field.Error{Type: field.ErrorTypeDuplicate, Field: "metadata.name", BadValue: name,
		Detail: "there is already a " + kind + " of that name"}
}

// sortedKeys makes the order of findings about maps the same each time.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
