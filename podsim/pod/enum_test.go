package pod

import (
	"encoding"
	"fmt"
	"testing"
)

// roundTrip checks that every value of an enum has a name of its own, and is found again by it.
func roundTrip[T interface {
	comparable
	fmt.Stringer
	encoding.TextMarshaler
}, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, values []T) {
	t.Helper()
	seen := map[string]bool{}
	for _, v := range values {
		text, err := v.MarshalText()
		if err != nil || len(text) == 0 {
			t.Errorf("MarshalText of %#v: got %q, %v, want a name", v, text, err)
			continue
		}
		if seen[string(text)] {
			t.Errorf("%T: two values are named %s", v, text)
		}
		seen[string(text)] = true
		if v.String() != string(text) {
			t.Errorf("%T: String is %q, want the name in texts, %q", v, v.String(), text)
		}
		var back T
		if err := P(&back).UnmarshalText(text); err != nil || back != v {
			t.Errorf("UnmarshalText of %q: got %v, %v, want %v", text, back, err, v)
		}
	}
	var zero, v T
	if text, err := zero.MarshalText(); err == nil {
		t.Errorf("MarshalText of the zero %T: got %q, want an error", zero, text)
	}
	if err := P(&v).UnmarshalText([]byte("no such name")); err == nil {
		t.Errorf("UnmarshalText of a name that no %T has: got %v, want an error", v, v)
	}
}

func TestEveryEnumValueIsFoundAgainByItsName(t *testing.T) {
	roundTrip(t, Ops())
	roundTrip(t, ProbeKinds())
	roundTrip(t, HookKinds())
	roundTrip(t, Roles())
	roundTrip(t, StopReasons())
	roundTrip(t, Kinds())
	roundTrip(t, Results())
	roundTrip(t, Verdicts())
	roundTrip(t, States())
	roundTrip(t, Gates())
	roundTrip(t, TicksValues())
}

func TestEveryEnumListsAllItsValues(t *testing.T) {
	for name, got := range map[string][2]int{
		"Op": {len(Ops()), int(OpMark)}, "ProbeKind": {len(ProbeKinds()), int(ProbeReadiness)},
		"HookKind": {len(HookKinds()), int(HookPreStop)}, "Role": {len(Roles()), int(RoleEphemeral)},
		"StopReason": {len(StopReasons()), int(StopRestartAll)}, "Kind": {len(Kinds()), int(Noted)},
		"Result": {len(Results()), int(Unknown)}, "Verdict": {len(Verdicts()), int(Unproxied)},
		"State": {len(States()), int(StateExited)}, "Gate": {len(Gates()), int(GateSupplementalGroupsPolicy)},
		"Ticks": {len(TicksValues()), int(TicksSync)},
	} {
		if got[0] != got[1] {
			t.Errorf("%s lists %d values, want %d", name, got[0], got[1])
		}
	}
}
