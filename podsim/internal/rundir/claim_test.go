//go:build linux

package rundir

import (
	"errors"
	"slices"
	"testing"
)

func TestAPodsNameIsOneRunsUntilItIsGivenBack(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	first, second := create(t, state), create(t, state)
	if err := first.Claim("default", "web"); err != nil {
		t.Fatal(err)
	}
	var taken *ClaimedError
	if err := second.Claim("default", "web"); !errors.As(err, &taken) || taken.Run != first.ID {
		t.Fatalf("claim a name that is taken: %v", err)
	}
	if err := second.Claim("other", "web"); err != nil {
		t.Errorf("the same name in another namespace: %v", err)
	}
	want := []Claim{{"default", "web", first.ID}, {"other", "web", second.ID}}
	if got, err := Claims(state); err != nil || !slices.Equal(got, want) {
		t.Errorf("claims %v, %v; want %v", got, err, want)
	}
	if err := errors.Join(Unclaim(state, first.ID), Unclaim(state, first.ID)); err != nil {
		t.Fatal(err)
	}
	if err := second.Claim("default", "web"); err != nil {
		t.Errorf("a name that was given back: %v", err)
	}
}

func TestTheNameOfARunThatIsNoMoreIsFree(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	gone := create(t, state)
	if err := gone.Claim("default", "web"); err != nil {
		t.Fatal(err)
	}
	if err := gone.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := create(t, state).Claim("default", "web"); err != nil {
		t.Error(err)
	}
}

func create(t *testing.T, state string) *Run {
	t.Helper()
	r, err := Create(state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
