package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

const (
	// asSidekick makes the test binary be sidekick itself, for tests that need a process of their own.
	asSidekick = "SIDEKICK_TEST_BE_SIDEKICK"
	// inNamespace marks the test binary that runs in a network namespace of its own.
	inNamespace = "SIDEKICK_TEST_IN_NAMESPACE"
	// patience is how long a test waits for an event that must come.
	patience = 20 * time.Second
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

// A transcript collects what a program prints and lets a test wait for a line.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait returns the first match of a pattern, and its groups, once it has been printed.
func (s *transcript) wait(t *testing.T, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	re := regexp.MustCompile(pattern)
	for {
		s.mu.Lock()
		match, more := re.FindStringSubmatch(s.text.String()), s.more
		s.mu.Unlock()
		if match != nil {
			return match
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("%q was never printed; what was:\n%s", pattern, s)
		}
	}
}

// A running is a mode that runs inside the test.
type running struct {
	out     *transcript
	signals chan os.Signal
	code    chan int
}

// start runs a command line inside the test. If the test does not stop it, its end does.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{out: newTranscript(), signals: make(chan os.Signal, 2), code: make(chan int, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{in: strings.NewReader(""), out: r.out, err: r.out, environ: []string{"B=2", "A=1"},
		signals: func() <-chan os.Signal { return r.signals }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.code <- run(ctx, p, append([]string{"sidekick"}, args...))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// exit waits for the end and returns the code.
func (r *running) exit(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		t.Fatalf("it never ended; it printed:\n%s", r.out)
		return -1
	}
}

// address waits for the address that the program listens on.
func (r *running) address(t *testing.T) string {
	t.Helper()
	return r.out.wait(t, `listening on (\S+)`)[1]
}

// once runs a command line to its end and returns what it printed and its code.
func once(t *testing.T, args ...string) (string, int) {
	t.Helper()
	r := start(t, args...)
	code := r.exit(t)
	return r.out.String(), code
}
