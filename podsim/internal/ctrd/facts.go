//go:build linux

package ctrd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"golang.org/x/sys/unix"
)

// Facts are what a specification must know about the host. A test writes its own.
type Facts struct {
	// Unified: the host has cgroup v2 alone. On a v1 or hybrid host it is false.
	Unified bool
	// Caps are the capabilities that can be handed on, as CAP_....
	Caps []string
	// OOMScoreAdj is this process's own: without CAP_SYS_RESOURCE nothing can go below it.
	OOMScoreAdj int
	// Limits are this process's hard limits by their name in a specification: RLIMIT_NOFILE, ...
	Limits map[string]uint64
	// Seccomp: runc can apply seccomp profiles. The bundle's is built without libseccomp and cannot.
	Seccomp bool
	// Swap: the memory cgroups account for swap, so that it can be limited.
	Swap bool
	// Volatile: the kernel's overlay knows the option volatile (5.10).
	Volatile bool
}

func (f Facts) has(capability string) bool { return slices.Contains(f.Caps, capability) }

// rlimits are the limits by their name in a specification.
var rlimits = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

// ReadFacts asks this host.
func ReadFacts() (Facts, error) {
	caps, err := cap.Current()
	if err != nil {
		return Facts{}, fmt.Errorf("read this process's capabilities: %w", err)
	}
	f := Facts{Unified: unifiedHost(), Caps: caps, Limits: map[string]uint64{}, Swap: swapAccounted(), Volatile: kernelAtLeast(5, 10)}
	data, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return Facts{}, fmt.Errorf("read this process's oom_score_adj: %w", err)
	}
	if f.OOMScoreAdj, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
		return Facts{}, fmt.Errorf("read this process's oom_score_adj: %w", err)
	}
	for name, number := range rlimits {
		var l unix.Rlimit
		if err := unix.Getrlimit(number, &l); err != nil {
			return Facts{}, fmt.Errorf("read this process's %s: %w", name, err)
		}
		f.Limits[name] = l.Max
	}
	return f, nil
}

// unifiedHost reports whether /sys/fs/cgroup itself is a cgroup v2 hierarchy.
func unifiedHost() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// swapAccounted looks for the file of a limit on swap: at the root of a v1 hierarchy, or in any child of a v2 one.
func swapAccounted() bool {
	for _, pattern := range []string{"/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "/sys/fs/cgroup/*/memory.swap.max"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return true
		}
	}
	return false
}

func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// knownCaps are the capabilities that the runtime knows by name.
func knownCaps() []string { return cap.Known() }
