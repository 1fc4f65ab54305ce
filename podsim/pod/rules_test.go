package pod

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shown are the rules of this package that have to be shown by a golden case: all of priority 1, and those of
// priority 2 that the planner keeps. IN-08, PB-02..06 and the like are kept elsewhere: in validation and by the host.
const shown = `
	ST-01 ST-02 ST-03 ST-04 ST-05 ST-06 ST-07 ST-08 ST-11 ST-12 ST-14
	IN-01 IN-02 IN-03 IN-04 IN-06 IN-07 IN-09 IN-10
	SC-01 SC-02 SC-03 SC-04 SC-05 SC-06 SC-07 SC-08 SC-09 SC-10 SC-11 SC-12 SC-13 SC-14 SC-15 SC-16 SC-17 SC-19 SC-20 SC-21
	RP-01 RP-02 RP-03 RP-04 RP-05 RP-07 RP-08 RP-09 RP-10 RP-11
	RA-01 RA-02 RA-03 RA-04 RA-05 RA-06 RA-07 RA-08 RA-09 RA-10
	EC-01 EC-03 RP-12
	BO-01 BO-02 BO-03 BO-04 BO-05 BO-06 BO-07 BO-08 BO-09 BO-10 BO-11
	TM-01 TM-02 TM-03 TM-04 TM-05 TM-06 TM-07 TM-08 TM-09 TM-10 TM-11 TM-12 TM-13 TM-14 TM-15 TM-16 TM-17 TM-18 TM-19 TM-20
	TM-21 TM-22 TM-23 TM-24 TM-25 TM-26 TM-27 TM-28 TM-29 TM-30 TM-31 TM-32
	PB-01 PB-11 PB-12 PB-13 PB-14 PB-15 PB-16 PB-17 PB-18 PB-19 PB-20 PB-21 PB-22 PB-23 PB-25 PB-26 PB-29
	SG-01 SG-02 SG-04
	LH-01 LH-02 LH-03 LH-04 LH-06 LH-09 LH-10
	PH-01 PH-02 PH-03 PH-04 PH-05 PH-06 PH-07 PH-08 PH-09 PH-10 PH-11 PH-12 PH-13 PH-14 PH-15 PH-16 PH-17 PH-18 PH-19 PH-20`

func TestEveryRuleIsShownByAGoldenCase(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "== ") {
				continue
			}
			ids, sentence, ok := strings.Cut(strings.TrimPrefix(line, "== "), ": ")
			if !ok || strings.TrimSpace(sentence) == "" {
				t.Errorf("%s: a case begins with its rules, a colon and a sentence; this one does not: %s", file, line)
			}
			for id := range strings.SplitSeq(ids, ", ") {
				if !regexp.MustCompile(`^[A-Z]{2}-\d{2}$`).MatchString(id) {
					t.Errorf("%s: %q is no rule's id: %s", file, id, line)
				}
				seen[id] = true
			}
		}
	}
	for id := range strings.FieldsSeq(shown) {
		if !seen[id] {
			t.Errorf("no case in testdata shows %s", id)
		}
	}
}
