package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// bundled are the programs that `make build` puts beside podsim.
var bundled = []string{"containerd", "containerd-shim-runc-v2", "runc", "bridge", "host-local", "loopback"}

// Doctor examines the machine for everything a run depends on. It leaves nothing changed: what it has to try it tries
// in namespaces and directories of its own, and takes them away. It needs no root: what it cannot see without, it says.
func Doctor(c Config) []Finding {
	c = c.withDefaults()
	findings := []Finding{findRoot(), findBundle(c)}
	if len(broken(findings[1:])) == 0 {
		findings = append(findings, findPrograms(c), findInit(c.Bundle))
	}
	if c.Containerd != "" {
		findings = append(findings, findContainerd(c))
	}
	findings = append(findings, findCapabilities(), findCgroups(cgroupRoot), findState(c.Site.StateDir),
		findOverlay(c.Site.StateDir), findDisk(c.Site.StateDir), findRunDir(c.Site), findFiles(), findInotify(procSys))
	findings = append(findings, findNetwork(c)...)
	return append(findings, findLedger(), findStubRange())
}

// Preflight is the part of Doctor that is quick enough to be asked before every run. It returns a *NotReadyError.
func Preflight(c Config) error {
	c = c.withDefaults()
	if b := broken([]Finding{findRoot(), findRunDir(c.Site), findState(c.Site.StateDir), findBundle(c)}); len(b) > 0 {
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

// neededOf are the bundle's programs that a configuration needs.
func neededOf(c Config) []string {
	needed := slices.Clone(bundled)
	if c.Containerd != "" {
		needed = slices.DeleteFunc(needed, func(name string) bool { return strings.HasPrefix(name, "containerd") })
	}
	if slices.ContainsFunc(c.Pods, sharesProcesses) {
		needed = append(needed, initProgram)
	}
	return needed
}

func findBundle(c Config) Finding {
	var missing, idle []string
	for _, name := range neededOf(c) {
		switch err := unix.Access(filepath.Join(c.Bundle, name), unix.X_OK); {
		case errors.Is(err, unix.EACCES):
			idle = append(idle, name)
		case err != nil:
			missing = append(missing, name)
		}
	}
	f := Finding{Name: "bundle", Detail: "complete in " + c.Bundle}
	switch {
	case len(missing) > 0:
		f.Level, f.Fix = Broken, "make build"
		f.Detail = fmt.Sprintf("%s: no %s; they are built beside podsim (--bundle names another directory)", c.Bundle, strings.Join(missing, ", "))
	case len(idle) > 0 && noexec(c.Bundle):
		f.Level, f.Fix = Broken, fmt.Sprintf("cp -a %s /usr/local/lib/podsim, and run podsim from there; or mount -o remount,exec the file system", c.Bundle)
		f.Detail = fmt.Sprintf("%s is on a file system that is mounted noexec: no program of the bundle runs there", c.Bundle)
	case len(idle) > 0:
		f.Level, f.Fix = Broken, fmt.Sprintf("cd %s && chmod a+rx %s", c.Bundle, strings.Join(idle, " "))
		f.Detail = fmt.Sprintf("%s: %s cannot be executed", c.Bundle, strings.Join(idle, ", "))
	}
	return f
}

// programTimeout bounds how long a program may take to say its version.
const programTimeout = 10 * time.Second

// findPrograms has every program say its version: one of another machine's kind, or half copied, is there and does not run.
func findPrograms(c Config) Finding {
	f := Finding{Name: "programs", Detail: "those of the bundle run here"}
	var dead []string
	for _, name := range neededOf(c) {
		if err := runs(filepath.Join(c.Bundle, name)); err != nil {
			dead = append(dead, fmt.Sprintf("%s: %v", name, err))
		}
	}
	if len(dead) > 0 {
		f.Level, f.Fix = Broken, "make bundle"
		f.Detail = fmt.Sprintf("%s: %s", c.Bundle, strings.Join(dead, "; "))
	}
	return f
}

// runs has a program of the bundle say its version.
func runs(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	var cmd *exec.Cmd
	switch filepath.Base(path) {
	case "containerd", "runc":
		cmd = exec.CommandContext(ctx, path, "--version")
	case "containerd-shim-runc-v2":
		cmd = exec.CommandContext(ctx, path, "-v")
	case initProgram:
		return nil // it takes no arguments, and waits for ever
	default: // a CNI plugin
		cmd = exec.CommandContext(ctx, path)
		cmd.Env = []string{"CNI_COMMAND=VERSION"}
		cmd.Stdin = strings.NewReader(`{"cniVersion": "1.0.0"}`)
	}
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w: %s", err, first)
	}
	return err
}

// findInit looks for what pods need that share their processes; the others do without.
func findInit(bundle string) Finding {
	f := Finding{Name: initProgram, Detail: "there"}
	if unix.Access(filepath.Join(bundle, initProgram), unix.X_OK) != nil {
		f.Level, f.Fix = Weaker, "make build"
		f.Detail = fmt.Sprintf("%s: no %s: pods with shareProcessNamespace do not run", bundle, initProgram)
	}
	return f
}

// findContainerd asks a containerd of the user's own for its version.
func findContainerd(c Config) Finding {
	f := Finding{Name: "containerd"}
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	version, err := askContainerd(ctx, c)
	if err != nil {
		f.Level, f.Detail = Broken, err.Error()
		f.Fix = "systemctl start containerd, or leave --containerd away: podsim then starts one of its own"
		return f
	}
	f.Detail = fmt.Sprintf("%s answers at %s", version, c.Containerd)
	return f
}

func askContainerd(ctx context.Context, c Config) (version string, err error) {
	client, err := ctrd.Open(ctx, c.runtime())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return client.Version(ctx)
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
		f.Level, f.Detail = Weaker, "cannot be read: "+err.Error()
		return f
	}
	var missing, names []string
	for _, c := range neededCapabilities {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, fmt.Sprintf("no %s: %s", c.name, c.means))
			names = append(names, c.name)
			f.Level = max(f.Level, c.level)
		}
	}
	if len(missing) > 0 {
		f.Detail = strings.Join(missing, "; ")
	}
	switch {
	case f.Level == Broken && os.Geteuid() != 0:
		f.Fix = "sudo podsim ..."
	case f.Level == Broken:
		f.Fix = "docker run --privileged ... (podman the same); in a systemd unit, no CapabilityBoundingSet"
	case f.Level == Weaker:
		f.Fix = fmt.Sprintf("docker run --cap-add %s ... (podman the same); in a systemd unit, CapabilityBoundingSet=~ without %[1]s",
			strings.Join(names, " --cap-add "))
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
