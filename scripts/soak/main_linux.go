package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := apart(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintf(os.Stderr, "soak: %v\n", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// errSaid says that the process inside has failed, and said why.
var errSaid = errors.New("it has failed")

// inside says, in the environment, that the process is in the network namespace of its own.
const inside = "PODSIM_SOAK_INSIDE"

// apart runs the soak in a process of its own, in a network namespace of its own: what is in it is podsim's.
func apart(ctx context.Context, args []string, out io.Writer) error {
	if os.Getenv(inside) != "" {
		return run(ctx, args, out)
	}
	if os.Getuid() != 0 {
		return errors.New("containers need root: sudo go run ./scripts/soak")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * lingers
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return errSaid
	}
	return err
}

// A soak is one invocation.
type soak struct {
	site *site
	seed uint64
	out  io.Writer

	begin time.Time
	mu    sync.Mutex
	total counter
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	long := flags.Duration("for", 10*time.Minute, "how long")
	seed := flags.Uint64("seed", 1, "`N` that decides what is done to which container")
	bin := flags.String("bin", "bin", "`DIR` of podsim, sidekick and the bundle")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set up the loopback: %w", err)
	}
	s := &soak{seed: *seed, out: out, begin: time.Now()}
	if s.site, err = openSite(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.site.close(context.WithoutCancel(ctx))) }()
	if err := s.all(ctx, *long); err != nil {
		return err
	}
	if err := s.site.left(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "soak: %s, seed %d: %s: all consistent, nothing left\n", time.Since(s.begin).Round(time.Second), s.seed, s.sum())
	return nil
}

// all has all kinds of pods live side by side, each kind again and again, for so long or until something is wrong.
func (s *soak) all(ctx context.Context, long time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var living sync.WaitGroup
	for i, k := range kinds {
		living.Go(func() {
			if err := s.again(ctx, k, uint64(i), stop); err != nil {
				cancel(err)
			}
		})
	}
	over := time.NewTimer(long)
	defer over.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for going := true; going; {
		select {
		case <-minute.C:
			fmt.Fprintf(s.out, "soak: %s: %s\n", time.Since(s.begin).Round(time.Second), s.sum())
		case <-over.C:
			going = false
		case <-ctx.Done():
			going = false
		}
	}
	close(stop)
	living.Wait()
	return context.Cause(ctx)
}

// again has pods of one kind live one after the other.
func (s *soak) again(ctx context.Context, k kind, stream uint64, stop <-chan struct{}) error {
	random := rand.New(rand.NewPCG(s.seed, stream))
	for {
		l := life{site: s.site, kind: k, rand: random, count: s.count, cast: newCast(), watch: watcher{resets: k.resets}}
		if err := l.live(ctx, stop); err != nil {
			return err
		}
		s.count(counter{lives: 1})
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

func (s *soak) count(c counter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.add(c)
}

func (s *soak) sum() counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
