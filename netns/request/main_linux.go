package request

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Main is the helper process: it reads a task from stdin, performs it, and writes the report to stdout. It returns the
// exit code. Whoever calls it is already in the namespace and the cgroup.
func Main() int {
	var t task
	input := json.NewDecoder(os.Stdin)
	if err := input.Decode(&t); err != nil {
		fmt.Fprintf(os.Stderr, "read task: %v\n", err)
		return 1
	}
	go func() { // until the process ends, or whoever started it has gone
		_, _ = io.Copy(io.Discard, os.Stdin) // an error is the end, too
		os.Exit(1)
	}()
	if err := json.NewEncoder(os.Stdout).Encode(t.perform()); err != nil {
		fmt.Fprintf(os.Stderr, "write report: %v\n", err)
		return 1
	}
	return 0
}

func (t task) perform() report {
	if t.Drop {
		if err := takeOn(t.UID, t.GID); err != nil {
			return report{Failure: err.Error()}
		}
	}
	resolver, err := newResolver(t.ResolvConf, t.Hosts)
	if err != nil {
		return report{Failure: err.Error()}
	}
	ctx := context.Background()
	if t.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.Timeout)
		defer cancel()
	}
	s := sender{resolver: &resolver}
	return report{Response: s.send(ctx, t.Request)}
}

// takeOn gives every thread of the process the user and group, and no further groups.
func takeOn(uid, gid int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("clear groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("take on gid %d: %w", gid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("take on uid %d: %w", uid, err)
	}
	return nil
}
