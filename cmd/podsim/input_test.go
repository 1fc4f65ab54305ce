package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const validPod = `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - {name: app, image: "app:1"}
`

const badScenario = `apiVersion: podsim/v1alpha1
kind: Scenario
metadata: {name: bad}
spec:
  pod: {file: good.yaml}
  stubs:
    api: {http: {port: 80}, hosts: [api.example.com]}
  steps:
    - upp: {wait: ready}
    - exec: {container: ap, command: [x]}
    - expect:
        order: [app.startd < app.exited, aip.connected < app.started]
`

// Bad input is said with its place, ends with 2, and nothing is started: none of this needs root.
func TestBadInputIsSaidWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.yaml":      validPod,
		"empty.yaml":     "",
		"comment.yaml":   "# nothing\n---\n",
		"huge.yaml":      strings.Repeat("a", 9<<20),
		"binary.yaml":    "\x7fELF\x00\x01\x02",
		"latin1.yaml":    "kind: \xe9\n",
		"alias.yaml":     "apiVersion: v1\nkind: Pod\nmetadata: &m\n  labels: *m\n",
		"cut.yaml":       "apiVersion: v1\nkind: Pod\nmetadata: {name: x\n",
		"field.yaml":     strings.Replace(validPod, "image:", "imagge:", 1),
		"kind.yaml":      strings.Replace(validPod, "kind: Pod", "kind: Podd", 1),
		"scalar.yaml":    "just words\n",
		"scenario.yaml":  badScenario,
		"timeline.jsonl": "{\"version\":\"something else\"}\n",
	} {
		write(t, dir, name, text)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	both := []string{"run", "plan"}
	judging := []string{"test", "check"}
	all := append(both, judging...)
	for _, c := range []struct {
		name     string
		commands []string
		file     string
		want     []string // in stderr, the first at its beginning
	}{
		{"an empty pod", both, "empty.yaml", []string{"empty.yaml: there is no pod in the file"}},
		{"an empty scenario", judging, "empty.yaml", []string{"empty.yaml: no scenario in this file"}},
		{"comments only", both, "comment.yaml", []string{"comment.yaml: there is no pod in the file"}},
		{"a huge file", all, "huge.yaml", []string{"huge.yaml: ", "larger than 8 MiB"}},
		{"a binary file", all, "binary.yaml", []string{"binary.yaml:1:5: the file holds a NUL byte"}},
		{"no UTF-8", all, "latin1.yaml", []string{"latin1.yaml:1:"}},
		{"a recursive alias", both, "alias.yaml", []string{"alias.yaml:", "alias.yaml:4:11: alias *m refers to something that contains it"}},
		{"a truncated file", all, "cut.yaml", []string{"cut.yaml:3:1: ", "is the file cut off?", "> 3 | metadata: {name: x"}},
		{"an unknown field", both, "field.yaml", []string{`field.yaml:6:19: unknown field "imagge"`, `(did you mean "image"?)`, `> 6 |     - {name: app, imagge: "app:1"}`}},
		{"an unknown kind", both, "kind.yaml", []string{`kind.yaml:2:7: podsim does not read the kind "Podd"`, `(did you mean "Pod"?)`}},
		{"a kind that is no scenario", judging, "kind.yaml", []string{`kind.yaml:2:7: unknown kind "Podd"; a scenario file holds documents of kind Scenario`}},
		{"a lone scalar", all, "scalar.yaml", []string{"scalar.yaml:1:1: "}},
		{"a directory", both, "folder", []string{"folder: read manifest: this is a directory"}},
		{"a directory without scenarios", judging, "folder", []string{"folder: no scenario in this directory"}},
		{"a missing file", all, "nowhere.yaml", []string{"nowhere.yaml: ", "no such file or directory"}},
		{"a scenario's unknown step, container, event and stub", judging, "scenario.yaml", []string{
			"scenario.yaml:9:5: no step brings the pod up",
			`scenario.yaml:9:7: unknown field "upp" in step (did you mean "up"?)`,
			`scenario.yaml:10:25: unknown container "ap" (did you mean "app"?)`,
			`scenario.yaml:12:17: unknown event "startd" of app (did you mean "started"?)`,
			`scenario.yaml:12:42: unknown container or stub "aip" (did you mean "api"?)`,
		}},
	} {
		for _, cmd := range c.commands {
			t.Run(c.name+" to "+cmd, func(t *testing.T) {
				t.Parallel()
				args := []string{cmd, c.file}
				if cmd == "check" {
					args = append(args, "timeline.jsonl")
				}
				o := perform(t, command(t, dir, args...))
				wants(t, o, exitUsage, o.stderr, c.want...)
				if !strings.HasPrefix(o.stderr, c.want[0]) || o.stdout != "" {
					t.Errorf("the message does not begin with %q, or something else was printed\n%s", c.want[0], o)
				}
				if c.file != "empty.yaml" && c.file != "comment.yaml" && strings.Contains(o.stderr, "there is no pod") {
					t.Errorf("a file that cannot be read is said to lack a pod\n%s", o)
				}
				if strings.HasSuffix(o.stderr, "\n\n") {
					t.Errorf("an empty line at the end\n%s", o)
				}
			})
		}
	}
}

func TestBadUsageEndsWithTwoAndTheUsage(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "good.yaml", validPod)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run"}, "usage: podsim run POD.yaml"},
		{[]string{"plan", "a", "b"}, "usage: podsim plan POD.yaml"},
		{[]string{"check", "a"}, "usage: podsim check SCENARIO.yaml TIMELINE.jsonl"},
		{[]string{"test"}, "usage: podsim test FILE|DIR..."},
		{[]string{"run", "--nonsense", "good.yaml"}, "unknown flag: --nonsense"},
		{[]string{"image", "load"}, "usage: podsim image load FILE..."},
		{[]string{"nonsense"}, "nonsense"},
		{[]string{"image", "nonsense"}, "nonsense"},
		{[]string{"plan", "--name", "other", "good.yaml"}, "other"},
		{[]string{"check", "good.yaml", "nowhere.jsonl"}, "good.yaml:2:7: "},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			o := perform(t, command(t, dir, c.args...))
			wants(t, o, exitUsage, o.stderr, c.want)
		})
	}
}
