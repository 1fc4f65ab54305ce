package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// A bench is one invocation.
type bench struct {
	bin    string // podsim, sidekick, runc and the rest of the bundle
	dir    string // of this invocation: removed at its end
	rounds int
}

func run(ctx context.Context) (err error) {
	b := &bench{}
	sizes := flag.String("sidecars", "2,8", "comma-separated `NUMBERS` of sidecars beside the app")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	onlyFloor := flag.Bool("floor", false, "measure the floor alone")
	noPodman := flag.Bool("no-podman", false, "leave podman out even if it is installed")
	flag.StringVar(&b.bin, "bin", "bin", "`DIR` of podsim, sidekick and the bundle")
	flag.IntVar(&b.rounds, "rounds", 9, "measure each `N` times; the median counts")
	flag.Parse()
	if os.Getuid() != 0 {
		return errors.New("containers need root: sudo go run ./scripts/bench")
	}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	for _, name := range []string{"sidekick", "runc"} {
		if _, err := os.Stat(filepath.Join(b.bin, name)); err != nil {
			return fmt.Errorf("%w; run `make build` first, or name the directory with --bin", err)
		}
	}
	if b.dir, err = os.MkdirTemp("", "podsim-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()

	var report Report
	for text := range strings.SplitSeq(*sizes, ",") {
		sidecars, err := strconv.Atoi(text)
		if err != nil || sidecars < 0 || sidecars > 50 {
			return fmt.Errorf("--sidecars wants numbers from 0 to 50, not %q", text)
		}
		size, err := b.measure(ctx, sidecars, *onlyFloor, *noPodman)
		if err != nil {
			return fmt.Errorf("1 app + %d sidecars: %w", sidecars, err)
		}
		report.Sizes = append(report.Sizes, size)
	}
	if *asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(report)
	}
	report.print(os.Stdout)
	return nil
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// settle lets containers that have just started come to listen to signals: as PID 1 they are deaf until then, and
// a stop would measure its own grace period.
func settle() {
	time.Sleep(200 * time.Millisecond) //nolint:forbidigo // the containers do not say when
}

// measure takes all measurements for one size of pod.
func (b *bench) measure(ctx context.Context, sidecars int, onlyFloor, noPodman bool) (Size, error) {
	s := Size{Sidecars: sidecars, Rounds: b.rounds}
	var err error
	if s.Floor, err = b.floor(ctx, sidecars+1); err != nil {
		return s, fmt.Errorf("measure the floor: %w", err)
	}
	if onlyFloor {
		return s, nil
	}
	if err = b.podsim(ctx, &s); err != nil {
		return s, fmt.Errorf("measure podsim: %w", err)
	}
	switch {
	case noPodman:
		s.NoPodman = "left out"
		return s, nil
	case !installed("podman"):
		s.NoPodman = "not installed"
		return s, nil
	}
	if s.Podman, err = b.podman(ctx, sidecars); err != nil {
		return s, fmt.Errorf("measure podman: %w", err)
	}
	return s, nil
}
