package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podsim/podsim/podsim/supervisor"
	"github.com/podsim/podsim/podsim/timeline"
)

// namespace is where the pods are.
const namespace = "default"

// A counter counts what was checked and done.
type counter struct{ lives, versions, records, starts, signals, exits, flaps int }

func (c *counter) add(d counter) {
	c.lives += d.lives
	c.versions += d.versions
	c.records += d.records
	c.starts += d.starts
	c.signals += d.signals
	c.exits += d.exits
	c.flaps += d.flaps
}

func (c counter) String() string {
	return fmt.Sprintf("%d pods, %d containers started; %d signals, %d exits and %d flaps of readiness; %d versions held to %d records",
		c.lives, c.starts, c.signals, c.exits, c.flaps, c.versions, c.records)
}

// A life is one pod from its apply to its deletion.
type life struct {
	site  *site
	kind  kind
	rand  *rand.Rand
	count func(counter) // is told of what was done and checked

	cast  cast
	check checker
	watch watcher
}

// live applies the pod, torments it for a while or until stop is closed, deletes it, and checks every version of it on
// the way. It returns the first inconsistency.
func (l *life) live(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, ctx := errgroup.WithContext(ctx)
	heard := make(chan news)
	work.Go(func() error { return l.watched(ctx, heard) })
	work.Go(func() error { return l.attend(ctx, heard) })
	work.Go(func() error {
		found, err := l.apply(ctx)
		if err != nil {
			return err
		}
		work.Go(func() error { return l.recorded(ctx, found, heard) })
		if err := l.torment(ctx, stop); err != nil {
			return err
		}
		late := time.AfterFunc(patience, func() {
			cancel(fmt.Errorf("pod %s: %s after its deletion, not all of it was told", l.kind.name, patience))
		})
		context.AfterFunc(ctx, func() { late.Stop() })
		return nil
	})
	return work.Wait()
}

// apply applies the pod.
func (l *life) apply(ctx context.Context) (supervisor.Found, error) {
	if err := l.site.podsim(ctx, l.kind.manifest(), "apply", "-f", "-", "--backoff", "x20"); err != nil {
		return supervisor.Found{}, err
	}
	found, err := supervisor.Get(ctx, l.site.Site, namespace, l.kind.name)
	if err == nil {
		l.cast.begin(found.ID)
	}
	return found, err
}

// patience is how long a version may wait for the records that it was made of, and a deleted pod for its end.
const patience = 30 * time.Second

// News are what is heard of a pod: a version, or records of its run.
type news struct {
	version *shown
	header  timeline.Header
	records []timeline.Record
	ended   bool // there will be no more of either kind
}

func tell(ctx context.Context, to chan<- news, n news) error {
	select {
	case to <- n:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watched tells of every version, until the pod is deleted.
func (l *life) watched(ctx context.Context, to chan<- news) error {
	err := supervisor.Watch(ctx, l.site.Site, namespace, l.kind.name, func(e supervisor.Event) error {
		if err := tell(ctx, to, news{version: &shown{e, time.Now()}}); err != nil {
			return err
		}
		if e.Type == supervisor.Deleted {
			return errDeleted
		}
		return nil
	})
	if !errors.Is(err, errDeleted) {
		return err
	}
	return tell(ctx, to, news{ended: true})
}

var errDeleted = errors.New("the pod was deleted")

// recorded tells of every record, until the run is over.
func (l *life) recorded(ctx context.Context, found supervisor.Found, to chan<- news) error {
	err := found.Follow(ctx, func(h timeline.Header, list []timeline.Record) error {
		return tell(ctx, to, news{header: h, records: slices.Clone(list)})
	})
	if err != nil {
		return err
	}
	return tell(ctx, to, news{ended: true})
}

// attend checks what it is told of.
func (l *life) attend(ctx context.Context, from <-chan news) error {
	look := time.NewTicker(settled / 4)
	defer look.Stop()
	for ended := 0; ended < 2; {
		select {
		case <-look.C:
			if err := l.hear(news{}); err != nil {
				return err
			}
		case n := <-from:
			if n.ended {
				ended++
				continue
			}
			if err := l.hear(n); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := l.check.add(time.Now().Add(settled), nil); err != nil {
		return err
	}
	return l.check.end()
}

func (l *life) hear(n news) error {
	var versions []shown
	if n.version != nil {
		l.count(counter{versions: 1})
		if err := l.watch.see(n.version.Event); err != nil {
			return err
		}
		versions = []shown{*n.version}
	}
	if len(n.records) > 0 {
		if l.check.pod == nil {
			l.check.pod = n.header.Pods[0]
		}
		l.count(counter{records: len(n.records), starts: l.cast.add(n.records)})
	}
	now := time.Now()
	if err := l.check.add(now, n.records, versions...); err != nil {
		return err
	}
	return l.check.overdue(now.Add(-patience))
}

// torment does to the containers what the seed has it do, and deletes the pod when it has ended, when its time is over
// or when stop is closed.
func (l *life) torment(ctx context.Context, stop <-chan struct{}) error {
	over := time.NewTimer(l.span())
	defer over.Stop()
	strike := time.NewTimer(0)
	defer strike.Stop()
	for going := true; going; {
		select {
		case <-strike.C:
			l.count(l.strike(ctx))
			strike.Reset(l.pause())
		case <-over.C:
			going = false
		case <-l.cast.ended:
			going = false
		case <-stop:
			going = false
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return l.site.podsim(ctx, "", "delete", "pod", l.kind.name, "--grace-period", strconv.Itoa(l.rand.IntN(4)))
}

// span is how long a pod lives, if it does not end before.
func (l *life) span() time.Duration {
	return 15*time.Second + time.Duration(l.rand.Int64N(int64(90*time.Second)))
}

// pause is how long nothing is done to it.
func (l *life) pause() time.Duration {
	return 200*time.Millisecond + time.Duration(l.rand.Int64N(int64(2500*time.Millisecond)))
}
