package strict

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// An Index finds the node of a path. Paths are written as the API server does: spec.containers[0].name, and
// metadata.labels[app] for the keys of a map; the root's is "".
type Index struct {
	// Fields are the struct fields that the document sets, in the document's order, parents before children.
	Fields []Field

	at  map[string]place
	bad map[string]bool
}

// A Field is one struct field that a document sets.
type Field struct {
	// Owner is the Go type that declares the field, such as "Container"; Name is its json name.
	Owner, Name string
	Path        string
	Key, Value  *yaml.Node
}

type place struct{ key, value *yaml.Node }

// Has reports whether the document sets path.
func (x *Index) Has(path string) bool {
	_, ok := x.at[path]
	return ok
}

// Bad reports whether path, or something that it is part of, did not fit its type, which Decode has reported. What
// else is wrong with it follows from that.
func (x *Index) Bad(path string) bool {
	for ; path != ""; path = parent(path) {
		if x.bad[path] {
			return true
		}
	}
	return false
}

// Node is where to point for a finding about path: at its value if that is a scalar, at its key otherwise, and
// at the nearest parent if the document does not set path. It is nil only for an empty Index.
func (x *Index) Node(path string) *yaml.Node {
	for {
		if p, ok := x.at[path]; ok {
			if p.key != nil && (p.value.Kind != yaml.ScalarNode || p.value.Value == "" && p.value.Style == 0) {
				return p.key
			}
			return p.value
		}
		if path == "" {
			return nil
		}
		path = parent(path)
	}
}

// parent cuts the last element off a path.
func parent(path string) string {
	if strings.HasSuffix(path, "]") {
		return path[:max(0, strings.LastIndexByte(path, '['))]
	}
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

// under joins a path and a field's name.
func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
