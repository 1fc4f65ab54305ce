package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// The exit codes.
const (
	exitSame      = 0
	exitDifferent = 1
	exitUsage     = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	code, err := differ(args, out, errs)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(errs, "differ: %v\n", err)
	}
	return code
}

func differ(args []string, out, errs io.Writer) (int, error) {
	flags := flag.NewFlagSet("differ", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		fmt.Fprintln(errs, "differ [FLAGS] LEFT RIGHT: print the first difference between two recorded runs of one pod (scripts/differ/README.md)")
		flags.PrintDefaults()
	}
	podName := flags.String("pod", "", "the pod that is meant, where a file has several: `NAME`")
	ignore := flags.String("ignore", "", "comma-separated `KINDS` of events to pass over")
	merged := flags.Duration("merged", 2*time.Second, "how long a state must last to be surely reported by an API server")
	lines := flags.Bool("lines", false, "print one recording in the plain form, and compare nothing")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	o := Options{Merged: *merged, Ignore: map[What]bool{}}
	for name := range strings.SplitSeq(*ignore, ",") {
		var w What
		if name == "" {
			continue
		}
		if err := w.UnmarshalText([]byte(name)); err != nil {
			return exitUsage, fmt.Errorf("--ignore: %w", err)
		}
		o.Ignore[w] = true
	}
	want := 2
	if *lines {
		want = 1
	}
	if flags.NArg() != want {
		flags.Usage()
		return exitUsage, fmt.Errorf("%d recordings were named, and it takes %d", flags.NArg(), want)
	}
	var sides []*Recording
	for _, path := range flags.Args() {
		r, err := Load(path, *podName)
		if err != nil {
			return exitUsage, err
		}
		sides = append(sides, r)
	}
	if *lines {
		if err := WriteLines(out, sides[0].Events); err != nil {
			return exitUsage, err
		}
		return exitSame, nil
	}
	c := Compare(sides[0], sides[1], o)
	if err := c.print(out, sides[0], sides[1]); err != nil {
		return exitUsage, err
	}
	if c.First != nil {
		return exitDifferent, nil
	}
	return exitSame, nil
}
