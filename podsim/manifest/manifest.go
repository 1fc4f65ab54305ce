package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/manifest/strict"
)

// A Manifest is what one file, or one tree of YAML, holds. The zero value holds nothing.
type Manifest struct {
	// Resources are the ConfigMaps, Secrets and Services, defaulted and validated.
	Resources Resources

	candidates []candidate
	file       string
}

// A candidate is a document that holds a pod. It is judged only when it is chosen, so that a file may hold
// others that podsim could not run.
type candidate struct {
	src   *diag.Source
	node  *yaml.Node
	index *strict.Index
	kind  string
	pod   *corev1.Pod
	path  string // of the template: "" for a Pod
}

// Parse reads all documents of a source. What cannot be read is in the list; the rest is in the manifest, which
// is never nil.
func Parse(src *diag.Source) (*Manifest, diag.List) {
	m := &Manifest{file: src.File}
	roots, found := src.Parse()
	for _, root := range roots {
		found = append(found, m.document(src, root)...)
	}
	return m, found.Sort()
}

// FromNode reads one document, or a list of documents, that is part of another file: a scenario's inline pod. The
// tree must come from src.Parse.
func FromNode(src *diag.Source, n *yaml.Node) (*Manifest, diag.List) {
	m := &Manifest{file: src.File}
	if n.Kind != yaml.SequenceNode {
		return m, m.document(src, n).Sort()
	}
	var found diag.List
	for _, item := range n.Content {
		found = append(found, m.document(src, item)...)
	}
	return m, found.Sort()
}

// document reads one document into m.
func (m *Manifest) document(src *diag.Source, n *yaml.Node) diag.List {
	if n.Kind != yaml.MappingNode {
		return diag.List{src.ErrorAt(n, "want a Kubernetes object, this is a %s", diag.KindName(n))}
	}
	_, name := diag.Lookup(n, "kind")
	if name == nil || name.Kind != yaml.ScalarNode || name.Value == "" {
		return diag.List{src.ErrorAt(n, "kind: Required value: podsim reads %s", strings.Join(KindNames(), ", "))}
	}
	if name.Value == "List" {
		return m.list(src, n)
	}
	k, ok := kinds[name.Value]
	if !ok {
		return unknownKind(src, name)
	}
	if bad := wrongVersion(src, n, name.Value, k.apiVersion); bad != nil {
		return bad
	}
	object := k.object()
	index, found := strict.Decode(src, n, object)
	if k.pod != nil {
		pod, path := k.pod(object)
		m.candidates = append(m.candidates, candidate{src: src, node: n, index: index, kind: name.Value, pod: pod, path: path})
		return found
	}
	found = append(found, m.prepare(src, index, object)...)
	k.add(m, object)
	return found
}

// list reads the items of a List (VL-06).
func (m *Manifest) list(src *diag.Source, n *yaml.Node) diag.List {
	found := wrongVersion(src, n, "List", "v1")
	known := []string{"apiVersion", "items", "kind", "metadata"}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; !slices.Contains(known, key.Value) {
			d := src.ErrorAt(key, "unknown field %q in a List", key.Value)
			d.Suggestion = diag.Nearest(key.Value, known)
			found = append(found, d)
		}
	}
	_, items := diag.Lookup(n, "items")
	if items == nil || items.Kind != yaml.SequenceNode {
		return append(found, src.ErrorAt(n, "items: Required value: want the list of the List's objects"))
	}
	for _, item := range items.Content {
		found = append(found, m.document(src, item)...)
	}
	return found
}

func unknownKind(src *diag.Source, name *yaml.Node) diag.List {
	if slices.Contains(meaningless, name.Value) {
		return nil
	}
	d := src.ErrorAt(name, "podsim does not read the kind %q; it reads %s", name.Value, strings.Join(KindNames(), ", "))
	d.Suggestion = diag.Nearest(name.Value, KindNames())
	return diag.List{d}
}

func wrongVersion(src *diag.Source, n *yaml.Node, kind, want string) diag.List {
	_, v := diag.Lookup(n, "apiVersion")
	switch {
	case v == nil:
		return diag.List{src.ErrorAt(n, "apiVersion: Required value: want %s for a %s", want, kind)}
	case v.Kind != yaml.ScalarNode || v.Value != want:
		return diag.List{src.ErrorAt(v, "apiVersion: Unsupported value: %q: want %s for a %s", v.Value, want, kind)}
	}
	return nil
}

// prepare defaults and validates a resource.
func (m *Manifest) prepare(src *diag.Source, index *strict.Index, object any) diag.List {
	var v validator
	taken := func(meta *metav1.ObjectMeta, kind string, exists bool) {
		v.objectName(&meta.Name, meta.GenerateName)
		if exists {
			v.errs = append(v.errs, duplicateObject(kind, meta.Name))
		}
	}
	switch o := object.(type) {
	case *corev1.ConfigMap:
		taken(&o.ObjectMeta, "ConfigMap", m.Resources.ConfigMap(o.Namespace, o.Name) != nil)
		v.configMap(o)
	case *corev1.Secret:
		taken(&o.ObjectMeta, "Secret", m.Resources.Secret(o.Namespace, o.Name) != nil)
		defaultSecret(o)
		v.secret(o)
	case *corev1.Service:
		taken(&o.ObjectMeta, "Service", slices.ContainsFunc(m.Resources.Services, func(s *corev1.Service) bool {
			return s.Name == o.Name && visible(s.Namespace, o.Namespace)
		}))
		defaultService(o)
		v.service(o)
	}
	return v.list(src, index)
}
