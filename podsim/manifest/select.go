package manifest

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
)

// A Select names one of the pods of a manifest. An empty field matches all.
type Select struct {
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
}

// Options say how a pod is judged.
type Options struct {
	// Strict makes a field that podsim does not act on an error; otherwise it is a warning.
	Strict bool
	// Kubelet says which feature gates are on: fields of those that are off are dropped, with a warning, as an API server
	// does it.
	Kubelet pod.Kubelet
}

// Pod gives the one pod that sel fits, defaulted, and everything that was found about it. The pod is the caller's.
// It is nil where none or several fit; where the list has errors it is not fit to be run.
func (m *Manifest) Pod(sel Select, opts Options) (*corev1.Pod, diag.List) {
	var fit []candidate
	for _, c := range m.candidates {
		if (sel.Kind == "" || sel.Kind == c.kind) && (sel.Name == "" || sel.Name == c.name()) {
			fit = append(fit, c)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0].judge(opts)
	case len(m.candidates) == 0:
		return nil, diag.List{{File: m.file, Message: "there is no pod in the file; podsim runs a " + strings.Join(podKinds(), ", a ")}}
	case len(fit) == 0:
		return nil, diag.List{{File: m.file, Message: fmt.Sprintf("no %s in the file; there is %s", sel, m.names(m.candidates))}}
	}
	return nil, diag.List{{File: m.file, Message: fmt.Sprintf(
		"%d pods fit; choose one by select: {kind: ..., name: ...}; there is %s", len(fit), m.names(fit))}}
}

// Pods gives all pods of the manifest, as Pod does. There must be at least one, and no two of one name.
func (m *Manifest) Pods(opts Options) ([]*corev1.Pod, diag.List) {
	if len(m.candidates) == 0 {
		return nil, diag.List{{File: m.file, Message: "there is no pod in the file; podsim runs a " + strings.Join(podKinds(), ", a ")}}
	}
	var pods []*corev1.Pod
	var found diag.List
	for i, c := range m.candidates {
		for _, before := range m.candidates[:i] {
			if before.name() == c.name() && visible(before.pod.Namespace, c.pod.Namespace) {
				found = append(found, diag.Diagnostic{File: m.file, Message: fmt.Sprintf("two pods have one name: %s", m.names([]candidate{before, c}))})
			}
		}
		p, more := c.judge(opts)
		pods, found = append(pods, p), append(found, more...)
	}
	return pods, found.Sort()
}

// String is how messages name what was looked for.
func (s Select) String() string {
	kind := s.Kind
	if kind == "" {
		kind = "pod"
	}
	if s.Name == "" {
		return kind
	}
	return kind + " " + s.Name
}

func (m *Manifest) names(of []candidate) string {
	names := make([]string, len(of))
	for i, c := range of {
		names[i] = fmt.Sprintf("%s %s (%s:%d)", c.kind, c.name(), c.src.File, c.node.Line)
	}
	return strings.Join(names, ", ")
}

func podKinds() []string {
	var names []string
	for _, name := range KindNames() {
		if kinds[name].pod != nil {
			names = append(names, name)
		}
	}
	return names
}

// name is the pod's: its own, or one made from generateName, the same each time.
func (c candidate) name() string {
	if c.pod.Name == "" && c.pod.GenerateName != "" {
		return c.pod.GenerateName + "podsim"
	}
	return c.pod.Name
}

func (c candidate) judge(opts Options) (*corev1.Pod, diag.List) {
	p := c.pod.DeepCopy()
	p.Name = c.name()
	p.TypeMeta.APIVersion, p.TypeMeta.Kind = "v1", "Pod"
	v := validator{root: c.path, kubelet: opts.Kubelet}
	v.dropDisabled(&p.Spec)
	Default(p)
	v.pod(p, kinds[c.kind].restart)
	v.dropImageVolumes(&p.Spec)
	found := unsupported(c.src, c.index, c.path, v.dropped, opts)
	return p, append(found, v.list(c.src, c.index)...).Sort()
}
