//go:build linux

package ctrd

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestContainersComeToTheShimThatWasStartedAhead(t *testing.T) {
	f := newFixture(t)
	first := f.config("a", "block")
	if err := f.c.StartShim(f.run, first.Pod); err != nil {
		t.Fatal(err)
	}
	before := shims(t, f)
	if len(before) != 1 {
		t.Fatalf("the shims are %v, want one", before)
	}
	f.start(first)
	f.start(f.config("b", "block"))
	if after := shims(t, f); len(after) != 1 || after[0] != before[0] {
		t.Errorf("the shims are %v, want %v", after, before)
	}
}

func TestAShimStartedAheadThatGotNoContainerGoesWithItsRun(t *testing.T) {
	f := newFixture(t)
	pod := f.config("a", "block").Pod
	if err := f.c.StartShim(f.run, pod); err != nil {
		t.Fatal(err)
	}
	f.c.mu.Lock() // what another process knows of it that finds the run dead
	f.c.pods, f.c.shims = map[string]map[string]bool{}, map[string]*podShim{}
	f.c.mu.Unlock()
	if err := f.c.RemoveRun(deadline(t), f.run); err != nil {
		t.Fatal(err)
	}
	if left := shims(t, f); len(left) != 0 {
		t.Errorf("the shims %v are left", left)
	}
	if _, err := os.Lstat(f.c.shimSocket(pod)); !os.IsNotExist(err) {
		t.Errorf("the shim's socket is left: %v", err)
	}
}

func TestAContainerStartsAShimWhereTheOneAheadWasKilled(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("a", "block")
	if err := f.c.StartShim(f.run, cfg.Pod); err != nil {
		t.Fatal(err)
	}
	killed := shims(t, f)
	for _, pid := range killed {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its socket is dead", func() bool { return !answers(f.c.shimSocket(cfg.Pod)) })
	}
	f.start(cfg)
	if after := shims(t, f); len(after) != 1 || after[0] == killed[0] {
		t.Errorf("the shims are %v, want another one than %v", after, killed)
	}
}

// The last container of a shim takes it along; the next is not to come to a shim that is going.
func TestAContainerIsCreatedRightAfterTheLastOneOfItsPodWasDeleted(t *testing.T) {
	f := newFixture(t)
	for i := range 8 {
		cfg := f.config("a", "block")
		cfg.ID = fmt.Sprintf("%s-%d", cfg.ID, i)
		k, err := f.c.Create(deadline(t), cfg)
		if err != nil {
			t.Fatalf("instance %d: %v", i, err)
		}
		if err := k.Delete(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
}
