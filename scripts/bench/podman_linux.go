package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// podman measures `podman kube play`, which returns when all is running, and `podman kube down`. Its sidecars are
// ordinary containers: few podmans know native ones.
func (b *bench) podman(ctx context.Context, sidecars int) (times *Times, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("podman-%d", sidecars))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	text, err := manifest(fmt.Sprintf("podsim-bench-%d", os.Getpid()), sidecars, false)
	if err != nil {
		return nil, err
	}
	file, tar := filepath.Join(dir, "pod.yaml"), filepath.Join(dir, "image.tar")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	if err := archive(filepath.Join(b.bin, "sidekick"), tar); err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	if err := podmanDo(ctx, "load", "--quiet", "--input", tar); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, podmanDo(context.WithoutCancel(ctx), "image", "rm", "--force", image)) }()
	var starts, stops []time.Duration
	for range b.rounds + 1 {
		start, stop, err := podmanRound(ctx, file)
		if err != nil {
			return nil, err
		}
		starts, stops = append(starts, start), append(stops, stop)
	}
	return &Times{Start: median(starts[1:]), Stop: median(stops[1:])}, nil
}

func podmanRound(ctx context.Context, file string) (start, stop time.Duration, err error) {
	begin := time.Now()
	err = podmanDo(ctx, "kube", "play", file)
	start = time.Since(begin)
	settle()
	begin = time.Now()
	err = errors.Join(err, podmanDo(context.WithoutCancel(ctx), "kube", "down", file))
	return start, time.Since(begin), err
}

func podmanDo(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "podman", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("podman %v: %w: %s", args, err, out)
	}
	return nil
}
