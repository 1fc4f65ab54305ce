//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A held is a container's main process, held by a descriptor: to signal it takes a system call where the runtime would
// start a program. A nil one holds nothing.
type held struct {
	mu sync.Mutex
	process
}

// hold holds the main process of a container that was just created. It is nil where only the runtime knows whom a
// signal is for: a container without a PID namespace of its own, all of whose processes are killed.
func hold(pid int, s Spec) *held {
	if s.Namespaces.PID != "" || s.Namespaces.HostPID {
		return nil
	}
	p, err := openProcess(pid)
	if err != nil || !p.exists() {
		return nil
	}
	// The process waits to be started, so the number is its own, unless it was killed in this moment.
	if cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err != nil || !strings.Contains(string(cgroups), ":"+s.Cgroup+"\n") {
		p.close()
		return nil
	}
	return &held{process: p}
}

// signal sends a signal. To a process that has ended, or was released, it does nothing.
func (h *held) signal(n unix.Signal) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.exists() {
		return nil
	}
	if err := unix.PidfdSendSignal(h.fd, n, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", h.pid, err)
	}
	return nil
}

// How long a container's program may take to begin once its start was reported, and how often that is looked at.
const (
	beginPatience = time.Second
	beginLook     = time.Millisecond
)

// runcInit is how runc's own process is called until it becomes the container's program.
const runcInit = "runc:[2:INIT]"

// awaitProgram returns when a container's main process has become its program, which its start is reported before. A
// signal that asks it to end would be runc's until then, which ends with code 2 of its own.
func awaitProgram(ctx context.Context, pid int) {
	path := fmt.Sprintf("/proc/%d/comm", pid)
	for begin := time.Now(); time.Since(begin) < beginPatience; {
		if comm, err := os.ReadFile(path); err != nil || strings.TrimSuffix(string(comm), "\n") != runcInit {
			return
		}
		select {
		case <-time.After(beginLook):
		case <-ctx.Done():
			return
		}
	}
}

// release lets go of the process. It is idempotent.
func (h *held) release() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.close()
	h.fd = -1
}
