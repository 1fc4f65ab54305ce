package pod

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A gateFact is one line of testdata/gates.facts.
type gateFact struct {
	module  string // the version of the module that it was read from
	line    int
	changes []gateChange
}

// A gateChange is what a gate is from one release on.
type gateChange struct {
	from       Version
	on, locked bool
	stage      string
}

// at is what the gate is in a release; ok is false if the release does not have it yet.
func (f gateFact) at(v Version) (c gateChange, ok bool) {
	for _, change := range f.changes {
		if change.from <= v {
			c, ok = change, true
		}
	}
	return c, ok
}

// readGateFacts returns the facts by module and gate.
func readGateFacts(t *testing.T) map[string]map[string]gateFact {
	t.Helper()
	text, err := os.ReadFile("testdata/gates.facts")
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]map[string]gateFact{}
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(w) == 0 {
			continue
		}
		f := gateFact{module: w[0]}
		if f.line, err = strconv.Atoi(w[1]); err != nil {
			t.Fatalf("gates.facts: %v: %s", err, line)
		}
		for _, change := range w[3:] {
			release, is, _ := strings.Cut(change, "=")
			state, stage, _ := strings.Cut(is, ",")
			minor, err := strconv.Atoi(strings.TrimPrefix(release, "1."))
			if err != nil {
				t.Fatalf("gates.facts: %v: %s", err, line)
			}
			f.changes = append(f.changes, gateChange{from: Version(minor), on: strings.HasPrefix(state, "on"), locked: strings.HasSuffix(state, "!"), stage: stage})
		}
		if facts[w[0]] == nil {
			facts[w[0]] = map[string]gateFact{}
		}
		facts[w[0]][w[2]] = f
	}
	return facts
}

// sourceOf is the module that tells about a release: the first that is not older.
func sourceOf(v Version) string {
	if v <= 36 {
		return "v1.36.3"
	}
	return "v1.37.2"
}

func TestTheGateTableIsWhatKubernetesHas(t *testing.T) {
	facts := readGateFacts(t)
	for _, v := range Versions() {
		source := facts[sourceOf(v)]
		for _, g := range Gates() {
			f, ok := source[g.String()]
			if !ok { // removed, as it always holds
				old, _ := facts[sourceOf(v-1)][g.String()].at(v - 1)
				if !old.locked || !old.on {
					t.Errorf("%s has no line of %s, and it was not locked to on before", sourceOf(v), g)
				}
				f.changes = []gateChange{{on: true, locked: true}}
			}
			is, there := f.at(v)
			if got := g.Default(v); got != is.on {
				t.Errorf("%s in %s: Default is %v, and kube_features.go:%d of %s says %v", g, v, got, f.line, f.module, is.on)
			}
			if got := g.Locked(v); got != is.locked {
				t.Errorf("%s in %s: Locked is %v, and kube_features.go:%d of %s says %v", g, v, got, f.line, f.module, is.locked)
			}
			if got := gateTable[g].born <= v; got != there {
				t.Errorf("%s in %s: it is there %v, and kube_features.go:%d of %s says %v", g, v, got, f.line, f.module, there)
			}
		}
	}
}

func TestTheGatesAreDocumented(t *testing.T) {
	golden(t, "GATES.md", gatesDocument(readGateFacts(t)))
}

func gatesDocument(facts map[string]map[string]gateFact) string {
	var b strings.Builder
	b.WriteString(`# Feature gates

Which of Kubernetes' feature gates decide something in podsim, and which releases have them on: **on** says by default,
(on) that it cannot be turned off, off that it can be turned on, – that the release does not have it. The lines are
those of pkg/features/kube_features.go in the module k8s.io/kubernetes. The default release is ` + DefaultVersion.String() + `.

This file is made from gate.go and testdata/gates.facts by ` + "`go test ./podsim/pod -run Documented -update`" + `.

`)
	b.WriteString("| gate | decides |")
	for _, v := range Versions() {
		fmt.Fprintf(&b, " %s |", v)
	}
	b.WriteString(" v1.36.3 | v1.37.2 |\n|---|---|" + strings.Repeat("---|", len(Versions())+2) + "\n")
	for _, g := range Gates() {
		fmt.Fprintf(&b, "| %s | %s |", g, gateTable[g].decides)
		for _, v := range Versions() {
			switch {
			case v < gateTable[g].born:
				b.WriteString(" – |")
			case g.Locked(v):
				b.WriteString(" (on) |")
			case g.Default(v):
				b.WriteString(" **on** |")
			default:
				b.WriteString(" off |")
			}
		}
		for _, module := range []string{"v1.36.3", "v1.37.2"} {
			if f, ok := facts[module][g.String()]; ok {
				fmt.Fprintf(&b, " :%d |", f.line)
			} else {
				b.WriteString(" removed |")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString(`
No release up to v1.37.2 has a gate for the restart of sidecars while their pod terminates (KEP-4438), and container
stop signals (KEP-4960) are still off in v1.37.2.
`)
	return b.String()
}

func TestAKubeletChecksItsOptions(t *testing.T) {
	for text, want := range map[string]string{
		"version=1.36 backoff=x10 ticks=sync poll=1s": "",
		"version=v1.35.4 maxBackOff=30s":              "",
		"version=1.36 gates=+ContainerStopSignals":    "",
		"version=1.32":                 "no Kubernetes release",
		"version=1.38":                 "no Kubernetes release",
		"version=2.36":                 "no Kubernetes release",
		"backoff=fast":                 "no such pace",
		"backoff=x0":                   "no such pace",
		"maxBackOff=500ms":             "use 1s to 5m0s",
		"version=1.34 maxBackOff=30s":  "turn on feature gate",
		"poll=-1s":                     "back in time",
		"gates=-SidecarContainers":     "cannot be turned off",
		"gates=+NoSuchGate":            "no such feature gate",
		"version=1.33 gates=+EnvFiles": "there is no feature gate EnvFiles",
		"version=1.36 gates=-ContainerRestartRules":                               "needs ContainerRestartRules",
		"gates=-ContainerRestartRules,-RestartAllContainersOnContainerExits":      "",
		"version=1.35 gates=+RestartAllContainersOnContainerExits,-EnvFiles":      "",
		"version=1.34 gates=+ContainerRestartRules,+KubeletCrashLoopBackOffMax":   "",
		"version=1.34 gates=+KubeletCrashLoopBackOffMax maxBackOff=1s backoff=x1": "",
	} {
		_, err := parseKubelet(strings.Fields(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: got %v, want no error", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want an error that says %q", text, err, want)
		}
	}
}

func TestEveryPaceAndVersionIsFoundAgainByItsText(t *testing.T) {
	for _, p := range []Pace{0, PaceOff, 2, 10, 1000} {
		text, _ := p.MarshalText()
		var back Pace
		if err := back.UnmarshalText(text); err != nil || back != p {
			t.Errorf("pace %d: its text %s gives %d, %v", p, text, back, err)
		}
	}
	for _, v := range Versions() {
		text, _ := v.MarshalText()
		var back Version
		if err := back.UnmarshalText(text); err != nil || back != v {
			t.Errorf("version %d: its text %s gives %d, %v", v, text, back, err)
		}
	}
}
