package host

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/podsim/podsim/netns"
)

// DefaultStateDir and DefaultRunDir are where podsim keeps what outlives a boot, and what does not.
const (
	DefaultStateDir = "/var/lib/podsim"
	DefaultRunDir   = "/run/podsim"
)

// A Site is one podsim installation's directories. Processes that name the same Site share its containerd, its
// bridge and its images; two Sites on one machine have nothing in common.
type Site struct {
	StateDir string // DefaultStateDir if empty
	RunDir   string // DefaultRunDir if empty
}

func (s Site) withDefaults() Site {
	if s.StateDir == "" {
		s.StateDir = DefaultStateDir
	}
	if s.RunDir == "" {
		s.RunDir = DefaultRunDir
	}
	return s
}

// Resolved fills in the defaults.
func (s Site) Resolved() Site { return s.withDefaults() }

// FirstPodID is the ID of a run's first pod: of an applied pod's run, its only one.
func FirstPodID(run string) string { return podID(run, 0) }

// maxPods is how many pods one run may have: a pod's ID is its run's ID and one letter, and w is the world's.
const maxPods = 'w' - 'a'

// podID names pod i of a run. It is a containerd identifier, a CNI container ID, a cgroup's name and a path
// component at once, and short enough that a container's name and instance fit behind it in 76 characters.
func podID(run string, i int) string { return run + string(rune('a'+i)) }

// worldID is the CNI container ID of a run's world.
func worldID(run string) string { return run + "w" }

// ofRun reports whether a name that one of the functions here made belongs to the run.
func ofRun(run, name string) bool {
	rest, ok := strings.CutPrefix(name, run)
	return ok && (rest == "" || len(rest) == 1 && rest[0] >= 'a' && rest[0] <= 'w')
}

// runOf is the run's ID in a pod's or the world's ID.
func runOf(podID string) string { return podID[:len(podID)-1] }

// containerID names one instance of a container.
func containerID(pod, container string, instance int) string {
	return fmt.Sprintf("%s-%s.%d", pod, container, instance)
}

// cgroupRoot is the parent of all cgroups of the site, in every hierarchy: /podsim for the default one.
func (s Site) cgroupRoot() string {
	return "/" + strings.TrimSuffix(netns.Network{StateDir: s.StateDir}.BridgeName(), "0")
}

// cgroup is a container's cgroup path, the same in every hierarchy. Instances of one container share it: one ends
// before the next begins.
func (s Site) cgroup(pod, container string) string {
	return filepath.Join(s.podCgroup(pod), container)
}

func (s Site) podCgroup(pod string) string { return filepath.Join(s.cgroupRoot(), pod) }

// Socket is where the supervisor of a run listens, of an applied pod.
func (s Site) Socket(id string) string { return filepath.Join(s.withDefaults().RunDir, "ctl", id) }

// PodDir is the directory of a pod's namespace pins.
func (s Site) PodDir(id string) string { return s.withDefaults().pod(id) }

// run is the directory of all that a run has on the volatile side.
func (s Site) run(id string) string { return filepath.Join(s.RunDir, "runs", id) }

// pod is a pod's directory in its run's.
func (s Site) pod(id string) string { return filepath.Join(s.run(runOf(id)), id) }

func (s Site) volumes(pod string) string { return filepath.Join(s.pod(pod), "vol") }

// files is where a pod's /etc/hosts, resolv.conf, hostname and termination logs are.
func (s Site) files(pod string) string { return filepath.Join(s.pod(pod), "files") }
