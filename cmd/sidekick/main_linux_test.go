package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

const (
	// asSidekick makes the test binary be sidekick itself, for tests that need a process of their own.
	asSidekick = "SIDEKICK_TEST_BE_SIDEKICK"
	// inNamespace marks the test binary that runs in a network namespace of its own.
	inNamespace = "SIDEKICK_TEST_IN_NAMESPACE"
)

// TestMain runs all tests in a network namespace of their own where it can, so that the proxy's fixed ports and
// nat rules meet nobody else's.
func TestMain(m *testing.M) {
	if os.Getenv(asSidekick) != "" {
		main()
	}
	if os.Getuid() == 0 && os.Getenv(inNamespace) == "" {
		os.Exit(again())
	}
	if os.Getenv(inNamespace) != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// again runs this test binary once more, in a new network namespace.
func again() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintf(os.Stderr, "run the tests in a network namespace: %v\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// needNamespace skips a test that cannot run outside a network namespace of its own.
func needNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return
	}
	if os.Getenv("PODSIM_REQUIRE_HOST") != "" {
		t.Fatal("this test needs root, for a network namespace of its own")
	}
	t.Skip("this test needs root, for a network namespace of its own")
}
