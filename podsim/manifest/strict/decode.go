package strict

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/podsim/podsim/podsim/manifest/diag"
)

// Decode sets what into points to from the tree n of src, and says what does not fit. The fields of structs are
// named by their json tags, and embedded structs are part of their parent, as in encoding/json. A null leaves a
// value as it is. A type that implements json.Unmarshaler or encoding.TextUnmarshaler decodes itself.
//
// What fits is set even where something else does not. The tree must come from src.Parse: it holds no aliases.
func Decode(src *diag.Source, n *yaml.Node, into any) (*Index, diag.List) {
	d := decoder{src: src, index: &Index{at: map[string]place{"": {value: n}}, bad: map[string]bool{}}}
	d.set(n, reflect.ValueOf(into).Elem(), "")
	return d.index, d.found
}

type decoder struct {
	src   *diag.Source
	found diag.List
	index *Index
}

func (d *decoder) report(n *yaml.Node, path, format string, args ...any) {
	d.index.bad[path] = true
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	d.found = append(d.found, d.src.ErrorAt(n, "%s", message))
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	quantityType    = reflect.TypeFor[resource.Quantity]()
	bytesType       = reflect.TypeFor[[]byte]()
)

// set decodes n into v, which is settable.
func (d *decoder) set(n *yaml.Node, v reflect.Value, path string) {
	t := v.Type()
	switch {
	case isNull(n):
		return
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.set(n, v.Elem(), path)
		return
	case reflect.PointerTo(t).Implements(jsonUnmarshaler):
		d.unmarshalJSON(n, v, path)
		return
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		d.unmarshalText(n, v, path)
		return
	case t == bytesType:
		d.setBytes(n, v, path)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		d.setStruct(n, v, path)
	case reflect.Map:
		d.setMap(n, v, path)
	case reflect.Slice:
		d.setSlice(n, v, path)
	case reflect.Interface:
		v.Set(reflect.ValueOf(plainValue(n)))
	default:
		d.setScalar(n, v, path)
	}
}

func (d *decoder) setStruct(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.MappingNode, path) {
		return
	}
	fields := fieldsOf(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f, ok := fields[key.Value]
		if !ok {
			d.unknown(key, path, fields)
			continue
		}
		at := under(path, key.Value)
		d.index.at[at] = place{key, value}
		d.index.Fields = append(d.index.Fields, Field{Owner: f.owner, Name: key.Value, Path: at, Key: key, Value: value})
		d.set(value, v.FieldByIndex(f.index), at)
	}
}

func (d *decoder) unknown(key *yaml.Node, path string, fields map[string]structField) {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	where := " in " + path
	if path == "" {
		where = " at the top level"
	}
	found := d.src.ErrorAt(key, "unknown field %q%s", key.Value, where)
	if found.Suggestion = diag.Nearest(key.Value, names); found.Suggestion == "" && len(names) <= 12 && len(names) > 0 {
		slices.Sort(names)
		found.Message += "; known are " + strings.Join(names, ", ")
	}
	d.found = append(d.found, found)
}

func (d *decoder) setMap(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.MappingNode, path) {
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		panic(fmt.Sprintf("decode %s: only maps with string keys are supported, not %s", path, t))
	}
	v.Set(reflect.MakeMapWithSize(t, len(n.Content)/2))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := fmt.Sprintf("%s[%s]", path, key.Value)
		d.index.at[at] = place{key, value}
		item := reflect.New(t.Elem()).Elem()
		d.set(value, item, at)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(t.Key()), item)
	}
}

func (d *decoder) setSlice(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.SequenceNode, path) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.index.at[at] = place{nil, item}
		d.set(item, v.Index(i), at)
	}
}

func (d *decoder) setBytes(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.ScalarNode, path) {
		return
	}
	data, err := base64.StdEncoding.DecodeString(n.Value)
	if err != nil {
		d.report(n, path, "want base64: %v (plain text goes into stringData of a Secret, data of a ConfigMap)", err)
		return
	}
	v.SetBytes(data)
}

func (d *decoder) setScalar(n *yaml.Node, v reflect.Value, path string) {
	want := scalarName(v.Kind())
	if n.Kind != yaml.ScalarNode {
		d.report(n, path, "want a %s, this is a %s", want, diag.KindName(n))
		return
	}
	tag := tagOf(n)
	switch {
	case want == "string" && tag == "!!str":
		v.SetString(n.Value)
	case want == "string":
		d.report(n, path, "want a string, %s is a %s in YAML; quote it: %q", n.Value, kindOfTag(tag), n.Value)
	case want == "boolean" && tag == "!!bool":
		v.SetBool(truth(n.Value))
	case want == "whole number" && tag == "!!int":
		d.setInt(n, v, path)
	case want == "number" && (tag == "!!int" || tag == "!!float"):
		var f float64
		if err := n.Decode(&f); err != nil || v.OverflowFloat(f) {
			d.report(n, path, "%s is out of range", n.Value)
			return
		}
		v.SetFloat(f)
	case want == "whole number" && tag == "!!float":
		d.report(n, path, "want a whole number, not %s", n.Value)
	default:
		d.report(n, path, "want a %s, this is a %s", want, kindOfTag(tag))
	}
}

func (d *decoder) setInt(n *yaml.Node, v reflect.Value, path string) {
	var i int64
	if err := n.Decode(&i); err == nil {
		if v.CanInt() && !v.OverflowInt(i) {
			v.SetInt(i)
			return
		}
		if v.CanUint() && i >= 0 && !v.OverflowUint(uint64(i)) {
			v.SetUint(uint64(i))
			return
		}
	}
	d.report(n, path, "%s is out of range for a number of type %s", n.Value, v.Kind())
}

// hugeExponent matches a quantity that the Kubernetes library would compute digit by digit, for minutes.
var hugeExponent = regexp.MustCompile(`[eE][-+]?[0-9]{3,}$`)

func (d *decoder) unmarshalJSON(n *yaml.Node, v reflect.Value, path string) {
	if v.Type() == quantityType && (len(n.Value) > 100 || hugeExponent.MatchString(n.Value)) {
		d.report(n, path, "Invalid value: the quantity is out of range")
		return
	}
	data, err := json.Marshal(plainValue(n))
	if err == nil {
		err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(data)
	}
	if err != nil {
		d.invalid(n, path, err)
	}
}

func (d *decoder) unmarshalText(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.ScalarNode, path) {
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		d.invalid(n, path, err)
	}
}

// invalid reports what a type says about a value that it does not accept.
func (d *decoder) invalid(n *yaml.Node, path string, err error) {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		err = fmt.Errorf("want a %s, this is a %s", typeName(wrong.Type), diag.KindName(n))
	}
	if n.Kind != yaml.ScalarNode {
		d.report(n, path, "%v", err)
		return
	}
	d.report(n, path, "Invalid value: %q: %v", n.Value, err)
}

func (d *decoder) want(n *yaml.Node, kind yaml.Kind, path string) bool {
	if n.Kind == kind {
		return true
	}
	name := map[yaml.Kind]string{yaml.MappingNode: "mapping", yaml.SequenceNode: "list", yaml.ScalarNode: "string"}[kind]
	d.report(n, path, "want a %s, this is a %s", name, diag.KindName(n))
	return false
}

// typeName names a Go type for people.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "mapping"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Pointer, reflect.Interface:
		return t.String()
	}
	return scalarName(t.Kind())
}

func scalarName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "whole number"
	}
	panic("decode: no scalar of kind " + k.String() + " is supported")
}

// The plain words that YAML 1.1 reads as booleans, beside true and false.
var (
	yes = []string{"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
	no  = []string{"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
)

// tagOf is the type of a scalar by YAML 1.1. A timestamp is a string, as in JSON.
func tagOf(n *yaml.Node) string {
	tag := n.ShortTag()
	switch {
	case tag == "!!timestamp" || tag == "!!binary" || tag == "!!merge":
		return "!!str"
	case tag == "!!str" && n.Style == 0 && (slices.Contains(yes, n.Value) || slices.Contains(no, n.Value)):
		return "!!bool"
	}
	return tag
}

func kindOfTag(tag string) string {
	switch tag {
	case "!!bool":
		return "boolean"
	case "!!int", "!!float":
		return "number"
	case "!!str":
		return "string"
	}
	return strings.TrimLeft(tag, "!")
}

func truth(word string) bool { return strings.EqualFold(word, "true") || slices.Contains(yes, word) }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plainValue is a tree as encoding/json would give it.
func plainValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		s := make([]any, len(n.Content))
		for i, item := range n.Content {
			s[i] = plainValue(item)
		}
		return s
	}
	switch tagOf(n) {
	case "!!null":
		return nil
	case "!!bool":
		return truth(n.Value)
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return i
		}
	case "!!float":
		// Decimal text stays text-exact: a quantity of 0.1 must not pass through a float.
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
		var f float64
		if n.Decode(&f) == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f
		}
	}
	return n.Value
}
