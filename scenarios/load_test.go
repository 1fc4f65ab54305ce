package scenarios

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file, or rewrites it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read the golden file (go test -update writes it): %v", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what came out (-want +got):\n%s", file, diff)
	}
}

func TestMistakesAreReportedWithPositionAndNearestName(t *testing.T) {
	files, err := filepath.Glob("testdata/load/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		if filepath.Base(file) == "pod.yaml" {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, found := Load(file)
			if found.Err() == nil {
				t.Errorf("%s loaded without an error", file)
			}
			for _, d := range found {
				if d.Line == 0 && filepath.Base(file) != "empty.yaml" {
					t.Errorf("a finding without a line: %v", d)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", found.Detail())
		})
	}
}

func TestADirectoryIsWalkedForScenariosAlone(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pod, err := os.ReadFile("testdata/load/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write("pod.yaml", string(pod))
	write("notes.txt", "kind: Scenario")
	write("broken-but-not-ours.yaml", "a: [")
	write("b.yaml", scenarioText("two", "file: pod.yaml", "- up: {}")+"---\n"+scenarioText("three", "file: pod.yaml", "- up: {}"))
	write("a/one.yml", scenarioText("one", "file: ../pod.yaml", "- up: {}"))
	list, found := Load(dir)
	if found.Err() != nil {
		t.Fatalf("load: %+v", found)
	}
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, names); diff != "" {
		t.Errorf("scenarios (-want +got):\n%s", diff)
	}
	if _, found := Load(filepath.Join(dir, "pod.yaml")); !strings.Contains(found.Error(), `unknown kind "Pod"`) {
		t.Errorf("a pod named as a scenario: %v", found)
	}
	if _, found := Load(t.TempDir()); !strings.Contains(found.Error(), "no scenario in this directory") {
		t.Errorf("an empty directory: %v", found)
	}
	if _, found := Load(filepath.Join(dir, "missing.yaml")); !strings.Contains(found.Error(), "no such file") {
		t.Errorf("a missing file: %v", found)
	}
}

// scenarioText is a scenario with a pod and steps; both are YAML at their own indentation.
func scenarioText(name, pod, steps string) string {
	indent := func(s, by string) string {
		return by + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+by) + "\n"
	}
	return "apiVersion: podsim/v1alpha1\nkind: Scenario\nmetadata: {name: " + name + "}\nspec:\n  pod:\n" + indent(pod, "    ") +
		"  steps:\n" + indent(steps, "    ")
}

func TestEveryReasonOfAnEventIsKnown(t *testing.T) {
	files, err := filepath.Glob("../podsim/events/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of package events: %v", err)
	}
	said := regexp.MustCompile(`s\.(?:normal|warn)\([^,"]*(?:"",)?[^,"]*, ?"([A-Z][A-Za-z]+)"`)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllSubmatch(text, -1) {
			if seen++; !slices.Contains(eventReasons, string(m[1])) {
				t.Errorf("%s says %s, which eventReasons does not have", file, m[1])
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d events found", seen)
	}
}

func FuzzParseNeverPanics(f *testing.F) {
	files, _ := filepath.Glob("testdata/load/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, found := Parse("testdata/load/fuzz.yaml", data)
		for _, s := range list {
			if found.Err() == nil && (len(s.Pods) == 0 || len(s.Steps) == 0) {
				t.Errorf("a scenario without a pod or steps loaded")
			}
		}
	})
}
