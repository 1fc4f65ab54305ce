package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryExampleLoadsStrictly(t *testing.T) {
	list, found := Load("examples")
	if len(found) > 0 {
		t.Fatalf("load the examples: %+v", found)
	}
	if len(list) < 2 {
		t.Fatalf("%d examples, want order and interception at least", len(list))
	}
	for _, s := range list {
		if !s.Options.Strict || !s.Offline {
			t.Errorf("example %s is not strict and offline", s.Name)
		}
		for name, image := range s.Images {
			if !strings.HasSuffix(image.Binary, "bin/sidekick") {
				t.Errorf("example %s: the image of %s is not made of bin/sidekick: %+v", s.Name, name, image)
			}
		}
	}
}

// Every block of YAML in README.md is a part of a scenario: a whole one, entries of spec, or steps. Each must load.
func TestEveryBlockOfTheReferenceLoads(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml( [a-z]+)?\n(.*?)```").FindAllStringSubmatchIndex(string(text), -1)
	if len(blocks) < 15 {
		t.Fatalf("only %d blocks of YAML in README.md", len(blocks))
	}
	for _, b := range blocks {
		kind := ""
		if b[2] >= 0 {
			kind = strings.TrimSpace(string(text[b[2]:b[3]]))
		}
		line := strings.Count(string(text[:b[0]]), "\n") + 1
		t.Run(fmt.Sprintf("README.md:%d", line), func(t *testing.T) {
			doc, err := whole(kind, string(text[b[4]:b[5]]))
			if err != nil {
				t.Fatalf("README.md:%d: %v", line, err)
			}
			if _, found := Parse("examples/readme.yaml", []byte(doc)); len(found) > 0 {
				t.Errorf("README.md:%d does not load:\n%+v\n%s", line, found, doc)
			}
		})
	}
}

// whole completes a block of the reference to a scenario that uses the examples' pod.
func whole(kind, block string) (string, error) {
	const head = "apiVersion: podsim/v1alpha1\nkind: Scenario\nmetadata: {name: readme}\nspec:\n"
	indent := func(by string) string {
		return by + strings.ReplaceAll(strings.TrimRight(block, "\n"), "\n", "\n"+by) + "\n"
	}
	has := func(key string) bool {
		return strings.HasPrefix(block, key+":") || strings.Contains(block, "\n"+key+":")
	}
	switch kind {
	case "":
		return block, nil
	case "spec":
		out := head
		if !has("pod") {
			out += "  pod: {file: pod.yaml}\n"
		}
		if !has("steps") {
			out += "  steps: [{up: {}}]\n"
		}
		return out + indent("  "), nil
	case "steps":
		out := head + "  pod: {file: pod.yaml}\n  stubs: {api: {http: {}}, db: {tcp: {port: 5432}}}\n" +
			"  intercept: {profile: istio, proxy: proxy}\n  steps:\n"
		if !strings.Contains(block, "up:") {
			out += "    - up: {}\n"
		}
		return out + indent("    "), nil
	}
	return "", fmt.Errorf("unknown kind of block %q: want none, spec or steps", kind)
}

func TestTheReferenceNamesEveryExample(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("examples", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(string(text), path) {
			err = errors.New("README.md does not name " + path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
