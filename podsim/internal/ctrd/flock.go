//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errLocked says that another process holds a lock.
var errLocked = errors.New("locked by another process")

// openLock opens a lock file, made if need be. It is not inherited by child processes.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return f, nil
}

// tryFlock takes the lock (unix.LOCK_SH or LOCK_EX) now, or fails with errLocked. What f held before is lost
// either way.
func tryFlock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		default:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// waitFlock takes the lock as soon as it is free. flock cannot be interrupted, so it asks again and again.
func waitFlock(ctx context.Context, f *os.File, how int) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if err := tryFlock(f, how); !errors.Is(err, errLocked) {
			return err
		}
		if err := pauseFor(ctx, pause); err != nil {
			return fmt.Errorf("wait for lock %s: %w", f.Name(), err)
		}
	}
}

// pauseFor waits for d or the end of ctx, whose cause it returns.
func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
