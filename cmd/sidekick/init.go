package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var initMode = &mode{
	name:    "init",
	summary: "An init container: writes files, waits, requires what it is told to, and ends",
	details: `
In this order: sleep, require, write; then it ends with --exit-code, or with 0 where that is --fail-first's.`,
	setup: func(fs *flag.FlagSet) action {
		i := &initialiser{}
		i.conduct.flags(fs)
		fs.Var(&i.write, "write", "`FILE=CONTENT` to write, its folders included; may be repeated")
		fs.DurationVar(&i.sleep, "sleep", 0, "sleep for `D` first")
		fs.Var(&i.requireTCP, "require-tcp", "`HOST:PORT` that must accept a connection; may be repeated")
		fs.Var(&i.refuseTCP, "require-no-tcp", "`HOST:PORT` that must not accept one; may be repeated")
		fs.DurationVar(&i.within, "within", time.Second, "keep trying what is required for `D`")
		return i.run
	},
}

// An initialiser is the init container of the examples.
type initialiser struct {
	conduct
	write, requireTCP, refuseTCP list
	sleep, within                time.Duration
}

func (i *initialiser) run(ctx context.Context, p *process, _ []string) error {
	return i.conduct.run(ctx, p, func(ctx context.Context) error { return i.work(ctx, p) })
}

func (i *initialiser) work(ctx context.Context, p *process) error {
	if i.hang {
		<-ctx.Done()
	}
	if !wait(ctx, i.sleep) {
		return nil
	}
	for _, address := range i.requireTCP.values {
		if err := i.reach(ctx, address); err != nil {
			return fmt.Errorf("%s was required to accept a connection within %v: %w", address, i.within, err)
		}
		fmt.Fprintf(p.out, "%s accepts connections\n", address)
	}
	for _, address := range i.refuseTCP.values {
		err := dial(ctx, address, i.within)
		if err == nil {
			return fmt.Errorf("%s accepted a connection and was required not to", address)
		}
		fmt.Fprintf(p.out, "%s accepts none: %v\n", address, err)
	}
	for _, w := range i.write.values {
		if err := writeFile(w); err != nil {
			return err
		}
	}
	if i.exitCode != 0 && i.failFirst == 0 {
		return exit(i.exitCode)
	}
	return nil
}

// reach dials address until it answers or the time is up.
func (i *initialiser) reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, i.within)
	defer cancel()
	for {
		err := dial(ctx, address, i.within)
		if err == nil || !wait(ctx, 20*time.Millisecond) {
			return err
		}
	}
}

func dial(ctx context.Context, address string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func writeFile(assignment string) error {
	path, content, ok := strings.Cut(assignment, "=")
	if !ok {
		return errors.New("--write wants FILE=CONTENT")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
