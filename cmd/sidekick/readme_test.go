package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite README.md's reference from the code")

// The README's reference is every mode's own help.
func TestREADME(t *testing.T) {
	const begin, end = "<!-- reference: written by `go test ./cmd/sidekick -update` -->\n", "<!-- end of the reference -->\n"
	var reference bytes.Buffer
	for _, m := range modes() {
		reference.WriteString("\n### " + m.name + "\n\n```\n")
		m.help(&reference)
		reference.WriteString("```\n")
	}
	reference.WriteString("\n")
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has lost its marks %q and %q", begin, end)
	}
	want := head + begin + reference.String() + end + tail
	if string(text) == want {
		return
	}
	if !*update {
		t.Fatal("README.md does not say what the code does; run `go test ./cmd/sidekick -update` and review the diff")
	}
	if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
