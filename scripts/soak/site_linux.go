package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim/host"
)

// A site is a podsim installation of the soak's own.
type site struct {
	host.Site
	bin, dir string
	before   []string // what was on the machine before the first pod
}

// openSite makes the directories, puts the image in and notes what is there.
func openSite(ctx context.Context, bin string) (s *site, err error) {
	for _, program := range []string{"podsim", "sidekick", "containerd"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return nil, fmt.Errorf("%w; run `make build` first, or name the directory with --bin", err)
		}
	}
	s = &site{bin: bin}
	if s.dir, err = os.MkdirTemp("", "podsim-soak-"); err != nil {
		return nil, err
	}
	s.StateDir = filepath.Join(s.dir, "state")
	s.RunDir = fmt.Sprintf("/run/ps-soak-%d", os.Getpid())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(s.dir, "leaks"), "github.com/podsim/podsim/scripts/leaks").CombinedOutput(); err != nil {
		return s, fmt.Errorf("build scripts/leaks: %w: %s", err, out)
	}
	if err := s.podsim(ctx, "", "image", "make", image, filepath.Join(bin, "sidekick")); err != nil {
		return s, err
	}
	// One pod first, so that what the site keeps is there.
	first := "apiVersion: v1\nkind: Pod\nmetadata: {name: first}\nspec: {containers: [{name: main, image: " + image + ", imagePullPolicy: Never, args: [run]}]}\n"
	if err := s.podsim(ctx, first, "apply", "-f", "-"); err != nil {
		return s, err
	}
	if err := s.podsim(ctx, "", "delete", "pod", "first", "--now"); err != nil {
		return s, err
	}
	if err := s.podsim(ctx, "", "clean"); err != nil {
		return s, err
	}
	s.before, err = s.quiet(ctx)
	return s, err
}

// podsim runs the real program.
func (s *site) podsim(ctx context.Context, in string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "podsim"), append([]string{"--state-dir", s.StateDir, "--run-dir", s.RunDir, "--bundle", s.bin}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("podsim %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return nil
}

// listing is what of the site is on the machine, and what is in this network namespace.
func (s *site) listing(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.dir, "leaks"), "--state", s.StateDir, "--run", s.RunDir).Output()
	if err != nil {
		return nil, fmt.Errorf("list what is there: %w", err)
	}
	bridge := netns.Network{StateDir: s.StateDir}.BridgeName() // its name is also that of the cgroups
	var lines []string
	for l := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(l, " ")
		ours := slices.ContainsFunc([]string{s.dir, s.RunDir, bridge, strings.TrimSuffix(bridge, "0") + "/"}, func(name string) bool { return strings.Contains(l, name) })
		if ours || word == "link" || word == "nft" || word == "sysctl" {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	return lines, nil
}

// lingers is how long the private containerd may stay after the last pod, and more.
const lingers = time.Minute

// quiet is the listing once the private containerd has gone by itself.
func (s *site) quiet(ctx context.Context) (lines []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lingers, errors.New("podsim's processes have not gone"))
	defer cancel()
	for {
		lines, err = s.listing(ctx)
		if err != nil {
			return nil, errors.Join(err, context.Cause(ctx))
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "process ") }) {
			return lines, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return lines, fmt.Errorf("%w: %s", context.Cause(ctx), strings.Join(lines, "\n"))
		}
	}
}

// left says what is there that was not before the first pod, and the other way round.
func (s *site) left(ctx context.Context) error {
	after, err := s.quiet(ctx)
	if err != nil {
		return err
	}
	var diff []string
	for _, l := range after {
		if !slices.Contains(s.before, l) {
			diff = append(diff, "+ "+l)
		}
	}
	for _, l := range s.before {
		if !slices.Contains(after, l) {
			diff = append(diff, "- "+l)
		}
	}
	if len(diff) > 0 {
		return fmt.Errorf("the machine is not as it was:\n%s", strings.Join(diff, "\n"))
	}
	return nil
}

// close takes everything away, whatever has gone wrong.
func (s *site) close(ctx context.Context) error {
	err := s.podsim(ctx, "", "delete", "pods", "--all", "--grace-period=0")
	cerr := s.podsim(ctx, "", "clean")
	_, qerr := s.quiet(ctx)
	return errors.Join(err, cerr, qerr, os.RemoveAll(s.dir), os.RemoveAll(s.RunDir))
}
