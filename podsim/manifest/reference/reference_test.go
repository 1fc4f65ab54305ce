package reference_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/podsim/podsim/podsim/manifest/reference"
)

func value(name string) (string, bool) {
	v, ok := map[string]string{"A": "a", "EMPTY": "", "NEST": "$(A)"}[name]
	return v, ok
}

func TestExpand(t *testing.T) { // CM-02
	for text, want := range map[string]string{
		"": "", "no reference": "no reference", "x$(A)y$(A)": "xaya", "<$(EMPTY)>": "<>", "$(NEST)": "$(A)",
		"$(NONE)/$(A)": "$(NONE)/a", "$()": "$()", "$(A": "$(A", "$(A$(A)": "$(A$(A)", "$": "$", "$A ${A}": "$A ${A}",
		"$$(A)": "$(A)", "$$$(A)": "$a", "$$$$": "$$", "($(A))": "(a)",
	} {
		if got := reference.Expand(text, value); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// A text without two dollars in a row stays as it is where no name is known.
func TestWhatIsUnknownStays(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([a-z()A]|\$[a-z()A]){0,12}\$?`).Draw(t, "text")
		if got := reference.Expand(text, none); got != text {
			t.Fatalf("%q becomes %q", text, got)
		}
	})
}
