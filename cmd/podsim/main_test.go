package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// actVariable makes of this test binary the podsim that is tested.
const actVariable = "PODSIM_TEST_MAIN"

func TestMain(m *testing.M) {
	if code, helped := reexec(os.Args[1:]); helped {
		os.Exit(code)
	}
	if os.Getenv(actVariable) == "1" {
		os.Exit(run(os.Args[1:]))
	}
	code := m.Run()
	if err := closeSite(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// An outcome is what a command line came to.
type outcome struct {
	code           int
	stdout, stderr string
}

func (o outcome) String() string {
	return fmt.Sprintf("exit code %d\n--- stdout\n%s--- stderr\n%s", o.code, o.stdout, o.stderr)
}

// command is podsim with a command line, in a directory.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's own end is the last resort: every test expects podsim to end long before.
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), actVariable+"=1")
	return cmd
}

// perform runs a command to its end.
func perform(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// write makes a file in a directory and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// wants fails the test unless an outcome has the code and, in the output that is named, the texts.
func wants(t *testing.T, o outcome, code int, output string, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(output, text) {
			t.Errorf("no %q in what was printed", text)
		}
	}
	if t.Failed() {
		t.Fatal(o)
	}
}
