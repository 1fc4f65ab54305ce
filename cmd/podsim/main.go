// Command podsim runs a pod with its sidecars on one machine, by Kubernetes' own lifecycle rules, and judges
// scenarios about start-up order and traffic interception.
//
// It owns flags, wiring and exit codes, one file a command; what it wires together decides and acts elsewhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "unknown"

// Exit codes, as the README documents them.
const (
	exitOK           = 0
	exitFailed       = 1   // a check failed, or the pod ended as Failed
	exitUsage        = 2   // bad usage, scenario or manifest
	exitHost         = 3   // the host is not ready; `podsim doctor` says how to mend it
	exitLeft         = 4   // something could not be removed
	exitInconclusive = 5   // inconclusive, or podsim's own failure
	exitInterrupted  = 130 // Ctrl-C
)

// An exit is an error that has its exit code with it. Its err may be nil: all has been said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func main() {
	// A pod's start makes some megabytes of garbage; to collect it meanwhile would cost the pod more than it saves.
	debug.SetGCPercent(400)
	code, helped := reexec(os.Args[1:])
	if !helped {
		code = run(os.Args[1:])
	}
	os.Exit(code)
}

// run performs one command line and returns its exit code.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	code, left := verdict(err)
	if left != nil {
		say(os.Stderr, fmt.Sprintf("podsim: %v", left))
	}
	return code
}

// verdict tells an error's exit code, and what is left to say of it.
func verdict(err error) (code int, say error) {
	var e *exit
	switch {
	case err == nil:
		return exitOK, nil
	case errors.As(err, &e):
		return e.code, e.err
	default:
		return exitInconclusive, err
	}
}

// usage gives a command's argument errors the exit code of bad usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &exit{exitUsage, fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
