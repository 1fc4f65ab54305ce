package host

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/netns/world"
	"github.com/podsim/podsim/podsim/manifest"
)

// A Config says what to run, and on what. Only Pods is needed.
type Config struct {
	Site Site
	// Bundle is the directory of containerd, its shim, runc and the CNI plugins. Empty: that of this executable.
	Bundle string
	// Containerd is the address of a containerd to use instead of a private one.
	Containerd string
	// CNIConf is a file with a CNI configuration list to use instead of podsim's own bridge.
	CNIConf string
	// HostsDir is containerd's hosts folder for registries. Empty: /etc/containerd/certs.d.
	HostsDir string
	// NoNetwork gives pods loopback and nothing else.
	NoNetwork bool

	Pods      []*corev1.Pod
	Resources manifest.Resources
	// World is what lies outside the pods. Nil: whatever the machine reaches.
	World *World
	// Intercept says how the pods' traffic is intercepted, and has it accounted for. Nil: neither.
	Intercept *Intercept

	// Log is told of each line that a container prints, one call at a time. It must not block for long. May be nil.
	Log func(LogLine)

	// Version and Command are for the run's record.
	Version string
	Command []string
}

// A World is what lies outside the pods.
type World struct {
	// Stubs are the servers in it. Each is given an address beside those it names itself.
	Stubs []world.Stub
	// Offline keeps the pods from everything but the stubs.
	Offline bool
}

// An Intercept says who takes the pods' traffic.
type Intercept struct {
	// Proxy is the container that does.
	Proxy string
	// Rules are installed by podsim, as a mesh's CNI plugin would. Nil: the pod's own init container installs them.
	Rules *intercept.Config
	// OutboundPort and InboundPort are the proxy's listeners where Rules is nil.
	OutboundPort, InboundPort uint16
}

// A LogLine is one line that a container printed.
type LogLine struct {
	Pod, Container string
	Instance       int
	Time           time.Time
	Stderr         bool
	Text           string
}

// NodeName is what spec.nodeName shows where a manifest names no node.
const NodeName = "podsim"

// An InputError says that something the user gave, and not the machine, keeps a run from beginning.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with it.
func (e *InputError) Unwrap() error { return e.Err }
