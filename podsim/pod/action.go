package pod

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// An Op is a kind of effect.
type Op uint8

// The operations. The planner asks for the first group; a scenario or a user, through a Director, for the
// second and third. The driver performs the third itself; a Host performs all others.
const (
	_ Op = iota

	// OpSetUp makes the pod's volumes, then its namespaces and its network (ST-01..03). Answered with Network.
	OpSetUp
	// OpPrepare creates a container ahead of its turn, where the rules cannot tell. It is a hint: its failure
	// changes nothing, and OpPull and OpCreate still come at the container's turn and are then quick.
	OpPrepare
	// OpPull makes a container's image present by its pull policy. Answered with Image, or a Failure whose
	// reason is one of PH-14's image reasons.
	OpPull
	// OpCreate creates a container (a CRI CreateContainer). A Failure's reason is CreateContainerConfigError
	// or CreateContainerError.
	OpCreate
	// OpStart starts a created container. A Failure's reason is RunContainerError (StartError in the last state).
	OpStart
	// OpAwait ends when the container's main process has ended. Answered with Exit.
	OpAwait
	// OpProbe makes one attempt of one probe. Answered with Probe.
	OpProbe
	// OpHook runs one lifecycle hook. A Failure says that it failed.
	OpHook
	// OpSignal delivers a signal to the container's main process. To signal a process that is gone is no failure.
	OpSignal
	// OpRemove deletes an instance of a container and its writable layer; its logs stay.
	OpRemove
	// OpTearDown takes the pod's network, namespaces and volumes away, after its last container has stopped (TM-24).
	OpTearDown

	// OpRequest sends real traffic from a container's place in the network. Answered with Response.
	OpRequest
	// OpExec runs a command in a container. Answered with Output.
	OpExec
	// OpRun runs a shell line on the host. Answered with Output.
	OpRun
	// OpRead reads a container's log or a file in it. Answered with Content.
	OpRead
	// OpFlows reads the flow ledger. Answered with Ledger.
	OpFlows
	// OpRefresh takes ConfigMaps and Secrets as they are from now on, and brings the pod's volumes up to date that show
	// them or the pod's own metadata (VO-08).
	OpRefresh

	// OpUp accepts the pod: from now on the planner works on it. Performed by the driver.
	OpUp
	// OpUpdate changes the pod: from its end on, Spec is what is planned by. Performed by the driver.
	OpUpdate
	// OpDelete asks for the pod's termination, as an API delete does (TM-09). Performed by the driver.
	OpDelete
	// OpMark marks a point of a scenario on the timeline and does nothing. Performed by the driver.
	OpMark
)

var opNames = [...]string{
	OpSetUp: "setUp", OpPrepare: "prepare", OpPull: "pull", OpCreate: "create", OpStart: "start", OpAwait: "await",
	OpProbe: "probe", OpHook: "hook", OpSignal: "signal", OpRemove: "remove", OpTearDown: "tearDown",
	OpRequest: "request", OpExec: "exec", OpRun: "run", OpRead: "read", OpFlows: "flows", OpRefresh: "refresh",
	OpUp: "up", OpUpdate: "update", OpDelete: "delete", OpMark: "mark",
}

// Ops lists every operation in order.
func Ops() []Op { return enumerate[Op](len(opNames)) }

// ByDriver reports whether the driver performs o itself, without a Host.
func (o Op) ByDriver() bool { return o >= OpUp && o <= OpMark }

func (o Op) String() string                { return enumString("Op", opNames[:], int(o)) }
func (o Op) MarshalText() ([]byte, error)  { return enumText("Op", opNames[:], int(o)) }
func (o *Op) UnmarshalText(b []byte) error { return enumParse("op", opNames[:], b, o) }

// A ProbeKind names one of a container's three probes.
type ProbeKind uint8

// The probes.
const (
	_ ProbeKind = iota
	ProbeStartup
	ProbeLiveness
	ProbeReadiness
)

var probeNames = [...]string{ProbeStartup: "startup", ProbeLiveness: "liveness", ProbeReadiness: "readiness"}

// ProbeKinds lists the probes in order.
func ProbeKinds() []ProbeKind { return enumerate[ProbeKind](len(probeNames)) }

func (k ProbeKind) String() string                { return enumString("ProbeKind", probeNames[:], int(k)) }
func (k ProbeKind) MarshalText() ([]byte, error)  { return enumText("ProbeKind", probeNames[:], int(k)) }
func (k *ProbeKind) UnmarshalText(b []byte) error { return enumParse("probe", probeNames[:], b, k) }

// A HookKind names one of a container's two lifecycle hooks.
type HookKind uint8

// The hooks.
const (
	_ HookKind = iota
	HookPostStart
	HookPreStop
)

var hookNames = [...]string{HookPostStart: "postStart", HookPreStop: "preStop"}

// HookKinds lists the hooks in order.
func HookKinds() []HookKind { return enumerate[HookKind](len(hookNames)) }

func (k HookKind) String() string                { return enumString("HookKind", hookNames[:], int(k)) }
func (k HookKind) MarshalText() ([]byte, error)  { return enumText("HookKind", hookNames[:], int(k)) }
func (k *HookKind) UnmarshalText(b []byte) error { return enumParse("hook", hookNames[:], b, k) }

// A Role is what a container is to its pod.
type Role uint8

// The roles.
const (
	_             Role = iota
	RoleInit           // a regular init container: runs to its end, before what follows it (IN-01)
	RoleSidecar        // an init container with restartPolicy Always (SC-01)
	RoleMain           // one of spec.containers
	RoleEphemeral      // one of spec.ephemeralContainers: started once, whenever it was added (EC-01)
)

var roleNames = [...]string{RoleInit: "init", RoleSidecar: "sidecar", RoleMain: "main", RoleEphemeral: "ephemeral"}

// Roles lists the roles in order.
func Roles() []Role { return enumerate[Role](len(roleNames)) }

func (r Role) String() string                { return enumString("Role", roleNames[:], int(r)) }
func (r Role) MarshalText() ([]byte, error)  { return enumText("Role", roleNames[:], int(r)) }
func (r *Role) UnmarshalText(b []byte) error { return enumParse("role", roleNames[:], b, r) }

// A StopReason is why the planner stops a container. It decides the grace (TM-08) and the order (TM-26).
type StopReason uint8

// The reasons. The first three end the pod and are ordered (TM-03); the others end one container, within a sync.
const (
	_              StopReason = iota
	StopDelete                // the pod was deleted (TM-01)
	StopEnd                   // no main container is left that runs or will run, or initialisation has failed (TM-18, IN-02)
	StopDeadline              // the pod's activeDeadlineSeconds have passed (TM-29)
	StopStartup               // its startup probe failed (PB-13)
	StopLiveness              // its liveness probe failed (PB-14)
	StopPostStart             // its postStart hook failed (LH-02)
	StopChange                // its image was changed in the pod (SC-16)
	StopRestartAll            // all containers are restarted: it is given no grace, and taken away (RA-01)
)

var stopNames = [...]string{StopDelete: "delete", StopEnd: "end", StopDeadline: "deadline", StopStartup: "startup",
	StopLiveness: "liveness", StopPostStart: "postStart", StopChange: "change", StopRestartAll: "restartAll"}

// StopReasons lists the reasons in order.
func StopReasons() []StopReason { return enumerate[StopReason](len(stopNames)) }

// Pod reports whether r stops the whole pod.
func (r StopReason) Pod() bool { return r == StopDelete || r == StopEnd || r == StopDeadline }

func (r StopReason) String() string { return enumString("StopReason", stopNames[:], int(r)) }
func (r StopReason) MarshalText() ([]byte, error) {
	return enumText("StopReason", stopNames[:], int(r))
}
func (r *StopReason) UnmarshalText(b []byte) error {
	return enumParse("stop reason", stopNames[:], b, r)
}

// An Action is one effect, as data: loggable, comparable by its fields, replayable.
//
// Which fields an Op uses is said beside each; the others are zero.
type Action struct {
	// ID is given by the driver when the action begins, unique in a run and rising from 1. It is 0 in a Plan.
	ID int `json:"id,omitempty"`
	Op Op  `json:"op,omitzero"`
	// Pod is the pod's key in the run: its metadata.name. Empty for what concerns no pod.
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Instance counts the container's instances from 0; it equals the instance's restartCount (PH-15).
	Instance int       `json:"instance,omitempty"`
	Probe    ProbeKind `json:"probe,omitzero"`
	Hook     HookKind  `json:"hook,omitzero"`
	// Signal is a signal's name without SIG: TERM, KILL, HUP, ... For OpSignal.
	Signal string `json:"signal,omitempty"`
	// Timeout bounds the effect; the answer then is a failure or an unknown result. Zero: unbounded.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Sync counts the pod's syncs from 1: the actions of one sync, which are done one at a time, share it (ST-04). It
	// is 0 for what runs beside the syncs: set-up, Await, Probe and the end of the pod.
	Sync int `json:"sync,omitempty"`
	// ThenStop and Then name the containers that the same sync still has to stop, and then to start, after this one
	// (ST-02, ST-05). They are fixed when a sync begins: what happens meanwhile is for the next one.
	ThenStop []string `json:"thenStop,omitempty"`
	Then     []string `json:"then,omitempty"`
	// Stop says what an OpSignal, a preStop OpHook or an OpTearDown is part of, and an OpRemove that is part of a restart
	// of all containers; zero where a director asked.
	Stop StopReason `json:"stop,omitzero"`
	// Members is an OpSetUp's: how many containers of each role the conditions of the pod wait for.
	Members *Members `json:"members,omitempty"`
	// Image is the image of a container's instance as the pod names it: of an OpPrepare, OpPull, OpCreate or OpStart. A
	// host takes it from here, and not from the pod, which may have been changed since the turn began.
	Image string `json:"image,omitempty"`
	// Waited is of an OpRemove that is part of a restart of all containers: its container was waiting to be started, and
	// so keeps its own last end (RA-06).
	Waited bool `json:"waited,omitempty"`
	// Role is an OpPull's and an OpStart's, Probes an OpStart's: what Started and Ready mean for this container. An
	// OpStart's Hook is HookPostStart where one follows.
	Role   Role        `json:"role,omitzero"`
	Probes []ProbeKind `json:"probes,omitempty"`
	// Successes and Failures are an OpProbe's: how many answers in a row settle it (PB-17).
	Successes int `json:"successes,omitempty"`
	Failures  int `json:"failures,omitempty"`
	// Why says in words why the action is due.
	Why string `json:"why,omitempty"`

	// Kubelet is an OpUp's: how the kubelet behaves; nil: as its zero value does.
	Kubelet *Kubelet `json:"kubelet,omitempty"`
	// Spec is an OpUpdate's: the whole pod as it is from now on. Nobody changes it afterwards.
	Spec *corev1.Pod `json:"spec,omitempty"`
	// Grace is the asked gracePeriodSeconds of an OpDelete; nil: the pod's own.
	Grace *int64 `json:"grace,omitempty"`
	// Step is the step, counted from 1, of the scenario that asked for the action.
	Step int `json:"step,omitempty"`

	Request *Request `json:"request,omitempty"`
	Command []string `json:"command,omitempty"` // OpExec: an argument vector. OpRun: one shell line.
	Read    *Read    `json:"read,omitempty"`
	Refresh *Refresh `json:"refresh,omitempty"`
}

// Members counts a pod's containers by role.
type Members struct {
	Inits    int `json:"inits,omitempty"`
	Sidecars int `json:"sidecars,omitempty"`
	Mains    int `json:"mains,omitempty"`
}

// Ref returns the action without its reasons and its input: what an answer needs to name it.
func (a Action) Ref() Action {
	return Action{ID: a.ID, Op: a.Op, Pod: a.Pod, Container: a.Container, Instance: a.Instance,
		Probe: a.Probe, Hook: a.Hook, Signal: a.Signal, Step: a.Step}
}

// String is one line for people: "start app", "probe proxy startup", "signal app TERM".
func (a Action) String() string {
	s := a.Op.String()
	if a.Container != "" {
		s += " " + a.Container
	}
	switch a.Op {
	case OpProbe:
		s += " " + a.Probe.String()
	case OpHook:
		s += " " + a.Hook.String()
	case OpSignal:
		s += " " + a.Signal
	}
	if a.Instance > 0 {
		s += fmt.Sprintf(" #%d", a.Instance)
	}
	return s
}

// A Request is traffic to send.
type Request struct {
	// Protocol is http or tcp.
	Protocol string `json:"protocol"`
	// URL is the target of an http request.
	URL    string              `json:"url,omitempty"`
	Method string              `json:"method,omitempty"` // http: GET if empty
	Header map[string][]string `json:"header,omitempty"`
	Body   string              `json:"body,omitempty"`
	// Address is host:port of a tcp request, Send what is written, Expect how many bytes are read back at most
	// (0: none, the connection is closed after Send).
	Address string `json:"address,omitempty"`
	Send    string `json:"send,omitempty"`
	Expect  int    `json:"expect,omitempty"`
	// UID and GID override the container's own identity.
	UID *int64 `json:"uid,omitempty"`
	GID *int64 `json:"gid,omitempty"`
}

// A Refresh is ConfigMaps and Secrets as they are from now on. Those that it does not hold stay as they were.
type Refresh struct {
	ConfigMaps []*corev1.ConfigMap `json:"configMaps,omitempty"`
	// Secrets are kept out of timelines.
	Secrets []*corev1.Secret `json:"-"`
}

// A Read names what to read: a log of a container's instance, or a file in it.
type Read struct {
	// File is a path in the container; empty: the container's log.
	File string `json:"file,omitempty"`
	// Previous asks for the log of the instance before the current one.
	Previous bool `json:"previous,omitempty"`
	// Tail bounds the number of lines from the end; 0: all of it.
	Tail int `json:"tail,omitempty"`
}
