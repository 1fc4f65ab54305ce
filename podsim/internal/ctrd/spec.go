//go:build linux

package ctrd

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	oruntime "github.com/opencontainers/runtime-spec/specs-go"
)

// A Spec says how a container runs, by value: nothing in it is loaded, looked up or checked against the host until
// a container is created of it. The zero value of a field means the runtime's default.
type Spec struct {
	Args []string // the program and its arguments; needed
	Env  []string // name=value; a PATH is added if there is none
	Cwd  string   // empty: /
	User User
	TTY  bool

	CapAdd, CapDrop []string // with or without CAP_; ALL is all that the host can give, or all (NS-06)
	Privileged      bool     // all capabilities and devices, nothing masked (NS-07)
	ReadonlyRoot    bool     // NS-05
	NoNewPrivileges bool     // NS-08
	Seccomp         Seccomp  // NS-09
	// Unmasked leaves /proc as it is (procMount Unmasked, NS-10).
	Unmasked bool

	Rlimits     []Rlimit
	Resources   Resources
	OOMScoreAdj *int // nil: inherited
	Sysctls     map[string]string

	// Mounts come after the runtime's own, in the order of their depth. One on the destination of an own
	// (/dev/shm, /sys/fs/cgroup, ...) replaces it.
	Mounts []Mount

	Hostname   string // for a uts namespace of its own only: a joined one has its name already
	Namespaces Namespaces
	// Cgroup is the absolute path below each hierarchy: /podsim/<id>/<name>. Needed.
	Cgroup      string
	Annotations map[string]string
}

// Namespaces are the namespaces that a container joins, by path. An empty one is its own; the mount namespace
// always is.
type Namespaces struct {
	Net, IPC, UTS, PID string
	// Host... means that of the host instead.
	HostNet, HostIPC, HostUTS, HostPID bool
}

// A Mount is a bind or other mount in the container.
type Mount struct {
	Source, Destination string
	Type                string   // empty: bind
	Options             []string // ro, rw, rslave, ...; for a bind, rbind and rprivate unless others are given
}

// An Rlimit is one limit: RLIMIT_NOFILE, ...
type Rlimit struct {
	Type       string
	Soft, Hard uint64
}

// Resources are limits for the container's cgroup. Zero: none.
type Resources struct {
	CPUShares   uint64 // 2..262144
	CPUQuota    int64  // microseconds a period
	CPUPeriod   uint64 // microseconds
	Memory      int64  // bytes
	PIDs        int64
	CPUs        string // cpuset.cpus
	MemoryNodes string // cpuset.mems
}

// A SeccompMode names a kind of seccomp profile.
type SeccompMode uint8

// The modes.
const (
	SeccompUnconfined SeccompMode = iota
	SeccompRuntimeDefault
	SeccompLocalhost
)

// Seccomp is a seccomp profile; for SeccompLocalhost, Profile is its JSON.
type Seccomp struct {
	Mode    SeccompMode
	Profile []byte
}

// defaultCaps are what a container has unless it says otherwise: those of containerd and Docker.
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
	"/sys/devices/virtual/powercap",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// generation is one run of generate: the result so far, and what the host would not let us do.
type generation struct {
	in    Spec
	facts Facts
	out   *oruntime.Spec
	notes []string
}

// generate makes the OCI specification. It is a pure function of the spec and the facts. Notes say, for the user,
// what was asked for and cannot be had on this host.
func (s Spec) generate(f Facts) (*oruntime.Spec, []string, error) {
	switch {
	case len(s.Args) == 0:
		return nil, nil, fmt.Errorf("no command: the image has neither entrypoint nor command, and the container gives none")
	case !path.IsAbs(s.Cgroup):
		return nil, nil, fmt.Errorf("cgroup path %q is not absolute", s.Cgroup)
	}
	g := &generation{in: s, facts: f, out: &oruntime.Spec{
		Version:     oruntime.Version,
		Root:        &oruntime.Root{Path: "rootfs", Readonly: s.ReadonlyRoot},
		Annotations: s.Annotations,
		Linux:       &oruntime.Linux{CgroupsPath: s.Cgroup, Sysctl: s.Sysctls},
	}}
	if s.Hostname != "" && s.Namespaces.UTS == "" && !s.Namespaces.HostUTS {
		g.out.Hostname = s.Hostname
	}
	g.namespaces()
	g.mounts()
	g.resources()
	g.masks()
	for _, step := range []func() error{g.process, g.seccomp} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return g.out, g.notes, nil
}

func (g *generation) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

func (g *generation) process() error {
	cwd := g.in.Cwd
	if cwd == "" {
		cwd = "/"
	}
	if !path.IsAbs(cwd) {
		return fmt.Errorf("working directory %q is not absolute", cwd)
	}
	env := slices.Clone(g.in.Env)
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		env = append([]string{defaultPath}, env...)
	}
	if g.in.TTY {
		env = withTerm(env)
	}
	caps, err := g.capabilities()
	if err != nil {
		return err
	}
	g.out.Process = &oruntime.Process{
		Terminal:        g.in.TTY,
		Args:            g.in.Args,
		Env:             env,
		Cwd:             cwd,
		User:            oruntime.User{UID: g.in.User.UID, GID: g.in.User.GID, AdditionalGids: g.in.User.Groups},
		NoNewPrivileges: g.in.NoNewPrivileges,
		Capabilities:    caps,
		Rlimits:         g.rlimits(),
		OOMScoreAdj:     g.oomScoreAdj(),
	}
	return nil
}

// withTerm is an environment that says what the process's terminal can do, as the kubelet's runtimes have it.
func withTerm(env []string) []string {
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		return env
	}
	return append(slices.Clone(env), "TERM=xterm")
}

// capabilities are the bounding, permitted and effective sets; a user other than root has only the first after
// execve, as under Kubernetes.
func (g *generation) capabilities() (*oruntime.LinuxCapabilities, error) {
	set := slices.Clone(defaultCaps)
	if g.in.Privileged {
		set = slices.Clone(g.facts.Caps)
	} else {
		var err error
		if set, err = adjustCaps(set, g.facts.Caps, g.in.CapAdd, g.in.CapDrop); err != nil {
			return nil, err
		}
	}
	var kept []string
	for _, c := range set {
		if g.facts.has(c) {
			kept = append(kept, c)
		} else {
			g.note("%s cannot be given: podsim itself does not have it", c)
		}
	}
	slices.Sort(kept)
	return &oruntime.LinuxCapabilities{Bounding: kept, Effective: kept, Permitted: kept}, nil
}

// adjustCaps drops and adds as the runtime does: ALL first, then the single ones, added after dropped.
func adjustCaps(set, all, add, drop []string) ([]string, error) {
	add, drop = capNames(add), capNames(drop)
	if slices.Contains(add, "CAP_ALL") {
		set = slices.Clone(all)
	}
	if slices.Contains(drop, "CAP_ALL") {
		set = nil
	}
	known := knownCaps()
	for _, c := range slices.Concat(add, drop) {
		if c != "CAP_ALL" && !slices.Contains(known, c) {
			return nil, fmt.Errorf("unknown capability %s", strings.TrimPrefix(c, "CAP_"))
		}
	}
	set = slices.DeleteFunc(set, func(c string) bool { return slices.Contains(drop, c) })
	for _, c := range add {
		if c != "CAP_ALL" && !slices.Contains(set, c) {
			set = append(set, c)
		}
	}
	return set, nil
}

func capNames(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "CAP_" + strings.TrimPrefix(strings.ToUpper(n), "CAP_")
	}
	return out
}

// rlimits keeps what the host's hard limits allow: raising one needs CAP_SYS_RESOURCE.
func (g *generation) rlimits() []oruntime.POSIXRlimit {
	var out []oruntime.POSIXRlimit
	for _, r := range g.in.Rlimits {
		limit, known := g.facts.Limits[r.Type]
		if known && r.Hard > limit && !g.facts.has("CAP_SYS_RESOURCE") {
			g.note("%s stays at %d instead of %d: raising it needs CAP_SYS_RESOURCE, which podsim does not have", r.Type, limit, r.Hard)
			r.Hard, r.Soft = limit, min(r.Soft, limit)
		}
		out = append(out, oruntime.POSIXRlimit{Type: r.Type, Hard: r.Hard, Soft: r.Soft})
	}
	return out
}

func (g *generation) oomScoreAdj() *int {
	want := g.in.OOMScoreAdj
	if want != nil && *want < g.facts.OOMScoreAdj && !g.facts.has("CAP_SYS_RESOURCE") {
		g.note("oom_score_adj stays at %d instead of %d: lowering it needs CAP_SYS_RESOURCE, which podsim does not have", g.facts.OOMScoreAdj, *want)
		return nil
	}
	return want
}

func (g *generation) namespaces() {
	n := g.in.Namespaces
	add := func(kind oruntime.LinuxNamespaceType, path string, host bool) {
		if !host {
			g.out.Linux.Namespaces = append(g.out.Linux.Namespaces, oruntime.LinuxNamespace{Type: kind, Path: path})
		}
	}
	add(oruntime.PIDNamespace, n.PID, n.HostPID)
	add(oruntime.IPCNamespace, n.IPC, n.HostIPC)
	add(oruntime.UTSNamespace, n.UTS, n.HostUTS)
	add(oruntime.MountNamespace, "", false)
	add(oruntime.NetworkNamespace, n.Net, n.HostNet)
	// As the CRI runtime has it: a container sees its own cgroup as the root where there is v2 alone.
	add(oruntime.CgroupNamespace, "", !g.facts.Unified || g.in.Privileged)
}

// mounts are the runtime's, without those that the container's replace, and then the container's, parents first.
func (g *generation) mounts() {
	access := "ro"
	if g.in.Privileged {
		access = "rw"
	}
	own := []oruntime.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", access}},
	}
	replaced := map[string]bool{}
	for _, m := range g.in.Mounts {
		replaced[path.Clean(m.Destination)] = true
	}
	for _, m := range own {
		if !replaced[m.Destination] {
			g.out.Mounts = append(g.out.Mounts, m)
		}
	}
	theirs := slices.Clone(g.in.Mounts)
	slices.SortStableFunc(theirs, func(a, b Mount) int { return depth(a.Destination) - depth(b.Destination) })
	for _, m := range theirs {
		g.out.Mounts = append(g.out.Mounts, m.oci())
		g.propagate(m.Options)
	}
}

func depth(p string) int { return strings.Count(path.Clean(p), "/") }

func (m Mount) oci() oruntime.Mount {
	out := oruntime.Mount{Destination: path.Clean(m.Destination), Type: m.Type, Source: m.Source, Options: slices.Clone(m.Options)}
	if out.Type != "" && out.Type != "bind" {
		return out
	}
	out.Type = "bind"
	has := func(options ...string) bool {
		return slices.ContainsFunc(out.Options, func(o string) bool { return slices.Contains(options, o) })
	}
	if !has("bind", "rbind") {
		out.Options = append(out.Options, "rbind")
	}
	if !has("private", "rprivate", "slave", "rslave", "shared", "rshared") {
		out.Options = append(out.Options, "rprivate")
	}
	return out
}

// propagate gives the root the propagation that a mount in it needs to receive, or to send.
func (g *generation) propagate(options []string) {
	l := g.out.Linux
	if slices.Contains(options, "rshared") {
		l.RootfsPropagation = "rshared"
	} else if slices.Contains(options, "rslave") && l.RootfsPropagation == "" {
		l.RootfsPropagation = "rslave"
	}
}

func (g *generation) resources() {
	r := g.in.Resources
	out := &oruntime.LinuxResources{Devices: []oruntime.LinuxDeviceCgroup{{Allow: g.in.Privileged, Access: "rwm"}}}
	if r.CPUShares != 0 || r.CPUQuota != 0 || r.CPUPeriod != 0 || r.CPUs != "" || r.MemoryNodes != "" {
		out.CPU = &oruntime.LinuxCPU{Shares: given(r.CPUShares), Quota: given(r.CPUQuota), Period: given(r.CPUPeriod), Cpus: r.CPUs, Mems: r.MemoryNodes}
	}
	if r.Memory != 0 {
		out.Memory = &oruntime.LinuxMemory{Limit: &r.Memory}
		if g.facts.Swap { // no swap on top, as under the kubelet
			out.Memory.Swap = &r.Memory
		}
	}
	if r.PIDs != 0 {
		out.Pids = &oruntime.LinuxPids{Limit: &r.PIDs}
	}
	g.out.Linux.Resources = out
}

// given is nil for a zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// masks hides what the kernel's file systems give away.
func (g *generation) masks() {
	if !g.in.Privileged && !g.in.Unmasked {
		g.out.Linux.MaskedPaths = maskedPaths
		g.out.Linux.ReadonlyPaths = readonlyPaths
	}
}

func (g *generation) seccomp() error {
	mode := g.in.Seccomp.Mode
	if mode == SeccompUnconfined || g.in.Privileged {
		return nil
	}
	if !g.facts.Seccomp {
		g.note("the seccomp profile is not applied: the bundled runc is built without libseccomp")
		return nil
	}
	if mode == SeccompRuntimeDefault {
		g.out.Linux.Seccomp = seccomp.DefaultProfile(g.out)
		return nil
	}
	g.out.Linux.Seccomp = &oruntime.LinuxSeccomp{}
	if err := json.Unmarshal(g.in.Seccomp.Profile, g.out.Linux.Seccomp); err != nil {
		return fmt.Errorf("read the seccomp profile: %w", err)
	}
	return nil
}
