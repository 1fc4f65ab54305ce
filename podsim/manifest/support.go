package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/manifest/strict"
)

// Support says what podsim does with a field of a pod.
type Support uint8

// What may become of a field.
const (
	_ Support = iota
	// Acts: the field has the effect that it has in a cluster.
	Acts
	// Meaningless: the field is accepted and says nothing here: it places the pod on a node, or is filled in by
	// an API server.
	Meaningless
	// Unsupported: the field would change the pod, and podsim does not act on it. Setting it is an error in
	// scenarios and a warning elsewhere.
	Unsupported
)

var supportNames = [...]string{Acts: "acts", Meaningless: "meaningless", Unsupported: "unsupported"}

// Supports lists the values in order.
func Supports() []Support { return []Support{Acts, Meaningless, Unsupported} }

func (s Support) String() string {
	if s > 0 && int(s) < len(supportNames) {
		return supportNames[s]
	}
	return fmt.Sprintf("Support(%d)", uint8(s))
}

// MarshalText gives the name.
func (s Support) MarshalText() ([]byte, error) {
	if s == 0 || int(s) >= len(supportNames) {
		return nil, fmt.Errorf("no such support: %d", s)
	}
	return []byte(supportNames[s]), nil
}

// UnmarshalText reads the name.
func (s *Support) UnmarshalText(text []byte) error {
	if i := slices.Index(supportNames[:], string(text)); i > 0 {
		*s = Support(i)
		return nil
	}
	return fmt.Errorf("no such support: %q", text)
}

// A FieldSupport is one row of the table of fields.
type FieldSupport struct {
	// Field is the Go type that declares the field and its json name: "Container.stdin".
	Field   string
	Support Support
	// Note says why a field is not acted on, or what is particular about one that is.
	Note string
	// Only are the values, or the keys of a map, that podsim acts on, where it does not act on all.
	Only []string
}

var fieldTable = func() map[string]FieldSupport {
	table := make(map[string]FieldSupport, len(fields))
	for _, f := range fields {
		table[f.Field] = f
	}
	return table
}()

// Fields is the table of what podsim does with each field of a pod, in the order of the documentation. Fields
// below one that it does not act on are not listed.
func Fields() []FieldSupport { return slices.Clone(fields) }

// unsupported reports the fields that a document sets and podsim does not act on. path is that of the pod
// template, "" for a pod; what is dropped is as if it were not set.
func unsupported(src *diag.Source, index *strict.Index, path string, dropped []string, opts Options) diag.List {
	var (
		found diag.List
		done  = "\x00" // the path of the last field whose parts need no look
	)
	for _, f := range index.Fields {
		if under(f.Path, done) {
			continue
		}
		if path != "" && !under(f.Path, path) {
			if f.Owner == "StatefulSetSpec" && f.Name == "volumeClaimTemplates" {
				found = append(found, notActedOn(src, f.Key, f.Path, noStorage, opts))
			}
			continue
		}
		row, ok := fieldTable[f.Owner+"."+f.Name]
		switch {
		case slices.Contains(dropped, f.Path):
			done = f.Path
		case !ok: // a field of the controller's own: what it does to the template is settled by its kind
		case row.Support == Meaningless:
			done = f.Path
		case row.Support == Unsupported:
			done = f.Path
			if set(f.Value) || defaultsToTrue[row.Field] && isFalse(f.Value) {
				found = append(found, notActedOn(src, f.Key, f.Path, row.Note, opts))
			}
		case row.Only != nil:
			for _, n := range notAmong(f.Value, row.Only) {
				note := fmt.Sprintf("%s: only %s", n.Value, strings.Join(row.Only, ", "))
				if row.Note != "" {
					note += "; " + row.Note
				}
				found = append(found, notActedOn(src, n, f.Path, note, opts))
			}
		case row.Field == sizeLimitField && set(f.Value) && !inMemory(index, f.Path):
			found = append(found, notActedOn(src, f.Key, f.Path, "it bounds an emptyDir of the medium Memory only; on disk nothing measures it, and the pod is not evicted", opts))
		}
	}
	return found
}

// sizeLimitField is acted on where the medium beside it is Memory: a tmpfs has a size. On disk a kubelet measures, and
// evicts the pod.
const sizeLimitField = "EmptyDirVolumeSource.sizeLimit"

// inMemory reports whether the emptyDir whose size limit is at path has the medium Memory.
func inMemory(index *strict.Index, path string) bool {
	medium := strings.TrimSuffix(path, "sizeLimit") + "medium"
	return index.Has(medium) && index.Node(medium).Value == string(corev1.StorageMediumMemory)
}

func notActedOn(src *diag.Source, n *yaml.Node, path, note string, opts Options) diag.Diagnostic {
	d := src.ErrorAt(n, "%s: podsim does not act on this field: %s", path, note)
	if !opts.Strict {
		d.Severity = diag.Warning
	}
	return d
}

// under reports whether path is root or a part of it.
func under(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// set reports whether a value differs from leaving the field out.
func set(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return n.Kind == yaml.MappingNode || len(n.Content) > 0
	}
	switch n.ShortTag() {
	case "!!null":
		return false
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	}
	return n.Value != "" && n.Value != "0"
}

// defaultsToTrue are the fields that are not acted on of which false is the value that would change the pod.
var defaultsToTrue = map[string]bool{"PodSpec.hostUsers": true}

func isFalse(n *yaml.Node) bool {
	return n.ShortTag() == "!!bool" && strings.EqualFold(n.Value, "false")
}

// notAmong gives the scalar, the items or the keys that are none of those allowed. An allowed word that ends in
// "*" stands for all that begin with it.
func notAmong(n *yaml.Node, allowed []string) []*yaml.Node {
	nodes := n.Content
	switch n.Kind {
	case yaml.ScalarNode:
		nodes = []*yaml.Node{n}
	case yaml.MappingNode:
		nodes = nil
		for i := 0; i < len(n.Content); i += 2 {
			nodes = append(nodes, n.Content[i])
		}
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n *yaml.Node) bool {
		return n.Value == "" || n.Kind != yaml.ScalarNode || slices.ContainsFunc(allowed, func(a string) bool {
			if prefix, ok := strings.CutSuffix(a, "*"); ok {
				return strings.HasPrefix(n.Value, prefix)
			}
			return n.Value == a
		})
	})
}

// FieldsMarkdown is the documentation of the table: FIELDS.md.
func FieldsMarkdown() []byte {
	var b strings.Builder
	b.WriteString("# What podsim does with each field of a pod\n\n")
	b.WriteString("Written by `go test ./podsim/manifest -update` from the table in fields.go; a test compares it with the table,\n")
	fmt.Fprintf(&b, "and the table with %T, field by field.\n\n", corev1.Pod{})
	b.WriteString("A field that is set and **not acted on** is an error in a scenario, and a warning with file, line and column in\n`podsim run`. What is below such a field is not listed.\n")
	for _, s := range Supports() {
		fmt.Fprintf(&b, "\n## %s\n\n| field | |\n|---|---|\n", map[Support]string{
			Acts: "Acted on", Meaningless: "Accepted, and without a meaning here", Unsupported: "Not acted on"}[s])
		for _, f := range fields {
			if f.Support != s {
				continue
			}
			note := f.Note
			if f.Only != nil {
				note = strings.TrimSuffix("only `"+strings.Join(f.Only, "`, `")+"`; "+note, "; ")
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.Field, note)
		}
	}
	return []byte(b.String())
}
