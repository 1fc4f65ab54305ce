package pod

import "time"

// The kubelet's times, as Kubernetes has them; a Kubelet may have others.
const (
	backOffFirst        = 10 * time.Second  // BO-01, BO-10
	backOffMax          = 300 * time.Second // BO-01, BO-10
	backOffForget       = 600 * time.Second // BO-02
	backOffReducedFirst = time.Second       // BO-08
	backOffReducedMax   = 60 * time.Second  // BO-08
	// syncRetry is when a sync that failed is tried again (BO-11): a container that could not be created, a pod that
	// could not be set up. The kubelet's about ten seconds are exactly ten here.
	syncRetry = 10 * time.Second
	// relist is how long the reason of a failed start is shown before the kubelet looks again and finds the
	// container in back-off (ST-14).
	relist = time.Second
)

// backOffTimes are the times of one kind of back-off. The zero value is none at all.
type backOffTimes struct {
	first, max, forget time.Duration
}

func (t backOffTimes) at(p Pace) backOffTimes {
	return backOffTimes{first: p.of(t.first), max: p.of(t.max), forget: p.of(t.forget)}
}

// A backOff is a delay that doubles with every attempt (BO-01). Its zero value has no delay yet.
type backOff struct {
	delay   time.Duration
	updated time.Time
	forget  time.Duration
}

// next counts an attempt made at now, of what last failed or ended at since.
func (b *backOff) next(since, now time.Time, t backOffTimes) {
	if b.delay == 0 || b.forgotten(since) {
		b.delay = t.first
	} else {
		b.delay = min(2*b.delay, t.max)
	}
	b.updated, b.forget = now, t.forget
}

// forgotten reports whether the delay is too old to count for something that happened at since (BO-02).
func (b backOff) forgotten(since time.Time) bool { return since.Sub(b.updated) > b.forget }

// until is when what ended at since may be tried again (BO-03).
func (b backOff) until(since time.Time) time.Time {
	if b.delay == 0 || b.forgotten(since) {
		return time.Time{}
	}
	return since.Add(b.delay)
}

// heldUntil is when the container may be started again as far as it alone is concerned; a time that has passed, or
// the zero time, is now. A first restart is not held (BO-01).
func (c *ContainerStatus) heldUntil(now time.Time) time.Time {
	if c.retryAt.After(now) {
		return c.retryAt
	}
	return c.crashUntil()
}

// crashUntil is the end of the crash back-off, zero if there is none.
func (c *ContainerStatus) crashUntil() time.Time {
	if c.State != StateExited {
		return time.Time{}
	}
	return c.crash.until(c.Exit.FinishedAt)
}
