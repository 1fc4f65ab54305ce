package diag_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/podsim/podsim/podsim/manifest/diag"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each testdata/*.yaml is parsed; what it came to, tree and findings, is beside it in a .txt file.
func TestParse(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			roots, found := diag.NewSource(filepath.Base(file), data).Parse()
			var got strings.Builder
			for _, root := range roots {
				text, err := yaml.Marshal(root)
				if err != nil {
					t.Fatalf("the tree cannot be written: %v", err)
				}
				fmt.Fprintf(&got, "---\n%s", text)
			}
			fmt.Fprintf(&got, "=== findings\n%+v", found)
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got.String())
		})
	}
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

func TestRefusesWhatIsNoYAMLText(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want string
	}{
		"a NUL byte":             {"a: b\nc: \x00d\n", "f.yaml:2:4: the file holds a NUL byte; it is no YAML text"},
		"a byte that is no text": {"a: \xffb\n", "f.yaml:1:4: the file is not valid UTF-8; it is no YAML text"},
		"UTF-16":                 {"\xff\xfea\x00", "f.yaml: the file is UTF-16; save it as UTF-8"},
		"a file that is too large": {strings.Repeat("a", diag.MaxBytes+1),
			"f.yaml: the file is larger than 8 MiB; split it"},
		"a control character": {"a: \x01b\n", `f.yaml:1:4: the file holds the control character '\x01', which YAML does not allow`},
	} {
		t.Run(name, func(t *testing.T) {
			roots, found := diag.NewSource("f.yaml", []byte(c.data)).Parse()
			if len(roots) != 0 || found.Error() != c.want {
				t.Errorf("got %d documents and %q, want none and %q", len(roots), found.Error(), c.want)
			}
		})
	}
}

func TestReadsAByteOrderMarkAndCRLF(t *testing.T) {
	roots, found := diag.NewSource("f.yaml", []byte("\uFEFFa: 1\r\nb: [2,\r\n 3]\r\n")).Parse()
	if len(found) != 0 || len(roots) != 1 {
		t.Fatalf("got %d documents and %v, want one and no finding", len(roots), found)
	}
	k, v := diag.Lookup(roots[0], "b")
	if k == nil || k.Line != 2 || k.Column != 1 || v.Kind != yaml.SequenceNode {
		t.Errorf("b is at %+v, want line 2, column 1, a list", k)
	}
}

func TestAnEmptyFileHasNoDocuments(t *testing.T) {
	for _, data := range []string{"", "\n", "# only words\n", "---\n---\n", "null\n"} {
		if roots, found := diag.NewSource("f.yaml", []byte(data)).Parse(); len(roots)+len(found) != 0 {
			t.Errorf("%q gives %d documents and %v, want neither", data, len(roots), found)
		}
	}
}

func TestAnAliasBombEndsInAnError(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		item := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(item+", ", 9)+item)
	}
	_, found := diag.NewSource("bomb.yaml", []byte(b.String())).Parse()
	if len(found) != 1 || !strings.Contains(found[0].Message, "aliases stand for more than 100000 values") {
		t.Errorf("got %v, want one finding about aliases", found)
	}
}

func TestLongAndHostileLinesAreShownSafely(t *testing.T) {
	src := diag.NewSource("f.yaml", []byte(strings.Repeat("x", 500)+"HERE"+strings.Repeat("y", 500)+"\n\x1b[31mred"))
	d := src.At(1, 501, 4, "look here")
	lines := strings.Split(d.Snippet, "\n")
	if len(lines) < 2 || len(lines[0]) > 140 {
		t.Fatalf("the snippet is %q, want one short line and a caret", d.Snippet)
	}
	at := strings.Index(lines[0], "HERE")
	if at < 0 || strings.Index(lines[1], "^^^^") != at {
		t.Errorf("the caret is not under HERE:\n%s", d.Snippet)
	}
	if d := src.At(2, 1, 1, "colour"); strings.ContainsRune(d.Snippet, 0x1b) {
		t.Errorf("an escape sequence reaches the terminal: %q", d.Snippet)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"containers", "initContainers", "volumes", "image", "imagePullPolicy", "name", "env", "envFrom"}
	for word, want := range map[string]string{
		"contaners": "containers", "containrs": "containers", "Image": "image", "imagepullpolicy": "imagePullPolicy",
		"anme": "name", "evn": "env", "volume": "volumes", "zzz": "", "": "", "replicas": "",
		strings.Repeat("x", 10_000): "",
	} {
		if got := diag.Nearest(word, names); got != want {
			t.Errorf("the name nearest to %.20q is %q, want %q", word, got, want)
		}
	}
}

func TestAListIsSortedJoinedAndSearched(t *testing.T) {
	src := diag.NewSource("f.yaml", []byte("a: 1\nb: 2\n"))
	late, early := src.At(2, 1, 1, "second"), src.At(1, 1, 1, "first")
	warn := early
	warn.Severity, warn.Message = diag.Warning, "mind this"
	l := diag.List{late, early, warn, late}.Sort()
	if got, want := l.Error(), "f.yaml:1:1: first\nf.yaml:1:1: warning: mind this\nf.yaml:2:1: second"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if len(l.Errors()) != 2 || len(l.Warnings()) != 1 {
		t.Errorf("got %d errors and %d warnings, want 2 and 1", len(l.Errors()), len(l.Warnings()))
	}
	if err := l.Warnings().Err(); err != nil {
		t.Errorf("warnings alone are the error %v, want none", err)
	}
	var d diag.Diagnostic
	if !errors.As(l.Err(), &d) || d.Line != 1 {
		t.Errorf("errors.As finds %+v in the list, want its first error", d)
	}
	if got := fmt.Sprintf("%+v", late); got != "f.yaml:2:1: second\n  1 | a: 1\n> 2 | b: 2\n    | ^\n" {
		t.Errorf("%%+v prints %q", got)
	}
}

func TestSeveritiesAreWrittenAndReadBack(t *testing.T) {
	for _, s := range diag.Severities() {
		text, err := s.MarshalText()
		var back diag.Severity
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%v is written as %q and read back as %v (%v)", s, text, back, err)
		}
	}
	if err := new(diag.Severity).UnmarshalText([]byte("fatal")); err == nil {
		t.Error("an unknown severity is read without an error")
	}
}

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
		roots, found := diag.NewSource("f.yaml", data).Parse()
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, d := range found {
			if d.Line > lines || d.Message == "" {
				t.Errorf("the finding %q is outside the file of %d lines, or empty", d.Error(), lines)
			}
		}
		var walk func(n *yaml.Node)
		walk = func(n *yaml.Node) {
			if n.Kind == yaml.AliasNode {
				t.Errorf("an alias is left at %d:%d", n.Line, n.Column)
			}
			for _, c := range n.Content {
				walk(c)
			}
		}
		for _, root := range roots {
			walk(root)
		}
	})
}
