package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// A process is what a mode sees of the world around it.
type process struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
	// signals takes TERM and INT over from the kernel. A mode that never asks is killed by them, or, as PID 1
	// of a container, is deaf to them, like any program without a handler.
	signals func() <-chan os.Signal
}

// An exit ends the program with a code, and without a word.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// errUsage ends the program with code 2, after what is wrong has been said.
var errUsage = errors.New("bad usage")

func main() {
	signals := func() <-chan os.Signal {
		c := make(chan os.Signal, 2)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
		return c
	}
	p := &process{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), signals: signals}
	os.Exit(run(context.Background(), p, os.Args))
}

// run performs one command line, argv[0] included, and returns its exit code.
func run(ctx context.Context, p *process, argv []string) int {
	err := dispatch(ctx, p, argv)
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(p.err, "sidekick: %v\n", err)
	return 1
}

// dispatch finds the mode: the first argument, or the program's own name where an image links it to a mode.
func dispatch(ctx context.Context, p *process, argv []string) error {
	if m := lookup(filepath.Base(argv[0])); m != nil {
		return m.perform(ctx, p, argv[1:])
	}
	args := argv[1:]
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		if len(args) > 1 {
			if m := lookup(args[1]); m != nil {
				m.help(p.out)
				return nil
			}
		}
		overview(p.out)
		if len(args) == 0 {
			return errUsage
		}
		return nil
	}
	m := lookup(args[0])
	if m == nil {
		fmt.Fprintf(p.err, "sidekick: no mode %q; run `sidekick help` for the list\n", args[0])
		return errUsage
	}
	return m.perform(ctx, p, args[1:])
}
