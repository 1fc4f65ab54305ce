package pod

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// TestWhateverHappens plays pods of all shapes against hosts of all moods, and holds what must always hold.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(t)
		w.happens(Event{Kind: Began, Action: Action{Op: OpUp, Pod: w.p.Name}})
		w.happens(Event{Kind: Ended, Action: Action{Op: OpUp, Pod: w.p.Name}})
		w.settle()
		for range rapid.IntRange(0, 120).Draw(t, "steps") {
			w.step()
		}
		w.refold()
		w.stop()
	})
}

// A walk is one pod on its way through what may happen.
type walk struct {
	*rapid.T
	p      *corev1.Pod
	s      Status
	plan   Plan
	now    time.Time
	lastID int
	events []Event
	states []Status // after each event
	watch  watcher
}

func newWalk(t *rapid.T) *walk { return &walk{T: t, p: drawPod(t), now: t0} }

func drawPod(t *rapid.T) *corev1.Pod {
	p := new(corev1.Pod)
	p.Name, p.Namespace, p.UID = "web", "default", "uid-1"
	p.Spec.RestartPolicy = rapid.SampledFrom([]corev1.RestartPolicy{"", corev1.RestartPolicyAlways,
		corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}).Draw(t, "restartPolicy")
	if rapid.Bool().Draw(t, "graced") {
		g := rapid.Int64Range(0, 40).Draw(t, "grace")
		p.Spec.TerminationGracePeriodSeconds = &g
	}
	if rapid.IntRange(0, 9).Draw(t, "limited") == 0 {
		d := rapid.Int64Range(1, 60).Draw(t, "deadline")
		p.Spec.ActiveDeadlineSeconds = &d
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "inits") {
		c := corev1.Container{Name: fmt.Sprintf("i%d", i), Image: "i:1"}
		if rapid.Bool().Draw(t, "sidecar") {
			always := corev1.ContainerRestartPolicyAlways
			c.RestartPolicy = &always
			drawExtras(t, &c)
		} else {
			drawPolicy(t, &c, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "mains") {
		c := corev1.Container{Name: fmt.Sprintf("m%d", i), Image: rapid.SampledFrom([]string{"i:1", "i"}).Draw(t, "image")}
		drawExtras(t, &c)
		drawPolicy(t, &c, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure, corev1.ContainerRestartPolicyAlways)
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	return p
}

// drawPolicy gives a container a restart policy of its own, and perhaps a rule for the exit code 42.
func drawPolicy(t *rapid.T, c *corev1.Container, policies ...corev1.ContainerRestartPolicy) {
	if rapid.IntRange(0, 3).Draw(t, "ownPolicy") > 0 {
		return
	}
	policy := rapid.SampledFrom(policies).Draw(t, "containerPolicy")
	c.RestartPolicy = &policy
	actions := []corev1.ContainerRestartRuleAction{"", corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers}
	if action := rapid.SampledFrom(actions).Draw(t, "rule"); action != "" {
		c.RestartPolicyRules = []corev1.ContainerRestartRule{{Action: action, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
			Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}}
	}
}

func drawExtras(t *rapid.T, c *corev1.Container) {
	draw := func(what string) *corev1.Probe {
		if rapid.IntRange(0, 2).Draw(t, what) > 0 {
			return nil
		}
		return &corev1.Probe{PeriodSeconds: rapid.Int32Range(0, 3).Draw(t, "period"), InitialDelaySeconds: rapid.Int32Range(0, 3).Draw(t, "delay"),
			FailureThreshold: rapid.Int32Range(0, 2).Draw(t, "threshold")}
	}
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = draw("startup"), draw("liveness"), draw("readiness")
	hook := &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}
	c.Lifecycle = &corev1.Lifecycle{}
	if rapid.IntRange(0, 2).Draw(t, "postStart") == 0 {
		c.Lifecycle.PostStart = hook
	}
	if rapid.IntRange(0, 2).Draw(t, "preStop") == 0 {
		c.Lifecycle.PreStop = hook
	}
}

// happens folds an event, which must be able to follow.
func (w *walk) happens(e Event) {
	e.Time = w.now
	s, err := w.s.Apply(e)
	if err != nil {
		w.Fatalf("%v\n%s", err, w.story())
	}
	w.s, w.events, w.states = s, append(w.events, e), append(w.states, s)
	w.holds(e)
}

func (w *walk) story() string {
	var b strings.Builder
	for _, e := range w.events {
		fmt.Fprintf(&b, "%8s %s %s", e.Time.Sub(t0), e.Kind, e.Action)
		if e.Failure != nil {
			fmt.Fprintf(&b, " failed")
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// holds checks what must hold after every event.
func (w *walk) holds(e Event) {
	if e.Kind == Began && e.Action.Op == OpStart && RoleOf(w.p, e.Action.Container) == RoleMain && e.Action.Instance == 0 {
		w.initializedBefore(e.Action.Container)
	}
	if e.Kind == Began && e.Action.Op.works() && w.s.Ending() {
		w.Fatalf("%s began while the pod was on its way out (TM-15)\n%s", e.Action, w.story())
	}
	st := w.s.PodStatus(w.p, w.now)
	w.look(e.Kind.String() + " " + e.Action.String())
	if w.s.Phase(w.p) != st.Phase {
		w.Fatalf("Phase is %s, and PodStatus says %s\n%s", w.s.Phase(w.p), st.Phase, w.story())
	}
}

// look looks at the pod's status as a watch would, after something has happened.
func (w *walk) look(after string) {
	if what := w.watch.see(w.p, w.s, w.now); what != "" {
		w.Fatalf("after %s: %s\n%s", after, what, w.story())
	}
}

// initializedBefore checks that every init container was through before the first start of a main (ST-08).
func (w *walk) initializedBefore(main string) {
	for i := range w.p.Spec.InitContainers {
		spec := &w.p.Spec.InitContainers[i]
		if initRole(spec) == RoleInit && !w.s.seen(spec.Name).exitedZero() {
			w.Fatalf("%s began to start before %s had exited 0 (ST-08)\n%s", main, spec.Name, w.story())
		}
		if initRole(spec) == RoleSidecar && !w.wasStarted(spec.Name) {
			w.Fatalf("%s began to start before sidecar %s was Started (ST-08)\n%s", main, spec.Name, w.story())
		}
	}
}

func (w *walk) wasStarted(name string) bool {
	for _, s := range w.states {
		if s.seen(name).Started {
			return true
		}
	}
	return false
}

// settle begins what the planner asks for, and checks that it then comes to rest.
func (w *walk) settle() {
	for range 50 {
		w.plan = Next(w.p, w.s, w.now)
		if again := Next(w.p, w.s, w.now); !reflect.DeepEqual(w.plan, again) {
			w.Fatalf("equal arguments gave two plans:\n%+v\n%+v\n%s", w.plan, again, w.story())
		}
		if !w.plan.Wake.IsZero() && !w.plan.Wake.After(w.now) {
			w.Fatalf("the planner wants to be woken in the past\n%s", w.story())
		}
		if len(w.plan.Actions) == 0 {
			return
		}
		for _, a := range w.plan.Actions {
			w.lastID++
			a.ID = w.lastID
			w.happens(Event{Kind: Began, Action: a})
		}
	}
	w.Fatalf("the planner repeats itself without an event\n%s", w.story())
}

// step lets one thing happen: an answer, an exit, a delete, or time.
func (w *walk) step() {
	flight := w.s.InFlight()
	switch n := rapid.IntRange(0, 20).Draw(w.T, "what"); {
	case n == 0:
		w.delete()
	case n < 3 && !w.s.Gone():
		w.update()
	case n < 6 || len(flight) == 0:
		w.pass()
	default:
		w.answer(rapid.SampledFrom(flight).Draw(w.T, "which"), rapid.IntRange(0, 3).Draw(w.T, "fails") == 0)
	}
	w.settle()
}

func (w *walk) delete() {
	g := rapid.Int64Range(-1, 40).Draw(w.T, "grace")
	w.lastID++
	a := Action{ID: w.lastID, Op: OpDelete, Pod: w.p.Name, Grace: &g}
	w.happens(Event{Kind: Began, Action: a})
	w.happens(Event{Kind: Ended, Action: a.Ref()})
}

// update changes the image of one container, or adds an ephemeral one.
func (w *walk) update() {
	p := w.p.DeepCopy()
	var names []string
	for c := range containersOf(p) {
		names = append(names, c.Name)
	}
	if n := len(p.Spec.EphemeralContainers); n < 2 && rapid.IntRange(0, 3).Draw(w.T, "debug") == 0 {
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: fmt.Sprintf("e%d", n), Image: "i:1"}})
	}
	containerOf(p, rapid.SampledFrom(names).Draw(w.T, "container")).Image = rapid.SampledFrom([]string{"i:1", "i:2"}).Draw(w.T, "image")
	w.p = p
	w.lastID++
	a := Action{ID: w.lastID, Op: OpUpdate, Pod: p.Name, Spec: p}
	w.happens(Event{Kind: Began, Action: a})
	w.happens(Event{Kind: Ended, Action: a.Ref()})
}

func (w *walk) pass() {
	defer w.look("time has passed")
	if rapid.Bool().Draw(w.T, "toWake") && !w.plan.Wake.IsZero() {
		w.now = w.plan.Wake
		return
	}
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(w.T, "ms")) * time.Millisecond)
}

func (w *walk) answer(a Action, fails bool) {
	e := Event{Kind: Ended, Action: a.Ref()}
	switch {
	case a.Op == OpAwait:
		e.Exit = &Exit{}
		if fails {
			e.Exit.Code = rapid.SampledFrom([]int{1, 42}).Draw(w.T, "code")
		}
	case a.Op == OpProbe:
		e.Probe = &ProbeResult{Result: Success}
		if fails {
			e.Probe.Result = Failed
		}
	case a.Op == OpPull && !fails:
		e.Image = &Image{ID: "sha256:" + a.Image}
	case fails && a.Op != OpTearDown && a.Op != OpSignal:
		e.Failure = &Failure{Reason: "Failed", Message: "it failed"}
	}
	w.happens(e)
}

// refold checks that the recorded events, folded again, give the same statuses, and so that no status was changed
// after it was made.
func (w *walk) refold() {
	s := Status{}
	for i, e := range w.events {
		s, _ = s.Apply(e)
		if !reflect.DeepEqual(s, w.states[i]) {
			w.Fatalf("folded again, event %d (%s) gives another status\n%s", i, e.Action, w.story())
		}
	}
}

// stop deletes the pod, answers everything as a host would, and checks that it is gone soon.
func (w *walk) stop() {
	if !w.s.Gone() {
		w.delete()
		w.settle()
	}
	begin := len(w.events)
	deadline := w.now.Add(3 * time.Minute)
	for !w.s.Gone() {
		if n := len(w.events) - begin; n > 2000 || w.now.After(deadline) {
			w.Fatalf("the pod is not gone %d events and %s after its delete: %+v\n%s", n, w.now.Sub(deadline.Add(-3*time.Minute)), w.plan, w.story())
		}
		if !w.oneAnswer() {
			if w.plan.Wake.IsZero() {
				w.Fatalf("the pod is not gone, and nothing will happen: %+v\n%s", w.plan, w.story())
			}
			w.now = w.plan.Wake
		}
		w.settle()
	}
	if plan := Next(w.p, w.s, w.now); !plan.Done || len(plan.Actions) > 0 {
		w.Fatalf("the pod is gone, and the plan is %+v\n%s", plan, w.story())
	}
}

// oneAnswer ends one action in flight as a host would that runs stubborn processes: only KILL ends them.
func (w *walk) oneAnswer() bool {
	for _, a := range w.s.InFlight() {
		killed := !w.s.seen(a.Container).stop.kill.IsZero()
		if a.Op == OpAwait && !killed || a.Op == OpHook && rapid.Bool().Draw(w.T, "hangs") {
			continue
		}
		w.answer(a, false)
		return true
	}
	return false
}
