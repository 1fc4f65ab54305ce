package podsim_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/podsim/podsim/"

// mayImport is the architecture's table: each of our packages, and which of ours it may import. A package that is
// not here may not exist; an import that is not here may not be.
var mayImport = map[string][]string{
	"podsim/pod":                {},
	"podsim/pod/podtest":        {"podsim/pod"},
	"podsim/timeline":           {"podsim/pod"},
	"podsim/events":             {"podsim/pod", "podsim/timeline"},
	"podsim/printer":            {},
	"podsim":                    {"podsim/pod", "podsim/timeline"},
	"podsim/manifest/diag":      {},
	"podsim/manifest/strict":    {"podsim/manifest/diag"},
	"podsim/manifest":           {"podsim/manifest/diag", "podsim/manifest/strict", "podsim/pod"},
	"podsim/manifest/env":       {"podsim/manifest", "podsim/manifest/reference"},
	"podsim/manifest/payload":   {"podsim/manifest/env"},
	"podsim/manifest/netfiles":  {},
	"podsim/manifest/reference": {}, // the form of $(NAME), which env and probe share
	"podsim/probe":              {"podsim/pod", "podsim/manifest/reference"},
	"podsim/internal/ctrd":      {},
	"podsim/internal/rundir":    {},
	"podsim/host": {"podsim/pod", "podsim/timeline", "podsim/manifest", "podsim/manifest/env", "podsim/manifest/payload", "podsim/manifest/netfiles", "podsim/probe",
		"podsim/internal/ctrd", "podsim/internal/rundir", "netns", "netns/intercept", "netns/flows", "netns/world", "netns/request", "volumes"},
	"podsim/logs":       {"podsim/internal/rundir"},
	"podsim/supervisor": {"podsim", "podsim/pod", "podsim/timeline", "podsim/manifest", "podsim/host", "podsim/internal/rundir"},
	"netns":             {},
	"netns/intercept":   {"netns"},
	"netns/flows":       {"netns"},
	"netns/world":       {"netns"},
	"netns/lab":         {"netns"}, // the throw-away machines of netns's tests
	"netns/request":     {"netns"},
	"volumes":           {},
	"scenarios":         {"podsim/pod", "podsim/timeline", "podsim/events", "podsim/manifest", "podsim/manifest/diag"},
	"scenarios/report":  {"scenarios", "podsim/pod", "podsim/timeline", "podsim/manifest/diag"},
	"cmd/sidekick":      {},
	"cmd/podsim-init":   {},
	"cmd/podsim-shim":   {},
}

// anything lists the packages that wire the others together.
var anything = []string{"cmd/podsim"}

// pure packages decide; they do nothing.
var pure = []string{"podsim/pod", "podsim/timeline", "podsim/events", "podsim/printer", "scenarios", "scenarios/report", "podsim/manifest/diag", "podsim/manifest/env", "podsim/manifest/reference"}

// effectful is what a pure package may not import: anything that touches the machine.
var effectful = []string{"os/exec", "net", "net/http", "syscall", "golang.org/x/sys/unix", "math/rand", "math/rand/v2", "crypto/rand"}

// timeless packages take time as an argument, and may use none of these.
var timeless = []string{"podsim/pod", "podsim/timeline", "podsim/events", "podsim/printer", "scenarios"}
var clocks = []string{"Now", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Since", "Until"}

type goPackage struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func ourPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestWhoImportsWhomIsAsTheArchitectureSays(t *testing.T) {
	for _, p := range ourPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if slices.Contains(anything, name) || strings.HasPrefix(name, "scripts/") {
			continue
		}
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is not in the import table: add it there and to the architecture's drawing", name)
			continue
		}
		for _, imp := range p.Imports {
			ours, isOurs := strings.CutPrefix(imp, module)
			switch {
			case isOurs && !slices.Contains(allowed, ours):
				t.Errorf("package %s imports %s; it may import only %v", name, ours, allowed)
			case slices.Contains(pure, name) && slices.Contains(effectful, imp):
				t.Errorf("package %s is pure and imports %s", name, imp)
			case strings.HasPrefix(imp, "github.com/containerd/containerd/v2") && name != "podsim/internal/ctrd":
				t.Errorf("package %s imports %s; only podsim/internal/ctrd may", name, imp)
			}
		}
	}
}

func TestPurePackagesReadNoClock(t *testing.T) {
	for _, p := range ourPackages(t) {
		if !slices.Contains(timeless, strings.TrimPrefix(p.ImportPath, module)) {
			continue
		}
		for _, file := range p.GoFiles {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && slices.Contains(clocks, sel.Sel.Name) {
						t.Errorf("%s: time.%s in a package that takes time as an argument", fset.Position(n.Pos()), sel.Sel.Name)
					}
				}
				if g, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s: a goroutine in a pure package", fset.Position(g.Pos()))
				}
				return true
			})
		}
	}
}
