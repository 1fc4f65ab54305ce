package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test's own binary is the soak's process, in a network namespace of its own.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestPodsWhoseContainersCrashAreReportedAsTheyAre(t *testing.T) {
	bundle := os.Getenv("PODSIM_BUNDLE")
	demanded := os.Getenv("PODSIM_REQUIRE_HOST") != ""
	switch {
	case os.Getuid() != 0 && demanded:
		t.Fatal("PODSIM_REQUIRE_HOST is set, and this is not root")
	case os.Getuid() != 0:
		t.Skip("containers need root")
	case bundle == "" && demanded:
		t.Fatal("PODSIM_REQUIRE_HOST is set, and PODSIM_BUNDLE is not: make build, and name bin/ in it")
	case bundle == "":
		t.Skip("PODSIM_BUNDLE does not say where podsim, sidekick and the bundle are")
	}
	t.Parallel()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var out strings.Builder
	err := apart(ctx, []string{"--for", (20 * time.Second).String(), "--bin", bundle}, &out)
	if err != nil || !strings.Contains(out.String(), "all consistent, nothing left") {
		t.Errorf("soak: %v\n%s", err, out.String())
	}
	t.Log(strings.TrimSpace(out.String()))
}
