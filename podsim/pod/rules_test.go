package pod

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rules are the rules of the groups that this package keeps, a group a line: its two letters, and then each rule's
// number and priority.
const rules = `
	ST 01:1 02:1 03:2 04:1 05:1 06:1 07:1 08:1 09:2 10:2 11:2 12:3 13:3 14:2
	IN 01:1 02:1 03:1 04:1 05:2 06:2 07:1 08:1 09:2 10:2 11:2 12:2
	SC 01:1 02:1 03:1 04:1 05:1 06:1 07:1 08:1 09:1 10:1 11:1 12:1 13:1 14:2 15:2 16:2 17:1 18:2 19:2 20:1 21:1 22:2 23:3
	RP 01:1 02:1 03:1 04:2 05:2 06:2 07:2 08:2 09:2 10:2 11:3 12:3
	RA 01:2 02:2 03:2 04:2 05:2 06:2 07:2 08:2 09:3 10:3
	BO 01:1 02:1 03:1 04:1 05:2 06:2 07:2 08:3 09:2 10:2 11:3
	TM 01:1 02:1 03:1 04:1 05:1 06:1 07:1 08:1 09:1 10:1 11:2 12:1 13:1 14:1 15:1 16:1 17:2 18:1 19:1 20:1 21:1 22:1 23:2 24:2 25:2 26:2 27:2 28:2 29:2 30:2 31:2 32:2
	SG 01:2 02:2 03:2 04:3
	PB 01:1 02:1 03:1 04:1 05:1 06:1 07:2 08:2 09:2 10:2 11:1 12:1 13:1 14:1 15:1 16:1 17:1 18:1 19:1 20:2 21:2 22:2 23:2 24:2 25:2 26:2 27:2 28:3 29:3
	LH 01:1 02:1 03:1 04:1 05:2 06:2 07:2 08:2 09:2 10:2
	PH 01:1 02:1 03:1 04:1 05:1 06:1 07:1 08:1 09:1 10:2 11:2 12:2 13:1 14:1 15:1 16:2 17:2 18:2 19:2 20:3
	EC 01:3 02:3 03:3`

// groupTitles say what a group of rules is about, in the order of the document.
var groupTitles = [][2]string{
	{"ST", "Sandbox, syncs and the order of starts"},
	{"IN", "Regular init containers"},
	{"SC", "Sidecars"},
	{"RP", "Restart policies and rules"},
	{"RA", "Restart of all containers"},
	{"BO", "Back-off and retries"},
	{"TM", "Termination"},
	{"SG", "Stop signals"},
	{"PB", "Probes"},
	{"LH", "Lifecycle hooks"},
	{"PH", "Phase, conditions and container states"},
	{"EC", "Ephemeral containers"},
}

// elsewhere says of rules that no golden case here shows where they are kept, or why they are not.
var elsewhere = map[string]string{
	"ST-09": notDone + sandbox,
	"ST-10": notDone + sandbox,
	"ST-13": notDone + "a host that cannot tell how a container stands ends the run; one whose end nobody saw has ended, with ContainerStatusUnknown (fold.go).",
	"IN-05": notDone + sandbox,
	"IN-08": "podsim/manifest, which refuses a pod that breaks it.",
	"IN-12": "podsim/host, which removes an instance when the next is made and keeps the logs of both.",
	"SC-18": "look.go; no case can show it, as no status is ever lost here: only a restart of all containers takes them away, and then all of them (RA-07).",
	"SC-22": "podsim/printer (testdata/pods.txt), which counts what PodStatus reports.",
	"RP-06": "podsim/manifest, which refuses a pod that breaks it.",
	"SG-03": "podsim/manifest, which refuses a pod that breaks it.",
	"PB-02": "podsim/probe.", "PB-03": "podsim/probe.", "PB-04": "podsim/probe.", "PB-05": "podsim/probe.",
	"PB-06": "podsim/probe.", "PB-07": "podsim/probe.", "PB-08": "podsim/probe.", "PB-09": "podsim/probe.",
	"PB-10": "podsim/probe, and a warning of podsim/manifest.",
	"PB-24": "podsim/manifest, which refuses a pod that breaks it.",
	"PB-27": "podsim/events (testdata/stories.txt), which makes Kubernetes' events of a timeline.",
	"PB-28": "podsim/manifest, which refuses a pod that breaks it.",
	"LH-05": "podsim/probe.", "LH-07": "podsim/probe.",
	"LH-08": "podsim/manifest, which refuses a pod that breaks it.",
	"EC-02": "podsim/host, which places a container.",
}

const (
	notDone = "Not done: "
	sandbox = "podsim's sandbox is namespaces that mounts hold, and nothing in it can die. Where containers share their processes its first process can; that ends them all, and each is then restarted by its policy."
)

// A rule is one of rules, with the cases that show it.
type rule struct {
	id       string
	priority string
	cases    []shownBy
}

// A shownBy is a case of a golden file.
type shownBy struct{ file, sentence string }

// readRules returns the rules in order, each with its cases.
func readRules(t *testing.T) (all []*rule) {
	t.Helper()
	byID := map[string]*rule{}
	for line := range strings.Lines(rules) {
		w := strings.Fields(line)
		for i := 1; i < len(w); i++ {
			number, priority, _ := strings.Cut(w[i], ":")
			r := &rule{id: w[0] + "-" + number, priority: priority}
			all, byID[r.id] = append(all, r), r
		}
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "== ") {
				continue
			}
			ids, sentence, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "== ")), ": ")
			if !ok || sentence == "" {
				t.Errorf("%s: a case begins with its rules, a colon and a sentence; this one does not: %s", file, line)
			}
			for id := range strings.SplitSeq(ids, ", ") {
				switch r := byID[id]; {
				case !regexp.MustCompile(`^[A-Z]{2}-\d{2}$`).MatchString(id):
					t.Errorf("%s: %q is no rule's id: %s", file, id, line)
				case r != nil:
					r.cases = append(r.cases, shownBy{filepath.Base(file), sentence})
				}
			}
		}
	}
	return all
}

func TestEveryRuleIsShownByAGoldenCaseOrHasAReason(t *testing.T) {
	known := map[string]bool{}
	for _, r := range readRules(t) {
		known[r.id] = true
		switch why := elsewhere[r.id]; {
		case len(r.cases) == 0 && why == "":
			t.Errorf("no case in testdata shows %s, and nothing says where it is kept", r.id)
		case len(r.cases) > 0 && why != "":
			t.Errorf("%s is said not to be shown here (%s), and %s shows it", r.id, why, r.cases[0].file)
		}
	}
	for id := range elsewhere {
		if !known[id] {
			t.Errorf("%s is no rule of this package's groups", id)
		}
	}
}

func TestTheRulesAreDocumented(t *testing.T) {
	golden(t, "RULES.md", rulesDocument(readRules(t)))
}

func rulesDocument(all []*rule) string {
	var b strings.Builder
	open := 0
	for _, r := range all {
		if strings.HasPrefix(elsewhere[r.id], notDone) {
			open++
		}
	}
	fmt.Fprintf(&b, `# Where each rule is proven

The rules of a pod's lifecycle by their ids, with their priorities. A rule that the planner keeps is proven by cases of
the golden files in testdata, which show the pod, what happens, and the plan and the status after each; the table gives
each case's sentence. Of the others it says where they are kept, or why they are not done. Of %d rules %d are not done.

This file is made from the golden files and rules_test.go by `+"`go test ./podsim/pod -run Documented -update`"+`.
`, len(all), open)
	for _, group := range groupTitles {
		fmt.Fprintf(&b, "\n## %s (%s)\n\n| rule | P | proven by |\n|---|---|---|\n", group[1], group[0])
		for _, r := range all {
			if strings.HasPrefix(r.id, group[0]) {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", r.id, r.priority, r.proof())
			}
		}
	}
	return b.String()
}

// proof is what the table says of a rule.
func (r *rule) proof() string {
	why := elsewhere[r.id]
	switch {
	case strings.HasPrefix(why, notDone):
		return "**" + strings.TrimSpace(notDone) + "** " + strings.TrimPrefix(why, notDone)
	case why != "":
		return "Kept by " + why
	}
	var parts []string
	for _, c := range r.cases {
		part := fmt.Sprintf("[%s](testdata/%s): %s", c.file, c.file, strings.ReplaceAll(c.sentence, "|", "\\|"))
		if i := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, "["+c.file) }); i >= 0 {
			parts[i] += "; " + c.sentence
			continue
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "<br>")
}
