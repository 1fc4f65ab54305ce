package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A cast is who is on the stage: the containers of a pod that run, by their processes. It is safe for concurrent use.
type cast struct {
	ended chan struct{} // closed when all has ended by itself

	mu      sync.Mutex
	id      string // the pod's, in the names of its cgroups
	address string
	running []actor
	over    bool
}

type actor struct {
	container string
	pid       int
}

func newCast() cast { return cast{ended: make(chan struct{})} }

func (c *cast) begin(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = id
}

// add takes records, and returns how many containers were started.
func (c *cast) add(records []timeline.Record) (starts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		if r.Kind != pod.Ended || r.Failure != nil {
			continue
		}
		switch r.Action.Op {
		case pod.OpSetUp:
			if r.Network != nil && len(r.Network.PodIPs) > 0 {
				c.address = r.Network.PodIPs[0]
			}
		case pod.OpStart:
			starts++
			c.running = append(c.running, actor{r.Action.Container, r.Instance.PID})
		case pod.OpAwait:
			c.running = slices.DeleteFunc(c.running, func(a actor) bool { return a.container == r.Action.Container })
		case pod.OpTearDown:
			if !c.over {
				c.over = true
				close(c.ended)
			}
		}
	}
	return starts
}

// pick is one of those that run, by a number; ok is false if none does.
func (c *cast) pick(n int) (a actor, id, address string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) == 0 {
		return a, "", "", false
	}
	return c.running[n%len(c.running)], c.id, c.address, true
}

// signals are what processes are sent: what nobody can refuse, what ends an app well, and what ends it badly.
var signals = []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGQUIT}

// strike does something to one container that runs.
func (l *life) strike(ctx context.Context) (done counter) {
	who, how, which := l.rand.IntN(1<<16), l.rand.IntN(10), l.rand.IntN(1<<16)
	a, id, address, ok := l.cast.pick(who)
	if !ok {
		return done
	}
	port := ports[a.container]
	switch {
	case how < 4 || port == 0 && how < 6:
		if hit(a, id, signals[which%len(signals)]) {
			done.signals++
		}
	case port == 0:
	case how < 6:
		code := []int{0, 1, 3, resetCode}[which%4]
		if ask(ctx, fmt.Sprintf("http://%s:%d/exit?code=%d", address, port, code)) {
			done.exits++
		}
	default:
		if ask(ctx, fmt.Sprintf("http://%s:%d/readyz?set=%t", address, port, how < 8)) {
			done.flaps++
		}
	}
	return done
}

// hit sends a signal to a container's process, if it still is that.
func hit(a actor, id string, s unix.Signal) bool {
	fd, err := unix.PidfdOpen(a.pid, 0)
	if err != nil {
		return false // it has ended
	}
	defer unix.Close(fd)
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", a.pid))
	if err != nil || !bytes.Contains(cgroup, []byte("/"+id+"/"+a.container)) {
		return false // another process has its number
	}
	return unix.PidfdSendSignal(fd, s, nil, 0) == nil
}

// ask makes a request of an app. One that dies of it does not answer, and has been asked all the same.
func ask(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return ctx.Err() == nil
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16))
	return true
}
