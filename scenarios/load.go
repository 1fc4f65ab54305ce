package scenarios

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The type of document that this package reads.
const (
	APIVersion = "podsim/v1alpha1"
	Kind       = "Scenario"
)

// Load reads the scenarios of files and directories, with everything that they refer to, in the order of paths and,
// in a directory, of names. A directory is walked for *.yaml and *.yml files that hold a Scenario; others in it are
// left alone, whereas a file that is named must hold one. Errors of all files are reported together; where there is
// one, the scenarios are not fit to be run.
func Load(paths ...string) ([]*Scenario, diag.List) {
	var out []*Scenario
	var found diag.List
	for _, path := range paths {
		files, named, err := filesOf(path)
		if err != nil {
			found = append(found, diag.Diagnostic{File: path, Message: fmt.Sprintf("read scenarios: %v", err)})
			continue
		}
		n := len(out)
		for _, file := range files {
			s, list := loadFile(file, named)
			out, found = append(out, s...), append(found, list...)
		}
		if !named && len(out) == n && found.Err() == nil {
			found = append(found, diag.Diagnostic{File: path, Message: "no scenario in this directory: no *.yaml file of it has kind: Scenario"})
		}
	}
	return out, append(found, namesakes(out)...)
}

// namesakes reports scenarios of different files that have one name.
func namesakes(all []*Scenario) diag.List {
	var found diag.List
	first := make(map[string]Pos, len(all))
	for _, s := range all {
		was, known := first[s.Name]
		switch {
		case !known:
			first[s.Name] = s.Pos
		case was.File != s.Pos.File && s.Name != "":
			found = append(found, diag.Diagnostic{File: s.Pos.File, Line: s.Pos.Line, Col: s.Pos.Col, Snippet: s.Pos.Snippet,
				Message: fmt.Sprintf("scenario %q is in %s:%d already; reports would not tell them apart", s.Name, was.File, was.Line)})
		}
	}
	return found
}

// filesOf lists the files that a path stands for; named says that it is a file itself.
func filesOf(path string) (files []string, named bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{path}, true, nil
	}
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := filepath.Ext(p); e.Type().IsRegular() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, p)
		}
		return nil
	})
	return files, false, err
}

func loadFile(path string, named bool) ([]*Scenario, diag.List) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > diag.MaxBytes {
		if !named {
			return nil, nil
		}
		err = fmt.Errorf("the file is larger than %d MiB; split it", diag.MaxBytes>>20)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, diag.List{{File: path, Message: fmt.Sprintf("read scenario: %v", err)}}
	}
	return parse(path, data, named)
}

// Parse reads the scenarios of one file's text. Files that it refers to are read, relative to the file's directory.
func Parse(file string, data []byte) ([]*Scenario, diag.List) { return parse(file, data, true) }

func parse(file string, data []byte, named bool) ([]*Scenario, diag.List) {
	src := diag.NewSource(file, data)
	roots, found := src.Parse()
	if !named && !mentions(data) {
		return nil, nil
	}
	var out []*Scenario
	seen := map[string]int{}
	scenarios := 0
	for _, root := range roots {
		_, kind := diag.Lookup(root, "kind")
		switch {
		case kind != nil && kind.Value == Kind:
		case !named:
			continue
		case kind == nil:
			found = append(found, src.ErrorAt(root, "this is no scenario: kind is missing; want apiVersion: %s and kind: %s", APIVersion, Kind))
			continue
		default:
			d := src.ErrorAt(kind, "unknown kind %q; a scenario file holds documents of kind %s", kind.Value, Kind)
			d.Suggestion = diag.Nearest(kind.Value, []string{Kind})
			found = append(found, d)
			continue
		}
		scenarios++
		l := &loader{decoder: decoder{src: src}, dir: filepath.Dir(file)}
		s := l.scenario(root)
		if line, again := seen[s.Name]; again && s.Name != "" {
			l.errorf(root, "scenario %q is already in this file, on line %d", s.Name, line)
		}
		seen[s.Name] = root.Line
		s.Warnings = l.found.Warnings()
		out, found = append(out, s), append(found, l.found.Errors()...)
	}
	if named && scenarios == 0 && len(found) == 0 {
		found = append(found, src.Errorf("no scenario in this file; want apiVersion: %s and kind: %s", APIVersion, Kind))
	}
	return out, found.Sort()
}

// mentions reports whether a text may hold a scenario, well-formed or not.
func mentions(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == "kind" && strings.TrimSpace(value) == Kind {
			return true
		}
	}
	return strings.HasPrefix(strings.TrimSpace(string(data)), "{") && strings.Contains(string(data), Kind)
}

// A loader reads one scenario.
type loader struct {
	decoder
	dir   string
	names names
	out   *Scenario

	// What is so before the step that is being read.
	isUp, isGone   bool
	finally        bool               // the step is one of finally
	now            manifest.Resources // with the changes of the updates before
	activeDeadline *int64             // that the updates before have set
}

func (l *loader) scenario(root *yaml.Node) *Scenario {
	l.out = &Scenario{Pos: l.pos(root), Offline: true, Options: Options{Timeout: defaultTimeout, Strict: true}}
	var spec *yaml.Node
	l.mapping(root, "Scenario", fields{
		"apiVersion": func(v *yaml.Node) { l.word(v, "apiVersion", APIVersion) },
		"kind":       func(*yaml.Node) {},
		"metadata": func(v *yaml.Node) {
			l.mapping(v, "metadata", fields{
				"name":        func(v *yaml.Node) { l.name(v) },
				"labels":      func(v *yaml.Node) { l.textMap(v, "labels") },
				"annotations": func(v *yaml.Node) { l.textMap(v, "annotations") },
			}, nil)
		},
		"spec": func(v *yaml.Node) { spec = v },
	}, nil)
	if _, v := diag.Lookup(root, "apiVersion"); v == nil {
		l.errorf(root, "apiVersion is missing; want %s", APIVersion)
	}
	if l.out.Name == "" {
		l.errorf(root, "metadata.name is missing; reports name the scenario by it")
	}
	if spec == nil {
		l.errorf(root, "spec is missing")
		return l.out
	}
	l.spec(spec)
	return l.out
}

// name reads the scenario's name, which reports and the files of timelines are called by.
func (l *loader) name(v *yaml.Node) {
	l.out.Name = l.text(v)
	for _, bad := range validation.IsDNS1123Subdomain(l.out.Name) {
		if l.out.Name != "" {
			l.errorf(v, "metadata.name: Invalid value: %q: %s", l.out.Name, bad)
		}
	}
}

// path is a path of the file as found from the working directory.
func (l *loader) path(n *yaml.Node) string {
	s := l.text(n)
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(l.dir, s)
}

// missing reports a file that is not there where the scenario names it, which is where it is to be mended.
func (l *loader) missing(n *yaml.Node, path string) bool {
	if path == "" {
		return true
	}
	if _, err := os.Stat(path); err != nil {
		l.errorf(n, "%v", err)
		return true
	}
	return false
}

// load reads a manifest that the scenario refers to.
func (l *loader) load(n *yaml.Node) (*manifest.Manifest, bool) {
	path := l.path(n)
	if l.missing(n, path) {
		return nil, false
	}
	m, found := manifest.Load(path)
	l.found = append(l.found, found...)
	return m, found.Err() == nil
}
