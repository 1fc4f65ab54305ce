package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

const (
	// upWithin and goneWithin bound one round of any tool.
	upWithin   = time.Minute
	goneWithin = time.Minute
	// look is how often a growing file is read again. What is measured is in the file, so it costs no accuracy.
	look = 10 * time.Millisecond
)

// podsim measures `podsim run`, with directories and so with a containerd of the benchmark's own.
func (b *bench) podsim(ctx context.Context, s *Size) (err error) {
	p := &podsim{
		program: filepath.Join(b.bin, "podsim"),
		dir:     filepath.Join(b.dir, fmt.Sprintf("podsim-%d", s.Sidecars)),
		run:     fmt.Sprintf("/run/podsim-bench-%d", os.Getpid()), // short: there are sockets below it
	}
	if err := p.prepare(ctx, filepath.Join(b.bin, "sidekick"), s.Sidecars); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.clean(context.WithoutCancel(ctx))) }()
	var starts, stops []time.Duration
	for i := range b.rounds + 1 {
		start, stop, memory, err := p.round(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			s.First = milliseconds(start)
			continue
		}
		starts, stops, s.Memory = append(starts, start), append(stops, stop), memory
	}
	s.Podsim = &Times{Start: median(starts), Stop: median(stops)}
	return nil
}

// A podsim is one pod to run with podsim again and again.
type podsim struct {
	program, dir, run string
	rounds            int
}

// command is a podsim that the end of ctx interrupts, so that it cleans up, and kills only if that does not help.
func (p *podsim) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.program, append([]string{
		"--state-dir", filepath.Join(p.dir, "state"), "--run-dir", p.run}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = goneWithin
	return cmd
}

func (p *podsim) prepare(ctx context.Context, sidekick string, sidecars int) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	text, err := manifest("bench", sidecars, true)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "pod.yaml"), text, 0o644); err != nil {
		return err
	}
	if err := archive(sidekick, filepath.Join(p.dir, "image.tar")); err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	if out, err := p.command(ctx, "image", "load", filepath.Join(p.dir, "image.tar")).CombinedOutput(); err != nil {
		return fmt.Errorf("podsim image load: %w: %s", err, out)
	}
	return nil
}

// clean removes whatever a failed round left, waits for containerd, which lingers, and removes the run directory.
func (p *podsim) clean(ctx context.Context) error {
	if out, err := p.command(ctx, "clean").CombinedOutput(); err != nil {
		return fmt.Errorf("podsim clean: %w: %s", err, out)
	}
	for deadline := time.Now().Add(goneWithin); ; {
		left, err := memoryOf(p.dir, p.run)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return os.RemoveAll(p.run)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still there %v after podsim clean", left[0].Program, goneWithin)
		}
		time.Sleep(look) //nolint:forbidigo // no event tells of another's processes
	}
}

// round runs the pod once: up, a look at the memory, Ctrl-C, gone.
func (p *podsim) round(ctx context.Context) (start, stop time.Duration, memory []Memory, err error) {
	p.rounds++
	file := filepath.Join(p.dir, fmt.Sprintf("timeline-%d.jsonl", p.rounds))
	var output bytes.Buffer
	cmd := p.command(ctx, "run", filepath.Join(p.dir, "pod.yaml"), "--timeline", file)
	cmd.Stdout, cmd.Stderr = &output, &output
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, nil, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	up, err := appStarted(ctx, file, done)
	if err == nil {
		memory, err = memoryOf(p.dir, p.run)
	}
	if err != nil {
		_ = cmd.Process.Signal(os.Interrupt)
		return 0, 0, nil, fmt.Errorf("%w; podsim said:\n%s", errors.Join(err, <-done), &output)
	}
	settle()
	asked := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return 0, 0, nil, err
	}
	select {
	case err = <-done:
	case <-time.After(goneWithin):
		_ = cmd.Process.Kill()
		return 0, 0, nil, errors.Join(fmt.Errorf("podsim was not gone %v after Ctrl-C", goneWithin), <-done)
	}
	stop = time.Since(asked)
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 && code != 130 { // Succeeded, Failed, interrupted
		return 0, 0, nil, fmt.Errorf("podsim run ended with %w; it said:\n%s", err, &output)
	}
	return up.Sub(begin), stop, memory, nil
}

// appStarted waits for the record of the app's start, which is the last, and returns its time.
func appStarted(ctx context.Context, file string, done chan error) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if at, ok := startOf(file, "app"); ok {
			return at, nil
		}
		select {
		case err := <-done:
			done <- err
			return time.Time{}, fmt.Errorf("podsim run ended before the app had started: %w", err)
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for the app's start: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// startOf finds the end of a container's start in a timeline that may still grow.
func startOf(file, container string) (time.Time, bool) {
	f, err := os.Open(file)
	if err != nil {
		return time.Time{}, false
	}
	defer f.Close()
	_, view, _, err := timeline.Read(f)
	if err != nil {
		return time.Time{}, false
	}
	for r := range view.All() {
		if r.Kind == pod.Ended && r.Action.Op == pod.OpStart && r.Action.Container == container && r.Failure == nil {
			return r.Time, true
		}
	}
	return time.Time{}, false
}
