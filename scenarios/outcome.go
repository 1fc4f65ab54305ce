package scenarios

import "fmt"

// An Outcome is what became of a scenario, a step or a check.
type Outcome uint8

// The outcomes, from the best to the worst. Skipped is a step that was not reached.
const (
	Skipped Outcome = iota
	Pass
	// Inconclusive: what was seen does not suffice to say. It is never a pass.
	Inconclusive
	Fail
	// Errored: it could not be carried out or judged at all.
	Errored
)

var outcomeNames = [...]string{Skipped: "SKIPPED", Pass: "PASS", Inconclusive: "INCONCLUSIVE", Fail: "FAIL", Errored: "ERROR"}

// Outcomes lists the outcomes.
func Outcomes() []Outcome { return []Outcome{Skipped, Pass, Inconclusive, Fail, Errored} }

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// MarshalText gives the outcome as reports print it.
func (o Outcome) MarshalText() ([]byte, error) {
	if int(o) >= len(outcomeNames) {
		return nil, fmt.Errorf("no such outcome: %d", uint8(o))
	}
	return []byte(outcomeNames[o]), nil
}

// UnmarshalText reads what MarshalText gives.
func (o *Outcome) UnmarshalText(text []byte) error {
	for _, v := range Outcomes() {
		if v.String() == string(text) {
			*o = v
			return nil
		}
	}
	return fmt.Errorf("no such outcome: %q", text)
}
