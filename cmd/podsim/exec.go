package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

// An execCommand is what `podsim exec` was asked to do.
type execCommand struct {
	visit
	stdin, tty bool
}

func newExec(g *globals) *cobra.Command {
	e := &execCommand{visit: visit{globals: g}}
	cmd := &cobra.Command{
		Use:   "exec POD [-c CONTAINER] [-i] [-t] -- COMMAND [ARG...]",
		Short: "Run a command in a container of an applied pod",
		Long: `Run a command in a running container of an applied pod, as the container's user and with its environment. Its exit code is
podsim's; 127 and 126 say that there is no such program, or that it cannot be run. Interrupts reach the command: through
its terminal with -i -t, passed on without; the third one kills it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			e.from(cmd)
			return e.run(cmd.Context(), args, cmd.ArgsLenAtDash())
		},
	}
	e.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&e.stdin, "stdin", "i", false, "pass the standard input on to the command")
	f.BoolVarP(&e.tty, "tty", "t", false, "with -i: give the command a terminal, this one")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "print the command's output only")
	return cmd
}

func (e *execCommand) run(ctx context.Context, args []string, dash int) error {
	if dash != 1 || len(args) < 2 {
		return &exit{exitUsage, errors.New("name one pod and a command: podsim exec POD -- COMMAND [ARG...]")}
	}
	f, c, err := e.find(ctx, args[0], "exec into")
	if err != nil {
		return err
	}
	a, err := e.enter(ctx, f, c)
	if err != nil {
		return err
	}
	defer a.Close() // its error is nobody's: what it was opened for is done
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	line, err := e.connect(e.stdin, e.stdin && e.tty, func() { cancel(errInterrupted) })
	if err != nil {
		return err
	}
	code, err := a.Exec(ctx, args[dash:], line.Streams)
	line.close()
	if err == nil && code != 0 && !e.quiet {
		fmt.Fprintf(e.err, "command terminated with exit code %d\n", code)
	}
	return execError(code, err)
}

// execError gives a command's end its exit code.
func execError(code int, err error) error {
	refused, isRefused := errors.AsType[*host.CommandError](err)
	switch {
	case err == nil && code == 0:
		return nil
	case err == nil:
		return &exit{code, nil}
	case errors.Is(err, errInterrupted):
		return &exit{exitInterrupted, nil}
	case errors.Is(err, syscall.EPIPE): // whoever read our output has read enough
		return &exit{exitUnread, nil}
	case isRefused:
		return &exit{refused.Code, fmt.Errorf("failed to exec in container: %w", refused)}
	case errors.Is(err, host.ErrNotRunning), errors.Is(err, host.ErrUnattended):
		return &exit{exitFailed, err}
	}
	return hostError(err)
}

// exitUnread is the exit code of a program that dies of a closed pipe.
const exitUnread = 128 + 13
