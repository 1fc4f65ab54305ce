package printer

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestMain(m *testing.M) {
	time.Local = time.UTC // describe shows local times
	os.Exit(m.Run())
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pods(t *testing.T, file string) (out []*corev1.Pod) {
	t.Helper()
	for doc := range strings.SplitSeq(string(read(t, file)), "\n---\n") {
		p := &corev1.Pod{}
		if err := yaml.UnmarshalStrict([]byte(doc), p); err != nil {
			t.Fatalf("parse: %v\n%s", err, doc)
		}
		out = append(out, p)
	}
	return out
}

func events(t *testing.T) (out []corev1.Event) {
	t.Helper()
	if err := yaml.UnmarshalStrict(read(t, "testdata/events.yaml"), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(read(t, file)); got != want {
		t.Errorf("%s is out of date; rewrite it with -update if the difference is right; got\n%s", file, got)
	}
}

func TestTableOfPods(t *testing.T) {
	for name, c := range map[string]Columns{"pods": {}, "pods-wide": {Wide: true, Namespace: true}} {
		var out bytes.Buffer
		table := NewTable(&out, PodHeaders(c)...)
		for _, p := range pods(t, "testdata/pods.yaml") {
			table.Row(PodRow(p, c, "", false, noon)...)
		}
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/"+name+".txt", out.String())
	}
}

func TestALostPodIsSaidToBeLost(t *testing.T) {
	p := pods(t, "testdata/pods.yaml")[8]
	if row := PodRow(p, Columns{}, "", true, noon); row[2] != "Lost" {
		t.Errorf("got status %q, want Lost", row[2])
	}
	var out bytes.Buffer
	if err := Describe(&out, p, nil, Description{Lost: true}, noon); err != nil || !strings.Contains(out.String(), "\nStatus:       Lost\n") {
		t.Errorf("describe says (%v)\n%s", err, out.String())
	}
}

func TestATableKeepsItsColumnsInLineAsItGoesOn(t *testing.T) {
	var out bytes.Buffer
	table := NewTable(&out, "EVENT", "NAME", "AGE")
	if err := table.Flush(); err != nil || out.Len() > 0 {
		t.Errorf("an empty table prints %q (%v), want nothing", out.String(), err)
	}
	for _, row := range [][]string{{"ADDED   ", "a-long-name", "1s"}, {"MODIFIED", "b", "2s"}, {"DELETED ", "é", "\x1b[31m"}} {
		table.Row(row...)
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	want := `EVENT      NAME          AGE
ADDED      a-long-name   1s
MODIFIED   b             2s
DELETED    é             ^[[31m
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestTablesOfEvents(t *testing.T) {
	var out bytes.Buffer
	list := events(t)
	SortEvents(list)
	for _, c := range []Columns{{}, {Namespace: true, Wide: true}} {
		both := []*Table{NewTable(&out, EventHeaders(c)...), NewTable(&out, GetEventHeaders(c)...)}
		for _, e := range list {
			both[0].Row(EventRow(e, c, noon)...)
			both[1].Row(GetEventRow(e, c, "", noon)...)
		}
		for _, table := range both {
			if err := table.Flush(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out)
		}
	}
	golden(t, "testdata/events.txt", out.String())
}

func TestDescribe(t *testing.T) {
	all := events(t)
	var out bytes.Buffer
	for _, p := range pods(t, "testdata/full.yaml") {
		if err := Describe(&out, p, all, Description{}, noon); err != nil {
			t.Fatal(err)
		}
		all = nil
		fmt.Fprintln(&out)
	}
	golden(t, "testdata/describe.txt", out.String())
}

func TestNothingIsChangedByBeingShown(t *testing.T) {
	p := pods(t, "testdata/full.yaml")[0]
	before, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	f, _, err := ParseFormat("json")
	if err != nil {
		t.Fatal(err)
	}
	if err := Describe(&out, p, events(t), Description{}, noon); err != nil {
		t.Fatal(err)
	}
	if err := f.Pod(&out, p); err != nil {
		t.Fatal(err)
	}
	if after, _ := yaml.Marshal(p); !bytes.Equal(before, after) {
		t.Errorf("the pod was\n%s\nand is\n%s", before, after)
	}
}

func TestFormats(t *testing.T) {
	two := pods(t, "testdata/pods.yaml")[11:13]
	seen := events(t)[1:2]
	var out bytes.Buffer
	for _, value := range []string{"json", "yaml", "name", `jsonpath={.metadata.name} {.status.containerStatuses[*].name}{"\n"}`,
		`jsonpath={range .items[*]}{.metadata.name}={.status.phase}{"\n"}{end}`, "jsonpath-as-json={..containerStatuses[*].restartCount}"} {
		f, wide, err := ParseFormat(value)
		if err != nil || wide {
			t.Fatalf("%s: %v, wide %v", value, err, wide)
		}
		for what, show := range []func() error{
			func() error { return f.Pod(&out, two[0]) },
			func() error { return f.Pods(&out, two) },
			func() error { return f.Pods(&out, nil) },
			func() error { return f.Watched(&out, "ADDED", two[1]) },
			func() error { return f.Event(&out, seen[0]) },
			func() error { return f.Events(&out, "EventList", seen) },
			func() error { return f.WatchedEvent(&out, "MODIFIED", seen[0]) },
		} {
			fmt.Fprintf(&out, "== -o %s: %s\n", value, []string{"a pod", "pods", "no pods", "a pod that is watched", "an event", "events", "an event that is watched"}[what])
			if err := show(); err != nil {
				t.Errorf("%s: %v", value, err)
			}
		}
	}
	golden(t, "testdata/formats.txt", out.String())
}

func TestFormatsThatAreNone(t *testing.T) {
	for value, want := range map[string]string{
		"xml":                  `unable to match a printer suitable for the output format "xml": use json, yaml, name, wide`,
		"jsonpath":             "template format specified but no template given",
		"jsonpath=":            "template format specified but no template given",
		"jsonpath={.a":         "error parsing jsonpath {.a, unclosed action",
		"json=x":               "unable to match",
		"jsonpath-file=/x":     "unable to match",
		"custom-columns=A:.b":  "unable to match",
		"jsonpath-as-json={[}": "error parsing jsonpath",
	} {
		if _, _, err := ParseFormat(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-o %s: got error %v, want %q", value, err, want)
		}
	}
	if f, wide, err := ParseFormat("wide"); f != nil || !wide || err != nil {
		t.Errorf("-o wide: got %v, %v, %v", f, wide, err)
	}
}
