package pod

import (
	"slices"
	"time"
)

// Status is all that has been observed of one pod. Its zero value is a pod that nobody has asked for yet.
//
// It is a value: Apply returns a new one and leaves the old one as it was, sharing what did not change. Statuses
// may be kept, compared with reflect.DeepEqual and read from several goroutines.
type Status struct {
	pod      string   // the pod's key, from its OpUp
	kubelet  *options // from its OpUp; nil: the default ones
	up       time.Time
	deletes  []deletion
	setUp    setUp
	sync     pass
	end      end
	reset    *reset    // nil while there was none
	progress *progress // nil before the first set-up
	// containers holds every container of which anything was seen, in the order of the first sight.
	containers []*ContainerStatus
	// flight holds the actions that have begun and not ended, in the order in which they began.
	flight []*Action
}

// progress is what the conditions of the pod as a whole have come to. It is never changed, but replaced.
type progress struct {
	members Members // from the newest OpSetUp
	// initialized is when initialisation first was complete; zero before (PH-08).
	initialized time.Time
	// ready says whether all sidecars and mains are, and since when it has been as it is; the zero time: since the
	// beginning.
	ready bool
	since time.Time
}

// progressed is the pod's progress; the zero one before its first set-up.
func (s *Status) progressed() progress {
	if s.progress == nil {
		return progress{}
	}
	return *s.progress
}

// A deletion is one accepted request to delete the pod.
type deletion struct {
	at    time.Time
	grace *int64 // nil: the pod's own
}

// setUp is what became of the pod's network and volumes.
type setUp struct {
	begun   bool
	at      time.Time // when the newest attempt began
	done    time.Time // when it succeeded
	network Network
	failure *Failure // of the last attempt, nil if it has not failed
	failed  time.Time
}

// end is how far the pod's own end has come, when it is not, or not first, by a delete.
type end struct {
	reason StopReason // StopEnd or StopDeadline; 0 while the pod has not ended by itself
	at     time.Time
	down   time.Time // when OpTearDown ended
}

// A State is where an instance of a container stands. The zero State: there is no instance yet.
type State uint8

// The states.
const (
	_ State = iota
	StateCreated
	StateRunning
	StateExited
)

var stateNames = [...]string{StateCreated: "created", StateRunning: "running", StateExited: "exited"}

// States lists the states in order.
func States() []State { return enumerate[State](len(stateNames)) }

func (s State) String() string                { return enumString("State", stateNames[:], int(s)) }
func (s State) MarshalText() ([]byte, error)  { return enumText("State", stateNames[:], int(s)) }
func (s *State) UnmarshalText(b []byte) error { return enumParse("state", stateNames[:], b, s) }

// ContainerStatus is what has been observed of one container: of its newest instance, and how the one before ended.
type ContainerStatus struct {
	Name string
	// Role is known from the first attempt to start it on.
	Role  Role
	State State
	// Instance is the newest instance's number, which is also the container's restartCount (PH-15).
	Instance    int
	ContainerID string
	PID         int // of the running instance, as the host sees it
	// Image and ImageName are those of the newest instance that was started, the name as the pod had it then. They
	// stay as they were while an instance of another image is being made.
	Image     Image
	ImageName string

	// StartedAt is when the newest instance was started; zero if it never was.
	StartedAt time.Time
	// Exit is how the newest instance ended, nil unless State is StateExited. Last is how the one before it ended.
	Exit *Termination
	Last *Termination

	// Started is Kubernetes' flag of that name: the instance runs, the sync that started it is over, so that its
	// postStart hook has returned, and its startup probe, if it has one, has succeeded (SC-03, PB-12, PB-26).
	Started bool
	// Ready is Kubernetes' flag of that name: Started, and the readiness probe, if there is one, has succeeded
	// (PB-15, PB-26). A regular init container is ready once it has exited 0 (IN-09).
	Ready bool
	// StartedSince and ReadySince are when those flags last changed; zero if they never did.
	StartedSince time.Time
	ReadySince   time.Time

	// Failure is why the last attempt to start the container failed, nil if it did not (PH-14); FailedOp is the
	// operation that did, and FailedAt when.
	Failure  *Failure
	FailedOp Op
	FailedAt time.Time

	retryAt time.Time // a failed attempt is not repeated before; zero: only the back-off of crashes counts
	crash   backOff
	pull    backOff
	held    time.Duration // the crash back-off that the newest end is held back by, or was until its turn came; 0: none

	key    string // the image that the back-offs are counted for (BO-05)
	turn   string // the image of the newest attempt to start it
	pulled Image  // what it was found to be
	made   string // the image that the newest instance was made of

	prepared bool // OpPrepare was asked for
	tried    bool // its first turn in a sync has begun
	removed  bool // the instance, which has ended, was removed
	reset    bool // there was an instance, and a restart of all containers took it away (RA-01)
	counted  bool // and the restart counts already
	awaited  bool // OpAwait was asked for
	synced   int  // the number of the sync that started the instance
	settled  time.Time
	probed   [len(probeNames)]ProbeStatus
	has      [len(probeNames)]bool // which probes the running instance has
	stop     stop
}

// A Termination is how one instance of a container ended.
type Termination struct {
	Exit
	// Reason is Completed, Error, OOMKilled, StartError or ContainerStatusUnknown (PH-14).
	Reason      string
	ContainerID string
	StartedAt   time.Time // zero if it was never started
	FinishedAt  time.Time
}

// ProbeStatus is what one probe of the newest instance has found.
type ProbeStatus struct {
	// Result is the settled one: the last that came often enough in a row; zero before (PB-16, PB-17).
	Result Result
	// Last is the newest answer, Run how often it has come in a row, Output what it said, At when it came.
	Last   Result
	Run    int
	Output string
	At     time.Time

	begun  time.Time // when the newest attempt began
	onHold bool      // no more attempts until there is a new instance (PB-12, PB-14)
}

// stop is how far the stopping of an instance has come.
type stop struct {
	reason StopReason
	at     time.Time // when it began; for StopDelete and StopEnd, the pod's own time counts

	hook      time.Time // when the preStop hook began
	hookEnd   time.Time
	hookError bool
	term      time.Time // when TERM was sent
	kill      time.Time // when KILL was sent
}

// Running reports whether the newest instance has been started and has not ended.
func (c ContainerStatus) Running() bool { return c.State == StateRunning }

// Exited reports whether the newest instance has ended.
func (c ContainerStatus) Exited() bool { return c.State == StateExited }

// RestartCount is Kubernetes' count of that name: how many instances came before the newest or, where that was taken
// away, before the next.
func (c ContainerStatus) RestartCount() int {
	if c.counted && c.State == 0 {
		return c.Instance + 1
	}
	return c.Instance
}

// Probe returns what one probe of the newest instance has found.
func (c ContainerStatus) Probe(k ProbeKind) ProbeStatus {
	if int(k) >= len(c.probed) {
		return ProbeStatus{}
	}
	return c.probed[k]
}

// Stopping returns why the newest instance is being stopped, or was; ok is false if nobody stops it.
func (c ContainerStatus) Stopping() (why StopReason, ok bool) {
	return c.stop.reason, c.stop.reason != 0
}

// exitedZero reports whether the newest instance has ended well.
func (c *ContainerStatus) exitedZero() bool { return c.State == StateExited && c.Exit.Code == 0 }

// nextInstance is the number of the instance that the next turn creates.
func (c *ContainerStatus) nextInstance() int {
	if c.State == 0 && !c.reset {
		return 0
	}
	return c.Instance + 1
}

// lastEnd is how the newest instance that has ended did, nil if none has.
func (c *ContainerStatus) lastEnd() *Termination {
	if c.Exit != nil {
		return c.Exit
	}
	return c.Last
}

// Kubelet returns how the kubelet behaves, as the pod's OpUp said.
func (s Status) Kubelet() Kubelet { return s.options().Kubelet }

func (s *Status) options() *options {
	if s.kubelet == nil {
		return defaultOptions
	}
	return s.kubelet
}

// on reports whether a gate is on.
func (s *Status) on(g Gate) bool { return s.options().gates.has(g) }

// Up reports whether the pod has been asked for.
func (s Status) Up() bool { return !s.up.IsZero() }

// Deleting reports whether the pod's deletion has been asked for.
func (s Status) Deleting() bool { return len(s.deletes) > 0 }

// Ending reports whether the pod is on its way out, by a delete or by itself; no container is started any more.
func (s Status) Ending() bool { return s.Deleting() || s.end.reason != 0 }

// Gone reports whether nothing is left of the pod: its containers have stopped and it has been torn down, or it
// was deleted before anything was made. Such a pod has no second life: an OpUp cannot follow.
func (s Status) Gone() bool {
	return !s.end.down.IsZero() || s.Deleting() && !s.setUp.begun && len(s.flight) == 0
}

// Network returns what the pod's set-up came to; ok is false before that. It outlives the pod (PH-16).
func (s Status) Network() (n Network, ok bool) {
	n = s.setUp.network
	n.PodIPs = slices.Clone(n.PodIPs)
	return n, !s.setUp.done.IsZero()
}

// Container returns what has been observed of a container; ok is false if nothing has.
func (s Status) Container(name string) (c ContainerStatus, ok bool) {
	if p := s.find(name); p != nil {
		return *p, true
	}
	return ContainerStatus{Name: name}, false
}

// InFlight returns the actions that have begun and not ended, in the order in which they began.
func (s Status) InFlight() []Action {
	out := make([]Action, len(s.flight))
	for i, a := range s.flight {
		out[i] = *a
	}
	return out
}

func (s *Status) find(name string) *ContainerStatus {
	for _, c := range s.containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// nothing is the status of a container of which nothing was seen.
var nothing ContainerStatus

// seen is find for reading: never nil.
func (s *Status) seen(name string) *ContainerStatus {
	if c := s.find(name); c != nil {
		return c
	}
	return &nothing
}

// flying returns the action in flight that satisfies is, or nil.
func (s *Status) flying(is func(*Action) bool) *Action {
	for _, a := range s.flight {
		if is(a) {
			return a
		}
	}
	return nil
}

// working returns the action in flight that keeps the pod's worker busy, or nil (ST-04).
func (s *Status) working() *Action {
	return s.flying(func(a *Action) bool { return a.Sync > 0 && a.Op.works() || a.isPostStart() })
}

// works reports whether an operation is a step of a container's start.
func (o Op) works() bool { return o == OpPull || o == OpRemove || o == OpCreate || o == OpStart }

// makes reports whether an action makes or unmakes something of the pod, so that the pod cannot be torn down meanwhile.
func (a *Action) makes() bool {
	switch a.Op {
	case OpSetUp, OpPrepare, OpCreate, OpStart, OpRemove:
		return true
	}
	return false
}

func (a *Action) isPostStart() bool { return a.Op == OpHook && a.Hook == HookPostStart }

// preStopping reports whether a container's preStop hook is in flight.
func (s *Status) preStopping(c *ContainerStatus) bool {
	return !c.stop.hook.IsZero() && c.stop.hookEnd.IsZero()
}
