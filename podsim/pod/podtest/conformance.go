package podtest

import (
	"context"
	"testing"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

// A Subject is a host under test: what the driver asks of one.
type Subject interface {
	Do(ctx context.Context, a pod.Action) (pod.Event, error)
	Reap(ctx context.Context) error
}

// A Fixture is a host and a pod made for the suite. Its containers are mains without hooks and probes, with a pull
// policy that needs no registry.
type Fixture struct {
	Host Subject
	Pod  *corev1.Pod
	// Runs names a container that runs until it is sent TERM, and then soon ends with code 0.
	Runs string
	// Fails names one that ends by itself, within a second, with code 3.
	Fails string
	// Stubborn names one that minds no TERM.
	Stubborn string
	// Missing names one whose image is not there, with the pull policy Never.
	Missing string
	// Left returns what of the pod is still there, in words. Nil: it cannot be told.
	Left func() []string
}

// A Case is one promise of a host. Check fails t if the host breaks it. The caller reaps the host afterwards.
type Case struct {
	Name  string
	Check func(t *testing.T, f Fixture)
}

// Conformance puts every promise to hosts that newFixture makes, each in a test of its own. The host is reaped at the
// end of each, and must then have left nothing.
func Conformance(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { Check(t, c, newFixture(t)) })
	}
}

// Check puts one promise to one host, and reaps it.
func Check(t *testing.T, c Case, f Fixture) {
	t.Helper()
	defer func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		for _, which := range []string{"first", "second"} { // idempotent
			if err := f.Host.Reap(ctx); err != nil {
				t.Errorf("the %s Reap: %v", which, err)
			}
		}
		wantNothingLeft(t, f, "Reap")
	}()
	c.Check(t, f)
}

// Cases are the promises, in an order in which the first that is broken explains those after it.
func Cases() []Case {
	return []Case{
		{"set-up is answered with an address, and doing it twice is safe", setUpTwice},
		{"a container is pulled, created and started, and ends with code 0 on TERM", runAndStop},
		{"an exit code is told as it was", exitCode},
		{"KILL ends what minds no TERM, with code 137 and signal 9", kill},
		{"an image that may not be pulled is a failure of the container, not of the host", missingImage},
		{"a signal to a process that is gone is no failure", signalGone},
		{"a removed instance makes place for the next, and both have an identity", nextInstance},
		{"a container that was created and never started can be removed, and the next takes its place", removedUnstarted},
		{"a wait that is cancelled returns soon, and the end is still told to the next", cancelledWait},
		{"steps that are done twice are safe", stepsTwice},
		{"a container that was prepared and never created goes with the pod", preparedOnly},
		{"a host that is reaped in mid-life ends everything", reapRunning},
	}
}

// do performs an action that must succeed as a call, within a minute.
func do(t *testing.T, f Fixture, a pod.Action) pod.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a.Pod = f.Pod.Name
	before := time.Now()
	e, err := f.Host.Do(ctx, a)
	if err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if !e.Time.IsZero() && a.Op != pod.OpAwait && e.Time.Before(before.Add(-time.Second)) {
		t.Errorf("%s: the answer's time %s is before the question's, %s", a, e.Time, before)
	}
	return e
}

// well is do for what must go well in the pod too.
func well(t *testing.T, f Fixture, a pod.Action) pod.Event {
	t.Helper()
	e := do(t, f, a)
	if e.Failure != nil {
		t.Fatalf("%s: it failed: %s: %s", a, e.Failure.Reason, e.Failure.Message)
	}
	return e
}

// start takes a container from nothing to running.
func start(t *testing.T, f Fixture, container string, instance int) pod.Event {
	t.Helper()
	well(t, f, pod.Action{Op: pod.OpPull, Container: container, Instance: instance})
	well(t, f, pod.Action{Op: pod.OpCreate, Container: container, Instance: instance})
	return well(t, f, pod.Action{Op: pod.OpStart, Container: container, Instance: instance, Role: pod.RoleMain})
}

// exited waits for a container's end.
func exited(t *testing.T, f Fixture, container string, instance int) pod.Exit {
	t.Helper()
	e := do(t, f, pod.Action{Op: pod.OpAwait, Container: container, Instance: instance})
	if e.Exit == nil {
		t.Fatalf("await %s: the answer has no exit: %+v", container, e)
	}
	return *e.Exit
}

func signal(t *testing.T, f Fixture, container, name string) {
	t.Helper()
	well(t, f, pod.Action{Op: pod.OpSignal, Container: container, Signal: name})
}

func setUpTwice(t *testing.T, f Fixture) {
	var ips []string
	for range 2 {
		e := well(t, f, pod.Action{Op: pod.OpSetUp})
		if e.Network == nil || len(e.Network.PodIPs) == 0 {
			t.Fatalf("set-up: got %+v, want a network with an address", e)
		}
		ips = append(ips, e.Network.PodIPs[0])
	}
	if ips[0] != ips[1] {
		t.Errorf("done twice, set-up gave two addresses, %s and %s", ips[0], ips[1])
	}
	well(t, f, pod.Action{Op: pod.OpTearDown})
}

func runAndStop(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	e := start(t, f, f.Runs, 0)
	if e.Instance == nil || e.Instance.PID <= 0 {
		t.Errorf("start: got %+v, want an instance with a PID", e.Instance)
	}
	signal(t, f, f.Runs, "TERM")
	if x := exited(t, f, f.Runs, 0); x.Code != 0 || x.Signal != 0 {
		t.Errorf("after TERM: got exit %+v, want code 0 and no signal", x)
	}
	well(t, f, pod.Action{Op: pod.OpTearDown})
	wantNothingLeft(t, f, "tear-down")
}

// wantNothingLeft fails the test if anything of the pod is left, where the fixture can tell.
func wantNothingLeft(t *testing.T, f Fixture, after string) {
	t.Helper()
	if f.Left == nil {
		return
	}
	if left := f.Left(); len(left) > 0 {
		t.Errorf("after %s this is left: %v", after, left)
	}
}

func exitCode(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	start(t, f, f.Fails, 0)
	if x := exited(t, f, f.Fails, 0); x.Code != 3 || x.OOMKilled {
		t.Errorf("got exit %+v, want code 3", x)
	}
}

func kill(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	start(t, f, f.Stubborn, 0)
	signal(t, f, f.Stubborn, "TERM")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if e, err := f.Host.Do(ctx, pod.Action{Op: pod.OpAwait, Pod: f.Pod.Name, Container: f.Stubborn}); err == nil {
		t.Fatalf("it was to mind no TERM, and ended: %+v", e.Exit)
	}
	signal(t, f, f.Stubborn, "KILL")
	if x := exited(t, f, f.Stubborn, 0); x.Code != 137 || x.Signal != 9 {
		t.Errorf("after KILL: got exit %+v, want code 137 and signal 9", x)
	}
}

func missingImage(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	e := do(t, f, pod.Action{Op: pod.OpPull, Container: f.Missing})
	if e.Failure == nil || e.Failure.Reason != "ErrImageNeverPull" {
		t.Errorf("got %+v, want a failure with the reason ErrImageNeverPull (IM-02)", e.Failure)
	}
}

func signalGone(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	start(t, f, f.Fails, 0)
	exited(t, f, f.Fails, 0)
	signal(t, f, f.Fails, "TERM")
	signal(t, f, f.Fails, "KILL")
}

func nextInstance(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	first := start(t, f, f.Fails, 0)
	exited(t, f, f.Fails, 0)
	well(t, f, pod.Action{Op: pod.OpPull, Container: f.Fails, Instance: 1})
	well(t, f, pod.Action{Op: pod.OpRemove, Container: f.Fails, Instance: 0})
	second := start(t, f, f.Fails, 1)
	if x := exited(t, f, f.Fails, 1); x.Code != 3 {
		t.Errorf("the second instance: got exit %+v, want code 3", x)
	}
	if first.Instance == nil || second.Instance == nil || first.Instance.ContainerID == "" || second.Instance.ContainerID == "" {
		t.Errorf("got instances %+v and %+v, want a container ID in each", first.Instance, second.Instance)
	}
}

// removedUnstarted is what a restart of all containers may ask for (RA-01).
func removedUnstarted(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	well(t, f, pod.Action{Op: pod.OpPull, Container: f.Fails})
	well(t, f, pod.Action{Op: pod.OpCreate, Container: f.Fails})
	well(t, f, pod.Action{Op: pod.OpRemove, Container: f.Fails, Stop: pod.StopRestartAll})
	start(t, f, f.Fails, 1)
	if x := exited(t, f, f.Fails, 1); x.Code != 3 {
		t.Errorf("the second instance: got exit %+v, want code 3", x)
	}
}

func cancelledWait(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	start(t, f, f.Runs, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	if e, err := f.Host.Do(ctx, pod.Action{Op: pod.OpAwait, Pod: f.Pod.Name, Container: f.Runs}); err == nil {
		t.Errorf("a wait that was cancelled: got %+v and no error", e)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("a wait that was cancelled returned after %s, want soon", took)
	}
	signal(t, f, f.Runs, "TERM")
	if x := exited(t, f, f.Runs, 0); x.Code != 0 {
		t.Errorf("after TERM: got exit %+v, want code 0", x)
	}
}

func stepsTwice(t *testing.T, f Fixture) {
	for _, a := range []pod.Action{{Op: pod.OpSetUp}, {Op: pod.OpPrepare, Container: f.Fails}, {Op: pod.OpPull, Container: f.Fails},
		{Op: pod.OpCreate, Container: f.Fails}} {
		well(t, f, a)
		well(t, f, a)
	}
	well(t, f, pod.Action{Op: pod.OpStart, Container: f.Fails, Role: pod.RoleMain})
	for range 2 {
		if x := exited(t, f, f.Fails, 0); x.Code != 3 {
			t.Errorf("got exit %+v, want code 3", x)
		}
	}
	for _, a := range []pod.Action{{Op: pod.OpRemove, Container: f.Fails}, {Op: pod.OpTearDown}} {
		well(t, f, a)
		well(t, f, a)
	}
}

func preparedOnly(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	do(t, f, pod.Action{Op: pod.OpPrepare, Container: f.Runs}) // a hint: it may fail
	well(t, f, pod.Action{Op: pod.OpTearDown})
	wantNothingLeft(t, f, "tear-down")
}

func reapRunning(t *testing.T, f Fixture) {
	well(t, f, pod.Action{Op: pod.OpSetUp})
	start(t, f, f.Runs, 0)
	start(t, f, f.Stubborn, 0)
}
