package netns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// lockPatience bounds the wait for another podsim process, which holds the lock for some milliseconds.
const lockPatience = 10 * time.Second

// lockMachine waits for the lock on what all state directories share in the calling thread's network namespace. It
// is a flock on the namespace itself: it needs no file, is dropped by the kernel with its holder, and two
// namespaces have two locks.
func lockMachine(ctx context.Context) (unlock func(), err error) {
	fd, err := kindNet.current()
	if err != nil {
		return nil, fmt.Errorf("lock the network: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience,
		fmt.Errorf("another process has held the lock for %s (lslocks shows which)", lockPatience))
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return nil, fmt.Errorf("lock the network: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			unix.Close(fd)
			return nil, fmt.Errorf("lock the network: %w", context.Cause(ctx))
		}
	}
}
