package manifest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/podsim/podsim/podsim/manifest/diag"
)

var update = flag.Bool("update", false, "rewrite the golden files and FIELDS.md")

// Each testdata/*.yaml is parsed and its pod is chosen; the findings and the defaulted pod are beside it. The
// first line may say "# strict" or "# select Kind/Name".
func TestManifests(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(data), "\n")
			var sel Select
			if s, ok := strings.CutPrefix(first, "# select "); ok {
				sel.Kind, sel.Name, _ = strings.Cut(s, "/")
			}
			m, found := Parse(diag.NewSource(filepath.Base(file), data))
			var got strings.Builder
			fmt.Fprintf(&got, "=== parsed\n%+v", found)
			pod, found := m.Pod(sel, Options{Strict: first == "# strict"})
			fmt.Fprintf(&got, "=== pod\n%+v", found)
			if pod != nil && len(found.Errors()) == 0 {
				got.WriteString("=== defaulted\n" + asYAML(t, pod))
			}
			golden(t, "testdata/"+name+".txt", got.String())
		})
	}
}

func asYAML(t *testing.T, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, d)
	}
}

func TestFieldsAreDocumented(t *testing.T) {
	golden(t, "FIELDS.md", string(FieldsMarkdown()))
}

// A new field of the Kubernetes API is not overlooked: every field that a pod can set is in the table, and no row
// is left over.
func TestTheTableHasEachFieldOfAPod(t *testing.T) {
	reached := map[string]bool{}
	var walk func(reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || reflect.PointerTo(typ).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return
		}
		seen[typ] = true
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" && (f.Anonymous || strings.Contains(options, "inline")) {
				walk(f.Type)
				continue
			}
			key := typ.Name() + "." + name
			reached[key] = true
			row, ok := fieldTable[key]
			if !ok {
				t.Errorf("%s (%s) is not in the table of fields.go: say whether podsim acts on it", key, f.Type)
			} else if row.Support == Acts {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[corev1.Pod]())
	walk(reflect.TypeFor[corev1.PodTemplateSpec]())
	for _, f := range Fields() {
		if !reached[f.Field] {
			t.Errorf("%s is in the table of fields.go, but a pod has no such field, or it is below one that is not acted on", f.Field)
		}
		if f.Support == Unsupported && f.Note == "" {
			t.Errorf("%s is not acted on; the table must say why", f.Field)
		}
	}
	if len(fieldTable) != len(fields) {
		t.Errorf("the table has %d rows for %d fields: one is there twice", len(fields), len(fieldTable))
	}
}

func TestSupportsAreWrittenAndReadBack(t *testing.T) {
	for _, s := range Supports() {
		text, err := s.MarshalText()
		var back Support
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%v is written as %q and read back as %v (%v)", s, text, back, err)
		}
	}
	if _, err := Support(0).MarshalText(); err == nil {
		t.Error("the zero value is written without an error")
	}
}

func TestThePullPolicyIsDefaultedByTheTag(t *testing.T) { // IM-01
	for image, want := range map[string]corev1.PullPolicy{
		"app": corev1.PullAlways, "app:latest": corev1.PullAlways, "app:1": corev1.PullIfNotPresent,
		"localhost:5000/app": corev1.PullAlways, "localhost:5000/app:1": corev1.PullIfNotPresent,
		"app@sha256:0123": corev1.PullIfNotPresent, "app:latest@sha256:0123": corev1.PullAlways,
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}, {Image: image, ImagePullPolicy: corev1.PullNever}}}}
		Default(p)
		if got := p.Spec.Containers[0].ImagePullPolicy; got != want {
			t.Errorf("the pull policy of %s is %s, want %s", image, got, want)
		}
		if got := p.Spec.Containers[1].ImagePullPolicy; got != corev1.PullNever {
			t.Errorf("the pull policy Never of %s became %s", image, got)
		}
	}
}

func TestDefaultingTwiceChangesNothing(t *testing.T) {
	data, err := os.ReadFile("testdata/defaults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := Parse(diag.NewSource("defaults.yaml", data))
	once, _ := m.Pod(Select{}, Options{})
	twice := once.DeepCopy()
	Default(twice)
	if d := cmp.Diff(once, twice); d != "" {
		t.Errorf("the second defaulting changed (-once +twice):\n%s", d)
	}
}

func TestAPodInsideAnotherFileKeepsItsPlace(t *testing.T) {
	src := diag.NewSource("scenario.yaml", []byte(`kind: Scenario
spec:
  pod:
    inline:
      apiVersion: v1
      kind: Pod
      metadata: {name: a}
      spec: {containers: [{name: app, imge: x}]}
`))
	roots, found := src.Parse()
	if len(found) > 0 {
		t.Fatal(found)
	}
	_, spec := diag.Lookup(roots[0], "spec")
	_, pod := diag.Lookup(spec, "pod")
	_, inline := diag.Lookup(pod, "inline")
	m, found := FromNode(src, inline)
	if want := `scenario.yaml:8:39: unknown field "imge" in spec.containers[0] (did you mean "image"?)`; found.Error() != want {
		t.Errorf("got %q, want %q", found.Error(), want)
	}
	if _, found := m.Pod(Select{}, Options{}); !strings.Contains(found.Error(), "scenario.yaml:8:27: spec.containers[0].image: Required value") {
		t.Errorf("got %q, want the missing image, in the scenario's file", found.Error())
	}
}

func TestLoadSaysWhatItCannotRead(t *testing.T) {
	if _, found := Load("testdata/no-such-file.yaml"); found.Err() == nil || !strings.Contains(found.Error(), "read manifest: open testdata/no-such-file.yaml: no such file") {
		t.Errorf("a missing file gives %v", found)
	}
	if _, found := Load("testdata"); found.Err() == nil || !strings.Contains(found.Error(), "directory") {
		t.Errorf("a directory gives %v", found)
	}
	if m, found := Load("testdata/defaults.yaml"); found.Err() != nil || len(m.candidates) != 1 {
		t.Errorf("a good file gives %d pods and %v, want one and no error", len(m.candidates), found)
	}
}

func TestResourcesAreFoundByNamespaceAndName(t *testing.T) {
	m, found := Parse(diag.NewSource("f.yaml", []byte(`
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: other}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {x: eA==, y: eQ==}, stringData: {x: wins}}
---
{apiVersion: v1, kind: Service, metadata: {name: v}, spec: {ports: [{port: 80}]}}
`)))
	if found != nil {
		t.Fatal(found)
	}
	r := m.Resources
	if r.ConfigMap("default", "a") == nil || r.ConfigMap("other", "b") == nil || r.ConfigMap("default", "b") != nil {
		t.Error("ConfigMap a is for all namespaces, b for the namespace other only")
	}
	if s := r.Secret("default", "s"); s == nil || string(s.Data["x"]) != "wins" || string(s.Data["y"]) != "y" {
		t.Errorf("the secret is %v, want stringData to win over data", s)
	}
	if s := r.ServicesOf("default"); len(s) != 1 || s[0].Spec.Ports[0].TargetPort.IntVal != 80 {
		t.Errorf("the services are %v, want one with its target port defaulted", s)
	}
	if both := r.Join(r); len(both.ConfigMaps) != 4 || len(r.ConfigMaps) != 2 {
		t.Errorf("joining gives %d ConfigMaps and leaves %d, want 4 and 2", len(both.ConfigMaps), len(r.ConfigMaps))
	}
}

// Whatever the bytes, parsing and judging end without a panic, and each finding is inside the file.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, found := Parse(diag.NewSource("f.yaml", data))
		for _, c := range m.candidates {
			_, more := c.judge(Options{})
			found = append(found, more...)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, d := range found {
			if d.Line > lines || d.Message == "" {
				t.Errorf("the finding %q is outside the file of %d lines, or empty", d.Error(), lines)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile("testdata/defaults.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m, _ := Parse(diag.NewSource("f.yaml", data))
		if pod, found := m.Pod(Select{}, Options{}); pod == nil || found.Err() != nil {
			b.Fatal(found)
		}
	}
}
