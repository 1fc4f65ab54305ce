package host

import (
	"context"
	"slices"
	"sync"
)

// A queue lets a number of callers through at a time; of those that wait, the one with the lowest number is next. Its
// zero value is closed: all wait.
//
// Creating a container is work for the processor: with all of them at once the first is ready no sooner than the
// last, and with a few at a time each is ready soon after the ones that start before it.
type queue struct {
	mu      sync.Mutex
	opened  bool
	free    int
	waiting []*turn // by number
}

// A turn is one caller's place in the queue.
type turn struct {
	number int
	come   chan struct{} // closed when it is the caller's turn
}

// open lets callers through, so many at a time. To open an open queue does nothing.
func (q *queue) open(places int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened {
		q.opened, q.free = true, places
		q.next()
	}
}

// enter waits for the caller's turn. After a nil the caller must leave.
func (q *queue) enter(ctx context.Context, number int) error {
	t := &turn{number: number, come: make(chan struct{})}
	q.mu.Lock()
	i, _ := slices.BinarySearchFunc(q.waiting, t, func(a, b *turn) int { return a.number - b.number })
	q.waiting = slices.Insert(q.waiting, i, t)
	q.next()
	q.mu.Unlock()
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, t); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return context.Cause(ctx)
	}
	q.free++ // the turn came at the same moment
	q.next()
	return context.Cause(ctx)
}

func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	q.next()
}

// next gives free places to those who wait. The caller holds mu.
func (q *queue) next() {
	for q.free > 0 && len(q.waiting) > 0 {
		close(q.waiting[0].come)
		q.waiting = q.waiting[1:]
		q.free--
	}
}
