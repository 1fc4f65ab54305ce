package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestPlanRehearsesThePodOfTheExamples(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs("../../scenarios/examples/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := perform(t, command(t, t.TempDir(), "plan", file))
	wants(t, o, exitOK, o.stdout, "pod web: Succeeded")
	golden := "testdata/plan.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(o.stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if o.stdout != string(want) {
		t.Errorf("the rehearsal is not that of %s; see what changed with -update\n%s", golden, o)
	}
}

// README names commands and flags in a table; each is to exist.
func TestCommandsOfTheReadmeExist(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	commands := regexp.MustCompile("`(?:podsim )?((?:run|test|plan|check|ps|clean|doctor|image)(?: (?:load|make|ls|rm|prune))?)\\b").FindAllSubmatch(text, -1)
	seen := make(map[string]bool)
	for _, m := range commands {
		name := string(m[1])
		seen[name] = true
		found, rest, err := root.Find(regexp.MustCompile(" ").Split(name, -1))
		if err != nil || len(rest) > 0 || found == root {
			t.Errorf("README names `podsim %s`, which is no command: %v", name, err)
		}
	}
	var hidden = map[string]bool{"help": true, "completion": true}
	for _, c := range root.Commands() {
		if !seen[c.Name()] && !hidden[c.Name()] && !seen[c.Name()+" ls"] {
			t.Errorf("README does not name `podsim %s`", c.Name())
		}
	}
	for _, m := range regexp.MustCompile("`(--[a-z-]+)").FindAllSubmatch(text, -1) {
		name := string(m[1])[2:]
		known := root.PersistentFlags().Lookup(name) != nil
		for _, c := range root.Commands() {
			known = known || c.Flags().Lookup(name) != nil
		}
		if !known {
			t.Errorf("README names the flag --%s, which no command has", name)
		}
	}
}
