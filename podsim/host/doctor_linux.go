package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// bundled are the programs that `make build` puts beside podsim.
var bundled = []string{"containerd", "containerd-shim-runc-v2", "runc", "bridge", "host-local", "loopback"}

// Doctor examines the machine for everything a run depends on, and changes nothing. It needs no root: what it cannot see
// without, it says.
func Doctor(c Config) []Finding {
	c = c.withDefaults()
	findings := []Finding{findRoot()}
	findings = append(findings, findBundle(c)...)
	findings = append(findings, findCapabilities(), findCgroups(), findOverlay(), findDisk(c.Site.StateDir), findSocketPath(c.Site))
	return append(findings, findNetwork(c)...)
}

// Preflight is the part of Doctor that is quick enough to be asked before every run. It returns a *NotReadyError.
func Preflight(c Config) error {
	c = c.withDefaults()
	findings := append([]Finding{findRoot(), findSocketPath(c.Site)}, findBundle(c)...)
	if b := broken(findings); len(b) > 0 {
		return &NotReadyError{b}
	}
	return nil
}

func findRoot() Finding {
	f := Finding{Name: "root", Detail: "running as root"}
	if os.Geteuid() != 0 {
		f.Level, f.Fix = Broken, "sudo podsim ..."
		f.Detail = fmt.Sprintf("running as uid %d; namespaces, mounts and cgroups need root", os.Geteuid())
	}
	return f
}

func findBundle(c Config) []Finding {
	var missing []string
	needed := bundled
	if slices.ContainsFunc(c.Pods, sharesProcesses) {
		needed = append(slices.Clip(needed), initProgram)
	}
	for _, name := range needed {
		if c.Containerd != "" && strings.HasPrefix(name, "containerd") {
			continue
		}
		if unix.Access(filepath.Join(c.Bundle, name), unix.X_OK) != nil {
			missing = append(missing, name)
		}
	}
	f := Finding{Name: "bundle", Detail: "complete in " + c.Bundle}
	if len(missing) > 0 {
		f.Level, f.Fix = Broken, "make build"
		f.Detail = fmt.Sprintf("%s: no %s; they are built beside podsim (--bundle names another directory)", c.Bundle, strings.Join(missing, ", "))
	}
	return []Finding{f}
}

// capability bits, from linux/capability.h.
var neededCapabilities = []struct {
	name  string
	bit   uint
	level Level
	means string
}{
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, Broken, "namespaces and mounts need it"},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, Broken, "links and rules need it"},
	{"CAP_SYS_RESOURCE", unix.CAP_SYS_RESOURCE, Weaker, "oom_score_adj cannot be lowered nor rlimits raised: containers keep podsim's own"},
}

func findCapabilities() Finding {
	f := Finding{Name: "capabilities", Detail: "all there"}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return Finding{Name: f.Name, Level: Weaker, Detail: "cannot be read: " + err.Error()}
	}
	var missing []string
	for _, c := range neededCapabilities {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, fmt.Sprintf("no %s: %s", c.name, c.means))
			f.Level = max(f.Level, c.level)
		}
	}
	if len(missing) > 0 {
		f.Detail = strings.Join(missing, "; ")
	}
	if f.Level == Broken {
		f.Fix = "sudo podsim ..., or run this container with --privileged"
	}
	return f
}

func findCgroups() Finding {
	f := Finding{Name: "cgroups"}
	switch cgroups.Mode() {
	case cgroups.Unified:
		f.Detail = "v2"
	case cgroups.Hybrid:
		f.Detail = "v1 with a v2 hierarchy beside it"
	case cgroups.Legacy:
		f.Level, f.Detail = Weaker, "v1 alone: flows cannot be told apart by container"
		f.Fix = "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
	default:
		f.Level, f.Detail = Broken, "not mounted: containers need them"
		f.Fix = "mount -t cgroup2 none /sys/fs/cgroup"
	}
	return f
}

func findOverlay() Finding {
	f := Finding{Name: "overlayfs", Detail: "known to the kernel"}
	known, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(known), "\toverlay\n") {
		f.Level, f.Detail = Weaker, "not known to the kernel yet: images are copied instead, which is slow"
		f.Fix = "modprobe overlay"
	}
	return f
}

// lowDisk is the free space under which a run is likely to end with a full disk.
const lowDisk = 1 << 30

func findDisk(stateDir string) Finding {
	f := Finding{Name: "disk"}
	dir := stateDir
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			return Finding{Name: f.Name, Level: Weaker, Detail: fmt.Sprintf("%s: %v", dir, err)}
		}
		dir = filepath.Dir(dir)
	}
	free := st.Bavail * uint64(st.Bsize)
	f.Detail = fmt.Sprintf("%.1f GiB free for %s", float64(free)/(1<<30), stateDir)
	if free < lowDisk {
		f.Level, f.Fix = Weaker, "free some, or name another place with --state-dir"
	}
	return f
}

// maxRunDir is how long the run directory's path may be: containerd bounds that of its shims' sockets, two levels below.
const maxRunDir = 42 - len("/containerd/s")

func findSocketPath(s Site) Finding {
	f := Finding{Name: "run directory", Detail: s.RunDir}
	if len(s.RunDir) > maxRunDir {
		f.Level, f.Fix = Broken, "name a shorter directory with --run-dir"
		f.Detail = fmt.Sprintf("%s is too long for the sockets below it, by %d characters", s.RunDir, len(s.RunDir)-maxRunDir)
	}
	return f
}

// findNetwork are the network's own findings. What keeps pods from having one keeps podsim from running, unless the
// run does without.
func findNetwork(c Config) []Finding {
	n := netns.Network{StateDir: c.Site.StateDir}
	var out []Finding
	for _, f := range n.Findings(c.Bundle, netns.HostPluginDir) {
		level := OK
		switch {
		case f.Fatal && !c.NoNetwork:
			level = Broken
		case !f.OK:
			level = Weaker
		}
		out = append(out, Finding{Name: f.Name, Level: level, Detail: f.Detail, Fix: f.Fix})
	}
	return out
}
