package scenarios

import (
	"net/netip"
	"time"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

// A Scenario is one loaded document of kind Scenario: inert, and read-only from then on.
type Scenario struct {
	Name string
	// Pos is where the document begins.
	Pos Pos

	// Pods are the pods that the scenario runs, with defaults filled in. There is one in this version.
	Pods []*corev1.Pod
	// Resources are what the pods' volumes and environments refer to: those of the pod's file and of spec.resources.
	Resources manifest.Resources
	// Images says where the containers' images come from, by container; others are pulled by their own name.
	Images map[string]Image
	// Stubs are in the order of the file.
	Stubs []Stub
	// Offline keeps the pod from everything but its stubs. It is the default.
	Offline   bool
	Intercept *Intercept // nil: nothing is intercepted
	Options   Options

	Steps   []Step
	Finally []Step

	// Warnings are findings that do not keep the scenario from running.
	Warnings diag.List
}

// A Pos is a place in a file. Line and Col count from 1.
type Pos struct {
	File      string
	Line, Col int
	// Snippet is the source line with a caret under it and some lines above, ready to print.
	Snippet string
}

// An Image says where a container's image comes from. Exactly one field is set, or Binary with Reference. Paths are as found from the
// working directory: a relative one in the file is relative to the file's directory.
type Image struct {
	Reference string // an image by its name, instead of the manifest's
	Binary    string // a static executable, to make a one-layer image of, by the name of Reference or of its contents
	Archive   string // a docker or OCI archive
}

// A Stub is someone outside the pod to talk to. It records every connection. HTTP or TCP is set.
type Stub struct {
	Name string
	// Hosts are the names it is found under, besides its own.
	Hosts []string
	// Addresses are addresses it answers on, besides the one that podsim gives it.
	Addresses []netip.Addr
	// Delay is waited before each answer.
	Delay time.Duration
	HTTP  *HTTPStub
	TCP   *TCPStub
}

// An HTTPStub answers HTTP/1.1 on a port.
type HTTPStub struct {
	Port   int // 80 if the file does not say
	Routes []Route
}

// A Route is an answer for the requests whose path begins with Path; the longest path wins. What no route answers gets 404.
type Route struct {
	Path   string
	Status int
	Body   string
	Header map[string]string
	Delay  time.Duration
}

// A TCPMode is how a TCP stub behaves.
type TCPMode string

// The modes of a TCP stub.
const (
	TCPEcho   TCPMode = "echo"   // sends back what it receives
	TCPBanner TCPMode = "banner" // speaks first
	TCPSilent TCPMode = "silent" // accepts, reads and says nothing
	TCPHang   TCPMode = "hang"   // accepts and does not even read
	TCPReset  TCPMode = "reset"  // accepts and resets
)

// TCPModes lists the modes.
func TCPModes() []TCPMode { return []TCPMode{TCPEcho, TCPBanner, TCPSilent, TCPHang, TCPReset} }

// A TCPStub answers on a TCP port.
type TCPStub struct {
	Port   int
	Mode   TCPMode
	Banner string // what TCPBanner says
}

// Intercept says how the pod's traffic is intercepted, and by whom.
type Intercept struct {
	// Profile names the rules that podsim installs; empty: the pod's own init container installs them.
	Profile string
	// Proxy is the container that the traffic goes through.
	Proxy string
	// Outbound and Inbound are the proxy's listeners; 0: the profile's, Istio's without one.
	Outbound, Inbound int
	Exclude, Include  Selection
}

// A Selection is traffic that the rules leave out, or are restricted to.
type Selection struct {
	OutboundPorts []int
	InboundPorts  []int
	CIDRs         []netip.Prefix
	UIDs          []int64
}

// Options bend a whole run.
type Options struct {
	// Timeout bounds all steps together: the step that is under way then fails. 5 minutes if the file says nothing.
	Timeout time.Duration
	// Strict makes a pod field that podsim does not act on an error. It is the default.
	Strict bool
	// Kubelet is how the kubelet behaves; nil where the file says nothing of it. It is never changed.
	Kubelet *pod.Kubelet
}

// A Step is one entry of steps or finally.
type Step struct {
	Pos Pos
	// Name is the file's, or empty.
	Name string
	// Verb is the step's action: up, wait, request, ...
	Verb string
	// Title says in a few words what the step does: "request http://api/ from app".
	Title string

	// Timeout is how long the step may take: what the file says, or the verb's default.
	Timeout time.Duration
	// Eventually: failures are retried for so long, and a pass after them is a plain pass.
	Eventually time.Duration
	// Consistently: the step must hold for so long.
	Consistently time.Duration

	do verb
}

// String is the step's name, or else its title.
func (s Step) String() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Title
}

// limit is how long the step may go on without passing.
func (s Step) limit() time.Duration {
	switch {
	case s.Eventually > 0:
		return s.Eventually
	case s.Consistently > 0:
		return s.Consistently + s.Timeout
	}
	return s.Timeout
}

// allSteps are the steps and then those of finally; steps are numbered from 1 in it.
func (s *Scenario) allSteps() []Step {
	return append(append(make([]Step, 0, len(s.Steps)+len(s.Finally)), s.Steps...), s.Finally...)
}
