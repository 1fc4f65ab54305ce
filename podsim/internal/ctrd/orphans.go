//go:build linux

package ctrd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// orphanPatience is how long a shim has to end after it was told to.
const orphanPatience = time.Second

// endOrphans ends the shims of a run that do not end with its containers, which are gone by now. There are such: one
// that was started ahead and got no container; one whose creation was cut short; and of two that start at once for one
// pod the first, as a shim's program removes the socket of one that has bound it and does not listen yet.
func (c *Client) endOrphans(run string) error { return endShims(run, c.cfg.address()) }

// EndShims ends the shims of a run, whose containerd is gone and cannot be asked to. Their containers run on: it is for
// the caller to end them by their cgroups. What containerd has written down of them stays; it finds them dead when it runs
// again, and RemoveRun takes them away. It is idempotent.
func EndShims(cfg Config, run string) error {
	if err := endShims(run, cfg.address()); err != nil {
		return fmt.Errorf("end the shims of run %s: %w", run, err)
	}
	return nil
}

func endShims(run, address string) error {
	found, err := findShims(run, address)
	if err != nil {
		return err
	}
	defer found.close()
	var errs []error
	for _, p := range found {
		if err := unix.PidfdSendSignal(p.fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("end shim %d: %w", p.pid, err))
		}
	}
	deadline := time.Now().Add(orphanPatience)
	for _, p := range found {
		if p.await(time.Until(deadline)) {
			continue
		}
		if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill shim %d: %w", p.pid, err))
		} else if !p.await(stopTimeout) {
			errs = append(errs, fmt.Errorf("shim %d is still there %s after SIGKILL", p.pid, stopTimeout))
		}
	}
	return errors.Join(errs...)
}

// findShims finds the shims of a run's pods, by their command lines: a container's ID begins with its run's.
func findShims(run, address string) (processes, error) {
	return findProcesses("shims", func(pid int) bool {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(data), "\x00")
		if err != nil || !strings.HasSuffix(args[0], "containerd-shim-runc-v2") {
			return false
		}
		var ours, itsRun bool
		for i := range args[:len(args)-1] {
			ours = ours || args[i] == "-address" && args[i+1] == address
			itsRun = itsRun || args[i] == "-id" && strings.HasPrefix(args[i+1], run)
		}
		return ours && itsRun
	})
}
