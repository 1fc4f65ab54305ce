package strict_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/manifest/strict"
)

type colour int

func (c *colour) UnmarshalText(text []byte) error {
	if string(text) != "red" {
		return fmt.Errorf("no such colour")
	}
	*c = 1
	return nil
}

type inner struct {
	Name  string             `json:"name"`
	Extra map[string]float64 `json:"extra,omitempty"`
}

type document struct {
	inner   `json:",inline"`
	Count   *int32               `json:"count,omitempty"`
	Small   uint8                `json:"small,omitempty"`
	On      bool                 `json:"on,omitempty"`
	List    []inner              `json:"list,omitempty"`
	Data    []byte               `json:"data,omitempty"`
	Any     any                  `json:"any,omitempty"`
	Colour  colour               `json:"colour,omitempty"`
	Size    resource.Quantity    `json:"size,omitempty"`
	Port    intstr.IntOrString   `json:"port,omitempty"`
	When    metav1.Time          `json:"when,omitempty"`
	Wait    *metav1.Duration     `json:"wait,omitempty"`
	Strings map[string]*[]string `json:"strings,omitempty"`
	Hidden  string               `json:"-"`
}

func decode(t *testing.T, text string) (document, *strict.Index, diag.List) {
	t.Helper()
	src := diag.NewSource("f.yaml", []byte(text))
	roots, found := src.Parse()
	if len(found) > 0 || len(roots) != 1 {
		t.Fatalf("the test's YAML is bad: %v", found)
	}
	var d document
	index, found := strict.Decode(src, roots[0], &d)
	return d, index, found
}

func TestDecodesEachKindOfValue(t *testing.T) {
	got, _, found := decode(t, `
name: inlined
count: 0644
small: 255
on: yes
list: [{name: a, extra: {x: 1.5, y: 2}}, null, {name: "5"}]
data: aGk=
any: {a: [1, on, null, 2.50, 2026-01-02]}
colour: red
size: 0.1
port: http
when: 2026-01-02T03:04:05Z
wait: 1m
strings: {k: [a, b], none: null}
`)
	if found != nil {
		t.Fatalf("good YAML has findings:\n%v", found)
	}
	count := int32(0o644)
	if got.Name != "inlined" || *got.Count != count || got.Small != 255 || !got.On || got.Colour != 1 {
		t.Errorf("the scalars are %+v", got)
	}
	if d := cmp.Diff([]inner{{Name: "a", Extra: map[string]float64{"x": 1.5, "y": 2}}, {}, {Name: "5"}}, got.List); d != "" {
		t.Errorf("the list differs (-want +got):\n%s", d)
	}
	if string(got.Data) != "hi" || got.Size.String() != "100m" || got.Port.StrVal != "http" || got.Wait.Duration != time.Minute {
		t.Errorf("the special types are %+v", got)
	}
	if !got.When.Equal(&metav1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}) {
		t.Errorf("the time is %v", got.When)
	}
	if any := fmt.Sprint(got.Any); any != "map[a:[1 true <nil> 2.50 2026-01-02]]" {
		t.Errorf("any is %s", any)
	}
	if s := got.Strings["k"]; s == nil || len(*s) != 2 || got.Strings["none"] != nil {
		t.Errorf("the map of pointers is %v", got.Strings)
	}
}

func TestRefusesWhatDoesNotFit(t *testing.T) {
	for text, want := range map[string]string{
		"nam: a":                  `f.yaml:1:1: unknown field "nam" at the top level (did you mean "name"?)`,
		"list: [{title: x}]":      `f.yaml:1:9: unknown field "title" in list[0]; known are extra, name`,
		"Hidden: x":               `f.yaml:1:1: unknown field "Hidden" at the top level`,
		"name: 5":                 `f.yaml:1:7: name: want a string, 5 is a number in YAML; quote it: "5"`,
		"name: off":               `f.yaml:1:7: name: want a string, off is a boolean in YAML; quote it: "off"`,
		"name: [a]":               `f.yaml:1:7: name: want a string, this is a list`,
		"count: 2147483648":       `f.yaml:1:8: count: 2147483648 is out of range for a number of type int32`,
		"count: 1.5":              `f.yaml:1:8: count: want a whole number, not 1.5`,
		"count: 'x'":              `f.yaml:1:8: count: want a whole number, this is a string`,
		"small: -1":               `f.yaml:1:8: small: -1 is out of range for a number of type uint8`,
		"small: 256":              `f.yaml:1:8: small: 256 is out of range for a number of type uint8`,
		"on: 'true'":              `f.yaml:1:5: on: want a boolean, this is a string`,
		"list: {a: b}":            `f.yaml:1:7: list: want a list, this is a mapping`,
		"list: [x]":               `f.yaml:1:8: list[0]: want a mapping, this is a string`,
		"data: '!'":               `f.yaml:1:7: data: want base64: illegal base64 data at input byte 0 (plain text goes into stringData of a Secret, data of a ConfigMap)`,
		"colour: blue":            `f.yaml:1:9: colour: Invalid value: "blue": no such colour`,
		"colour: [red]":           `f.yaml:1:9: colour: want a string, this is a list`,
		"port: true":              `f.yaml:1:7: port: Invalid value: "true": want a whole number, this is a boolean`,
		"size: 1e-999999999":      `f.yaml:1:7: size: Invalid value: the quantity is out of range`,
		"wait: soon":              `f.yaml:1:7: wait: Invalid value: "soon": time: invalid duration "soon"`,
		"extra: {x: many}":        `f.yaml:1:12: extra[x]: want a number, this is a string`,
		"strings: {k: [a, true]}": `f.yaml:1:18: strings[k][1]: want a string, true is a boolean in YAML; quote it: "true"`,
	} {
		t.Run(text, func(t *testing.T) {
			_, _, found := decode(t, text)
			if got := found.Error(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTheIndexPointsAtValuesKeysAndParents(t *testing.T) {
	_, index, _ := decode(t, "name: a\nlist:\n- name: x\n  extra:\n    k: 1\n- extra:\ncount: no\n")
	for path, want := range map[string]string{
		"name":             "1:7", // a scalar: the value
		"list":             "2:1", // a collection: its key
		"list[0]":          "3:3", // an item
		"list[0].extra[k]": "5:8",
		"list[0].extra[z]": "4:3", // not set: the parent
		"list[1].name":     "6:3",
		"list[1].extra":    "6:3", // empty: its key
		"nowhere[0].at":    "1:1", // not even the parent: the root
		"":                 "1:1",
	} {
		n := index.Node(path)
		if got := fmt.Sprintf("%d:%d", n.Line, n.Column); got != want {
			t.Errorf("%q is at %s, want %s", path, got, want)
		}
	}
	if !index.Has("list[0].name") || index.Has("list[1].name") {
		t.Error("list[0] has a name, list[1] has none")
	}
	if !index.Bad("count") || !index.Bad("count.of.things") || index.Bad("name") || index.Bad("") {
		t.Error("only count does not fit its type")
	}
	var paths []string
	for _, f := range index.Fields {
		paths = append(paths, f.Owner+"."+f.Name+"="+f.Path)
	}
	if got, want := strings.Join(paths, " "), "inner.name=name document.list=list inner.name=list[0].name inner.extra=list[0].extra inner.extra=list[1].extra document.count=count"; got != want {
		t.Errorf("the fields are %s, want %s", got, want)
	}
}
