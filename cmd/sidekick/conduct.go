package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A conduct is how a long-running mode behaves beyond its work: slow to start, quick to die, deaf to TERM.
type conduct struct {
	startDelay time.Duration
	exitAfter  time.Duration
	termDelay  time.Duration
	exitCode   int
	termCode   int
	crashAfter int64
	failFirst  int
	countFile  string
	ignoreTerm bool
	hang       bool

	served atomic.Int64
	stop   context.CancelCauseFunc
}

var (
	// errTerm is why the work ends when the process was asked to: gracefully.
	errTerm = errors.New("TERM")
	// errCrash is why the work ends when the process is to die by itself: at once.
	errCrash = errors.New("crash")
)

func (c *conduct) flags(fs *flag.FlagSet) {
	fs.DurationVar(&c.startDelay, "start-delay", 0, "wait `D` before doing anything: no port is open yet")
	fs.DurationVar(&c.exitAfter, "exit-after", 0, "die by itself `D` after coming up, with --exit-code")
	fs.IntVar(&c.exitCode, "exit-code", 0, "exit code `N` of --exit-after, --crash-after and --fail-first; for the last two 0 means 1")
	fs.Int64Var(&c.crashAfter, "crash-after", 0, "die on the `N`-th request or connection, without an answer")
	fs.BoolVar(&c.ignoreTerm, "ignore-term", false, "go on after TERM and INT, as if nothing had been said")
	fs.DurationVar(&c.termDelay, "term-delay", 0, "go on working for `D` after TERM, then end")
	fs.IntVar(&c.termCode, "term-code", 0, "exit code `N` after TERM")
	fs.BoolVar(&c.hang, "hang", false, "come up, but answer nothing and finish nothing")
	fs.IntVar(&c.failFirst, "fail-first", 0, "fail the first `N` starts, counted in --count-file")
	fs.StringVar(&c.countFile, "count-file", "", "`FILE` that counts the starts for --fail-first; it must outlive the container")
}

// run performs work under the conduct's rules and returns what the process ends with. The context it gives to
// work ends with cause errTerm (finish what you have), or with errCrash or an exit (drop everything); work is
// joined either way.
func (c *conduct) run(ctx context.Context, p *process, work func(context.Context) error) error {
	signals := p.signals()
	if err := c.fail(p); err != nil {
		return err
	}
	ctx, c.stop = context.WithCancelCause(ctx)
	defer c.stop(nil)
	listened := make(chan struct{})
	go func() { defer close(listened); c.listen(ctx, p, signals) }()
	defer func() { c.stop(nil); <-listened }()

	// Work that is not held back always begins, so that even an early TERM ends it by its own rules.
	if c.startDelay <= 0 || wait(ctx, c.startDelay) {
		if c.exitAfter > 0 {
			defer time.AfterFunc(c.exitAfter, c.crash).Stop()
		}
		if err := work(ctx); err != nil {
			return err
		}
	}
	cause := context.Cause(ctx)
	if code, ok := errors.AsType[exit](cause); ok {
		return code
	}
	switch {
	case errors.Is(cause, errCrash):
		if c.crashAfter > 0 && c.served.Load() >= c.crashAfter {
			return exit(max(c.exitCode, 1))
		}
		return exit(c.exitCode)
	case errors.Is(cause, errTerm):
		return exit(c.termCode)
	}
	return nil
}

// listen turns the first TERM or INT into the end of ctx.
func (c *conduct) listen(ctx context.Context, p *process, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if c.ignoreTerm {
				fmt.Fprintf(p.err, "sidekick: %v ignored\n", s)
				continue
			}
			wait(ctx, c.termDelay)
			c.stop(errTerm)
		}
	}
}

// fail counts this start and ends it if it is one of the first that are to fail.
func (c *conduct) fail(p *process) error {
	if c.failFirst == 0 {
		return nil
	}
	if c.countFile == "" {
		return errors.New("--fail-first needs a --count-file on a volume, to remember how often it was started")
	}
	text, err := os.ReadFile(c.countFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("count starts: %w", err)
	}
	count := 0
	if s := strings.TrimSpace(string(text)); s != "" {
		if count, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("count starts: %s does not hold a number: %w", c.countFile, err)
		}
	}
	count++
	if err := os.WriteFile(c.countFile, []byte(strconv.Itoa(count)+"\n"), 0o644); err != nil {
		return fmt.Errorf("count starts: %w", err)
	}
	if count > c.failFirst {
		return nil
	}
	fmt.Fprintf(p.err, "sidekick: start %d of %d that fail\n", count, c.failFirst)
	return exit(max(c.exitCode, 1))
}

// serve counts one request or connection. It reports false when it must not be answered: the process is to die
// of it.
func (c *conduct) serve() bool {
	if n := c.served.Add(1); c.crashAfter > 0 && n >= c.crashAfter {
		c.crash()
		return false
	}
	return true
}

func (c *conduct) crash() { c.stop(errCrash) }

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
