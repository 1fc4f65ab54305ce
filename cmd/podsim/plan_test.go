package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// A rehearsal is by the kubelet that is asked for, and says so first. The probe of the proxy comes with the pod's sync.
func TestPlanSaysWhichKubeletItRehearses(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs("../../scenarios/examples/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := perform(t, command(t, dir, "plan", "--kube-version", "1.35", "--backoff", "x10", "--probe-ticks", "sync", "--timing", "kubelet", file))
	wants(t, o, exitOK, o.stdout, "   0.000s  pod      kubelet: Kubernetes 1.35; backoff x10: back-offs pass 10 times as fast as a kubelet's; probe ticks from", "pod web: Succeeded")
	if !strings.HasPrefix(o.stdout, "   0.000s  pod      kubelet: ") {
		t.Errorf("the first line is another\n%s", o)
	}
	for flag, value := range map[string]string{"--kube-version": "1.20", "--backoff": "fast", "--probe-ticks": "never", "--timing": "slow", "--feature-gates": "NoSuchGate=true", "--max-backoff": "1h"} {
		for _, name := range []string{"plan", "run"} {
			o := perform(t, command(t, dir, name, flag, value, file))
			wants(t, o, exitUsage, o.stderr, value)
		}
	}
}

// README names commands and flags in a table; each is to exist.
func TestCommandsOfTheReadmeExist(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	commands := regexp.MustCompile("`(?:podsim )?((?:run|apply|get|describe|events|logs|exec|attach|cp|port-forward|debug|delete|test|plan|check|ps|clean|doctor|image)(?: (?:load|make|ls|rm|prune))?)\\b").FindAllSubmatch(text, -1)
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
