//go:build linux

package ctrd

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
)

// A podShim is what this client knows of the shim of one pod.
//
// containerd starts the shim's program for every task, which finds the pod's shim at work and leaves it to it: that
// is half of what it costs to create a container. It does not where a container is said to be of a sandbox and the
// request names the address of the sandbox's shim. So all containers name the address of a shim that was started
// ahead, by StartShim. Where there is none, or none any more, the next container is created without a sandbox, and
// containerd starts the shim; the others name its address, as soon as it listens there.
type podShim struct {
	ahead    bool          // it was started ahead, and no container has come to it yet
	live     int           // containers that this client has in the shim, or is about to
	starting chan struct{} // closed when the creation that starts the shim is over; nil: none is under way
}

// sandboxID is the sandbox of all containers that join a shim that runs. containerd wants a record of it and nothing
// else; one for all is never in anybody's way.
const sandboxID = "podsim"

// shimVersion is the version of the task API that the bundle's shim serves.
const shimVersion = 3

// joinShim tells how the next container of a pod gets a shim: by the address of the one that runs, or, if that is
// empty, by being the one whose creation starts it. joined must be called when the creation is over.
func (c *Client) joinShim(ctx context.Context, pod string) (address string, joined func(created bool), err error) {
	if c.cfg.External() { // its shims may be of any version
		return "", func(bool) {}, nil
	}
	for {
		s, first, starting := c.enterShim(pod)
		if first {
			c.awaitShimsEnd(ctx, pod)
			return "", func(created bool) { c.shimStarted(s, created) }, nil
		}
		if answers(c.shimSocket(pod)) {
			return "ttrpc+unix://" + c.shimSocket(pod), func(created bool) {
				if !created {
					c.leaveShim(pod)
				}
			}, nil
		}
		c.leaveShim(pod)
		if starting == nil { // it was killed: nobody else knows yet
			c.reapShims()
			c.forgetShim(s)
			continue
		}
		select {
		case <-starting:
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return "", nil, context.Cause(ctx)
		}
	}
}

// shimEndPatience is how long a shim may take to end after its last container.
const shimEndPatience = 2 * time.Second

// awaitShimsEnd waits for the end of a shim whose last container was just deleted: a shim's program would take it for
// one at work, and leave the container to it. One that does not end is left to that program too.
func (c *Client) awaitShimsEnd(ctx context.Context, pod string) {
	ctx, cancel := context.WithTimeout(ctx, shimEndPatience)
	defer cancel()
	for answers(c.shimSocket(pod)) && pauseFor(ctx, time.Millisecond) == nil {
	}
	c.reapShims()
}

// enterShim counts a container in, unless it is the first one: that is counted when its creation has succeeded.
func (c *Client) enterShim(pod string) (s *podShim, first bool, starting chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s = c.shims[pod]
	if s == nil {
		s = &podShim{}
		c.shims[pod] = s
	}
	if s.live <= 0 && s.starting == nil && !s.ahead {
		s.starting = make(chan struct{})
		return s, true, nil
	}
	s.ahead = false
	s.live++
	return s, false, s.starting
}

func (c *Client) shimStarted(s *podShim, created bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(s.starting)
	s.starting = nil
	if created {
		s.live++
	}
}

// leaveShim counts a container out. The shim ends when its last container is deleted.
func (c *Client) leaveShim(pod string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.shims[pod]; s != nil {
		s.live--
	}
}

// forgetShim has the next container start a shim again.
func (c *Client) forgetShim(s *podShim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.live = 0
}

// recordSandbox makes sure that containerd knows the sandbox.
func (c *Client) recordSandbox(ctx context.Context) error {
	c.sandbox.Lock()
	defer c.sandbox.Unlock()
	if c.sandboxKnown {
		return nil
	}
	_, err := c.ctr.SandboxStore().Create(ctx, sandbox.Sandbox{ID: sandboxID, Runtime: sandbox.RuntimeOpts{Name: runtimeName}})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("write the sandbox's record: %w", native(err))
	}
	c.sandboxKnown = true
	return nil
}
