package pod

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Script says how a pod's containers would behave: what each effect comes to and how long it takes. Rehearse plays
// it in virtual time, podtest.Host behind the driver. Its zero value has every container behave well: images are
// present, init containers end with code 0 after a second, others run until they are stopped, which they do at once.
type Script struct {
	// Containers holds what is special about a container, by name.
	Containers map[string]Behaviour
	// SetUp is how long the pod's set-up takes; 0: NominalSetUp. SetUpFailures are what the first attempts come to.
	SetUp         time.Duration
	SetUpFailures []Failure
	// TearDown is how long taking the pod away takes.
	TearDown time.Duration
	// Kubelet is how the kubelet behaves in a rehearsal.
	Kubelet Kubelet
	// Network is what set-up comes to; the zero Network: one address of the documentation's range.
	Network Network
}

// Nominal times of what takes time on every machine, so that a rehearsal shows an order.
const (
	NominalSetUp  = 20 * time.Millisecond
	NominalCreate = 15 * time.Millisecond
	NominalStart  = 10 * time.Millisecond
	// NominalInit is how long a regular init container runs.
	NominalInit = time.Second
)

// A Behaviour is how one container behaves.
type Behaviour struct {
	// Pull, Create and Start are how long these take; 0: nothing for Pull, the nominal times for the others.
	Pull, Create, Start time.Duration
	// PullFailures and CreateFailures are what the first attempts come to; later ones succeed.
	PullFailures, CreateFailures []Failure
	// StopSignal is the image's.
	StopSignal string
	// Lives are the container's instances in order; the last one repeats. None: as the role has it.
	Lives []Life
}

// A Life is how one instance of a container behaves. Its zero value runs until it is sent TERM, passes all probes
// and hooks at once, and ends with code 0.
type Life struct {
	// StartFailure, if not nil, is what starting it comes to.
	StartFailure *Failure
	// Ends says that the process ends by itself, After its start, with Code.
	Ends  bool
	After time.Duration
	Code  int
	// IgnoresTerm: only KILL ends it. Otherwise it ends StopTime after TERM, with StopCode.
	IgnoresTerm bool
	StopTime    time.Duration
	StopCode    int
	// IgnoresKill: nothing ends it, as with a process that is stuck in the kernel.
	IgnoresKill bool
	// StartupAfter and ReadyAfter are how long after its start the probes of these kinds begin to succeed; AliveFor is
	// how long the liveness probe does, 0: for ever. ProbeTime is how long an attempt takes.
	StartupAfter, ReadyAfter, AliveFor time.Duration
	ProbeTime                          time.Duration
	PostStart, PreStop                 HookRun
}

// A HookRun is how a lifecycle hook runs. Its zero value succeeds at once, or, for a sleep, when that is over.
type HookRun struct {
	Takes time.Duration
	Hangs bool   // it never ends by itself
	Fails string // the message of its failure; empty: it succeeds
}

// Exit codes of processes that a signal ended.
const (
	killedCode = 137
	killSignal = 9
)

// Life returns how an instance of a container behaves.
func (sc Script) Life(p *corev1.Pod, container string, instance int) Life {
	lives := sc.Containers[container].Lives
	if len(lives) == 0 {
		if RoleOf(p, container) == RoleInit {
			return Life{Ends: true, After: NominalInit}
		}
		return Life{}
	}
	return lives[max(0, min(instance, len(lives)-1))]
}

// Answer returns what an action comes to, after how long, and whether it ever does. attempt counts, from 0, how
// often the same operation was asked for of the same container; age is how long its process has run. OpAwait has no
// answer here: it ends with the process.
func (sc Script) Answer(p *corev1.Pod, a Action, attempt int, age time.Duration) (e Event, takes time.Duration, ends bool) {
	b := sc.Containers[a.Container]
	life := sc.Life(p, a.Container, a.Instance)
	e = Event{Kind: Ended, Action: a.Ref()}
	switch a.Op {
	case OpSetUp:
		takes = nominal(sc.SetUp, NominalSetUp)
		if e.Failure = nth(sc.SetUpFailures, attempt); e.Failure == nil {
			e.Network = sc.network()
		}
	case OpTearDown:
		takes = sc.TearDown
	case OpPull:
		takes = b.Pull
		if e.Failure = nth(b.PullFailures, attempt); e.Failure == nil {
			e.Image = &Image{ID: "sha256:" + a.Container, Ref: a.Container + "@sha256:" + a.Container, Present: b.Pull == 0, StopSignal: b.StopSignal}
		}
	case OpCreate:
		takes = nominal(b.Create, NominalCreate)
		if e.Failure = nth(b.CreateFailures, attempt); e.Failure == nil {
			e.Instance = &Instance{ContainerID: instanceID(a)}
		}
	case OpStart:
		takes = nominal(b.Start, NominalStart)
		if e.Failure = life.StartFailure; e.Failure == nil {
			e.Instance = &Instance{ContainerID: instanceID(a), PID: 1000 + a.ID}
		}
	case OpProbe:
		e.Probe = &ProbeResult{Result: Success}
		if !life.passes(a.Probe, age) {
			e.Probe = &ProbeResult{Result: Failed, Output: "not yet"}
		}
		takes = life.ProbeTime
		if a.Timeout > 0 && takes > a.Timeout {
			takes, e.Probe = a.Timeout, &ProbeResult{Result: Failed, Output: "timed out"}
		}
	case OpHook:
		return life.hook(p, a, e)
	}
	return e, takes, a.Op != OpAwait
}

func (sc Script) network() *Network {
	if len(sc.Network.PodIPs) == 0 {
		return &Network{PodIPs: []string{"192.0.2.1"}, HostIP: "192.0.2.254"}
	}
	n := sc.Network
	return &n
}

// passes reports whether a probe succeeds at an age of the process.
func (l Life) passes(k ProbeKind, age time.Duration) bool {
	switch k {
	case ProbeStartup:
		return age >= l.StartupAfter
	case ProbeReadiness:
		return age >= l.ReadyAfter
	default:
		return l.AliveFor == 0 || age < l.AliveFor
	}
}

func (l Life) hook(p *corev1.Pod, a Action, e Event) (Event, time.Duration, bool) {
	run := l.PostStart
	if a.Hook == HookPreStop {
		run = l.PreStop
	}
	if s := sleepOf(p, a); run == (HookRun{}) && s > 0 {
		run.Takes = s
	}
	if run.Fails != "" {
		e.Failure = &Failure{Reason: "HookFailed", Message: run.Fails}
	}
	if a.Timeout > 0 && (run.Hangs || run.Takes > a.Timeout) {
		e.Failure = &Failure{Reason: "HookFailed", Message: "it did not end within " + a.Timeout.String()}
		return e, a.Timeout, true
	}
	return e, run.Takes, !run.Hangs
}

// sleepOf is how long a sleep hook sleeps, 0 for any other.
func sleepOf(p *corev1.Pod, a Action) time.Duration {
	if h := handlerOf(p, a); h != nil && h.Sleep != nil {
		return wholeSeconds(h.Sleep.Seconds)
	}
	return 0
}

// HookInside reports whether an OpHook runs a command inside its container, so that it ends with it.
func HookInside(p *corev1.Pod, a Action) bool {
	h := handlerOf(p, a)
	return h != nil && h.Exec != nil
}

// handlerOf returns what an OpHook runs, nil if the pod has no such hook.
func handlerOf(p *corev1.Pod, a Action) *corev1.LifecycleHandler {
	c := containerOf(p, a.Container)
	switch {
	case c == nil || c.Lifecycle == nil:
		return nil
	case a.Hook == HookPreStop:
		return c.Lifecycle.PreStop
	default:
		return c.Lifecycle.PostStart
	}
}

// Signalled returns when a process that is sent a signal ends, and how; ends is false if it does not mind.
func (l Life) Signalled(signal string) (after time.Duration, x Exit, ends bool) {
	switch {
	case signal == "KILL":
		return 0, Exit{Code: killedCode, Signal: killSignal}, !l.IgnoresKill
	case l.IgnoresTerm || l.IgnoresKill:
		return 0, Exit{}, false
	}
	return l.StopTime, Exit{Code: l.StopCode}, true
}

func nominal(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func nth(failures []Failure, i int) *Failure {
	if i >= len(failures) {
		return nil
	}
	f := failures[i]
	return &f
}

func instanceID(a Action) string {
	if a.Instance == 0 {
		return a.Container
	}
	return a.Container + "-" + strconv.Itoa(a.Instance)
}
