package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/supervisor"
)

// An attachCommand is what `podsim attach` was asked to do.
type attachCommand struct {
	visit
	stdin, tty bool
}

func newAttach(g *globals) *cobra.Command {
	a := &attachCommand{visit: visit{globals: g}}
	cmd := &cobra.Command{
		Use:   "attach POD [-c CONTAINER] [-i] [-t]",
		Short: "Connect to the main process of a container of an applied pod",
		Long: `Show what a container prints from now on and, with -i, pass the standard input on to it, if its stdin is true. With -i -t this
terminal is the container's, if its tty is true; Ctrl-P Ctrl-Q leaves it. It ends with the container.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.from(cmd)
			return a.run(cmd.Context(), args[0])
		},
	}
	a.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&a.stdin, "stdin", "i", false, "pass the standard input on to the container")
	f.BoolVarP(&a.tty, "tty", "t", false, "with -i: this terminal is the container's")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print the container's output only")
	return cmd
}

// errDetached says that the user has left, by the keys for it.
var errDetached = errors.New("detached")

func (a *attachCommand) run(ctx context.Context, arg string) error {
	f, c, err := a.find(ctx, arg, "attach to")
	if err != nil {
		return err
	}
	if f.Lost {
		return &exit{exitFailed, fmt.Errorf("%w; podsim logs %s tells what was printed until then", host.ErrUnattended, f.Pod.Name)}
	}
	if a.tty && !c.TTY && !a.quiet {
		fmt.Fprintf(a.err, "error: Unable to use a TTY - container %s did not allocate one\n", c.Name)
	}
	if a.stdin && !c.Stdin {
		a.stdin = false
		fmt.Fprintf(a.err, "warning: container %s has no standard input (its stdin is not true): nothing is passed on to it\n", c.Name)
	}
	to, err := a.enter(ctx, f, c)
	if err != nil {
		return err
	}
	defer to.Close() // its error is nobody's: what it was opened for is done
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !a.quiet {
		fmt.Fprintln(a.err, "If you don't see a command prompt, try pressing enter.")
	}
	line, err := a.connect(a.stdin, a.stdin && c.TTY, func() { cancel(errInterrupted) })
	if err != nil {
		return err
	}
	defer line.close()
	if line.TTY {
		line.Stdin = &detachable{ReadCloser: line.Stdin, detach: func() { cancel(errDetached) }}
	}
	err = line.attach(ctx, to, c, a.err)
	line.close()
	if (err == nil || errors.Is(err, errDetached)) && line.TTY && !a.quiet {
		fmt.Fprintln(a.err, a.again(f, c))
	}
	if errors.Is(err, errDetached) {
		return nil
	}
	return execError(0, err)
}

// attach attaches a line; to a container whose input has ended, without one. An interrupt ends it, and is not passed on.
func (l *line) attach(ctx context.Context, to *host.Attached, c *corev1.Container, warn io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	joined := make(chan struct{})
	defer func() { <-joined }()
	defer cancel(nil)
	go func() {
		defer close(joined)
		select {
		case <-l.Signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	err := to.Attach(ctx, l.Streams, c.StdinOnce)
	if errors.Is(err, host.ErrInputClosed) {
		fmt.Fprintf(warn, "warning: the standard input of container %s has ended (its stdinOnce is true): nothing is passed on to it\n", c.Name)
		l.Stdin = nil
		err = to.Attach(ctx, l.Streams, false)
	}
	return err
}

// again says how to come back.
func (a *attachCommand) again(f supervisor.Found, c *corev1.Container) string {
	return fmt.Sprintf("Session ended, resume using 'podsim attach %s -c %s -n %s -i -t' command", f.Pod.Name, c.Name, f.Pod.Namespace)
}

// The keys by which a terminal is left: Ctrl-P Ctrl-Q.
const (
	ctrlP = 0x10
	ctrlQ = 0x11
)

// A detachable passes on what is typed, but for the keys by which the terminal is left. The first of them is held back
// until the next key.
type detachable struct {
	io.ReadCloser
	detach func()
	held   bool
	rest   []byte
}

// Read reads what has been typed.
func (d *detachable) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		piece := make([]byte, len(p))
		n, err := d.ReadCloser.Read(piece)
		for _, key := range piece[:n] {
			switch {
			case d.held && key == ctrlQ:
				d.detach()
				return 0, errDetached
			case d.held:
				d.rest = append(d.rest, ctrlP)
			}
			if d.held = key == ctrlP; !d.held {
				d.rest = append(d.rest, key)
			}
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}
