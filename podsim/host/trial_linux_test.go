package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A trial is one run of one pod under the real driver.
type trial struct {
	// pod is the manifest, with SIDEKICK and PROG for the images. ConfigMaps and Secrets may be beside it.
	pod string
	// steps are what is asked of the run after its pod was accepted, one after the other. Without any the pod ends by
	// itself.
	steps []step
	// configure changes the host's configuration. May be nil.
	configure func(*Config)
	// opened is called with the host before the run begins. May be nil.
	opened func(*Host)
	// machine is the shared one if nil.
	machine *machine
}

// A step is an action that a trial asks for once it may.
type step struct {
	name string
	when func(look) bool // nil: at once
	do   pod.Action
}

// A look is what steps decide by.
type look struct {
	view   timeline.View
	status corev1.PodStatus
}

func (l look) container(name string) corev1.ContainerStatus {
	for _, c := range slices.Concat(l.status.InitContainerStatuses, l.status.ContainerStatuses) {
		if c.Name == name {
			return c
		}
	}
	return corev1.ContainerStatus{}
}

func ready(l look) bool {
	return slices.ContainsFunc(l.status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func running(container string) func(look) bool {
	return func(l look) bool { return l.container(container).State.Running != nil }
}

func waiting(container, reason string) func(look) bool {
	return func(l look) bool {
		w := l.container(container).State.Waiting
		return w != nil && w.Reason == reason
	}
}

func restarted(container string, times int) func(look) bool {
	return func(l look) bool {
		c := l.container(container)
		return int(c.RestartCount) >= times && c.State.Running != nil
	}
}

// failedWith is true once an action has failed for a reason.
func failedWith(op pod.Op, reason string) func(look) bool {
	return func(l look) bool {
		for r := range l.view.All() {
			if r.Kind == pod.Ended && r.Action.Op == op && r.Failure != nil && r.Failure.Reason == reason {
				return true
			}
		}
		return false
	}
}

// deleted asks for the end of the pod.
func deleted() step { return step{name: "delete", do: pod.Action{Op: pod.OpDelete}} }

func (s step) after(when func(look) bool) step {
	s.when = when
	return s
}

func in(name, container string, command ...string) step {
	return step{name: name, do: pod.Action{Op: pod.OpExec, Container: container, Command: command, Timeout: 20 * time.Second}}
}

// sidekickIn runs one of sidekick's tools in a container; the command is the step's name.
func sidekickIn(container string, args ...string) step {
	return in(strings.Join(args, " "), container, append([]string{"/sidekick"}, args...)...)
}

func signalled(container, name string) step {
	return step{name: name, do: pod.Action{Op: pod.OpSignal, Container: container, Signal: name}}
}

// askAgain is how soon a step is asked again whether it may, where nothing happens: it may depend on more than the run.
const askAgain = 50 * time.Millisecond

// A director has the steps performed.
type director struct {
	pod   *corev1.Pod
	steps []step
}

func (d director) Next(v timeline.View, pods map[string]pod.Status, now time.Time) pod.Plan {
	begun, ended := 0, 0
	for r := range v.All() {
		switch {
		case r.Action.Step == 0:
		case r.Kind == pod.Began:
			begun++
		case r.Kind == pod.Ended:
			ended++
		}
	}
	if begun > ended {
		return pod.Plan{}
	}
	if ended == len(d.steps) {
		return pod.Plan{Done: true}
	}
	s := d.steps[ended]
	if s.when != nil && !s.when(look{view: v, status: pods[d.pod.Name].PodStatus(d.pod, now)}) {
		return pod.Plan{Wake: now.Add(askAgain)}
	}
	a := s.do
	a.Pod, a.Step = d.pod.Name, ended+1
	if a.Why == "" {
		a.Why = "the test's step " + s.name
	}
	return pod.Plan{Actions: []pod.Action{a}}
}

// A result is what became of a trial.
type result struct {
	t       testing.TB
	trial   trial
	id      string
	pod     *corev1.Pod
	view    timeline.View
	moments []timeline.Moment
	err     error
	final   look

	mu    sync.Mutex
	lines map[string][]string // by container
}

// trialTimeout bounds a run.
const trialTimeout = 90 * time.Second

// run runs the trial. The run must end without an error and leave nothing.
func (tr trial) run(t testing.TB) *result {
	t.Helper()
	r := tr.try(t)
	if r.err != nil {
		t.Fatalf("the run failed: %v\n%s", r.err, r.story())
	}
	return r
}

// try runs the trial, whose error is the caller's. It must leave nothing in any case.
func (tr trial) try(t testing.TB) *result {
	t.Helper()
	m := tr.machine
	if m == nil {
		m = here(t)
	}
	r := &result{t: t, trial: tr, lines: map[string][]string{}}
	c := Config{Site: m.site, Bundle: testBundle(), Log: r.line}
	r.pod, c.Resources = parsePod(t, m, tr.pod)
	c.Pods = []*corev1.Pod{r.pod}
	if tr.configure != nil {
		tr.configure(&c)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), trialTimeout, fmt.Errorf("the trial took more than %s", trialTimeout))
	defer cancel()
	h, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	r.id = h.ID()
	if tr.opened != nil {
		tr.opened(h)
	}
	drive := podsim.Run{Pods: c.Pods, Host: h, Notes: h.Notes()}
	if len(tr.steps) > 0 {
		up := step{name: "up", do: pod.Action{Op: pod.OpUp}}
		drive.Director = director{r.pod, append([]step{up}, tr.steps...)}
	}
	r.view, r.err = drive.Drive(ctx)
	r.err = errors.Join(r.err, h.Close())
	r.moments = timeline.Moments(c.Pods, r.view)
	r.final = look{r.view, r.statusAt(r.view.Len())}
	if left := leftOfRun(m.site, r.id); len(left) > 0 {
		t.Errorf("run %s left behind: %v", r.id, left)
	}
	return r
}

func parsePod(t testing.TB, m *machine, text string) (*corev1.Pod, manifest.Resources) {
	t.Helper()
	text = strings.NewReplacer("SIDEKICK", m.sidekick, "PROG", m.prog).Replace(text)
	found, bad := manifest.Parse(diag.NewSource("pod.yaml", []byte(text)))
	p, more := found.Pod(manifest.Select{}, manifest.Options{Strict: true})
	if err := append(bad, more...).Err(); err != nil {
		t.Fatalf("%+v", err)
	}
	p.UID = uuid.NewUUID()
	return p, found.Resources
}

// leftOfRun lists what one run has left, while others may go on.
func leftOfRun(s Site, id string) []string {
	var left []string
	for _, dir := range []string{s.run(id), s.StateDir + "/runs/" + id} {
		if _, err := os.Stat(dir); err == nil {
			left = append(left, dir)
		}
	}
	for _, name := range s.cgroupNames() {
		if ofRun(id, name) {
			dirs, _ := ctrd.CgroupDirs(s.podCgroup(name))
			left = append(left, dirs...)
		}
	}
	return left
}

// leftOfPod lists what one pod has left while its run goes on.
func leftOfPod(s Site, id string) []string {
	var left []string
	if _, err := os.Stat(s.pod(id)); err == nil {
		left = append(left, s.pod(id))
	}
	dirs, err := ctrd.CgroupDirs(s.podCgroup(id))
	if err != nil {
		left = append(left, err.Error())
	}
	members, err := netns.Network{StateDir: s.StateDir}.Leftovers(s.run(""))
	if err != nil {
		left = append(left, err.Error())
	}
	for _, m := range members {
		if m.ID == id && m.Kind != "link" {
			left = append(left, m.Kind+" "+m.Name)
		}
	}
	return append(left, dirs...)
}

func (r *result) line(l LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[l.Container] = append(r.lines[l.Container], l.Text)
}

// log is all that a container printed, in all its instances.
func (r *result) log(container string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines[container], "\n")
}

func (r *result) statusAt(seq int) corev1.PodStatus {
	var s pod.Status
	var at time.Time
	for rec := range r.view.Until(seq).All() {
		at = rec.Time
		if rec.Action.Pod != r.pod.Name {
			continue
		}
		next, err := s.Apply(rec.Event)
		if err != nil {
			r.t.Fatal(err)
		}
		s = next
	}
	return s.PodStatus(r.pod, at)
}

// story is the run for a reader of a failed test.
func (r *result) story() string {
	var b strings.Builder
	for rec := range r.view.All() {
		fmt.Fprintf(&b, "%s %s %s", rec.Time.Format("05.000"), rec.Kind, rec.Action)
		if rec.Failure != nil {
			fmt.Fprintf(&b, " FAILED %s: %s", rec.Failure.Reason, rec.Failure.Message)
		}
		if rec.Exit != nil {
			fmt.Fprintf(&b, " exit %d %q", rec.Exit.Code, rec.Exit.LastLog)
		}
		fmt.Fprintf(&b, " %s %s\n", rec.Note, rec.Detail)
	}
	return b.String()
}

func (r *result) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf(format+"\n%s", append(args, r.story())...)
}

// answer is the end of a step.
func (r *result) answer(name string) pod.Event {
	r.t.Helper()
	for i, s := range r.trial.steps {
		if s.name != name {
			continue
		}
		for rec := range r.view.All() {
			if rec.Kind == pod.Ended && rec.Action.Step == i+2 {
				return rec.Event
			}
		}
	}
	r.fatalf("step %q has no answer", name)
	return pod.Event{}
}

// output is what a step's command printed; the command must have ended with 0.
func (r *result) output(name string) string {
	r.t.Helper()
	e := r.answer(name)
	if e.Failure != nil || e.Output == nil || e.Output.Code != 0 {
		r.fatalf("step %q: got failure %+v, output %+v; want code 0", name, e.Failure, e.Output)
	}
	return strings.TrimSpace(e.Output.Stdout)
}

// moment finds the first moment of a name.
func (r *result) moment(name string) timeline.Moment {
	r.t.Helper()
	for _, m := range r.moments {
		if m.Name() == name {
			return m
		}
	}
	var names []string
	for _, m := range r.moments {
		names = append(names, m.Name())
	}
	r.fatalf("there was no %s; there were %v", name, names)
	return timeline.Moment{}
}

// order demands moments in a proven order. Two of one container in a row may be too close to call: a signal is an
// interval, and the exit that it brings about may fall into it.
func (r *result) order(names ...string) {
	r.t.Helper()
	for i := 1; i < len(names); i++ {
		m, n := r.moment(names[i-1]), r.moment(names[i])
		if a := m.Before(n); a == timeline.Refuted || a == timeline.TooClose && m.Subject != n.Subject {
			r.t.Errorf("%s before %s: %s", names[i-1], names[i], a)
		}
	}
}

func (r *result) never(name string) {
	r.t.Helper()
	for _, m := range r.moments {
		if m.Name() == name {
			r.t.Errorf("there was a %s, and should have been none", name)
		}
	}
}

// exit is how an instance of a container ended.
func (r *result) exit(container string, instance int) (pod.Exit, time.Time) {
	r.t.Helper()
	for rec := range r.view.All() {
		if rec.Exit != nil && rec.Action.Container == container && rec.Action.Instance == instance {
			return *rec.Exit, rec.Time
		}
	}
	r.fatalf("container %s #%d did not end", container, instance)
	return pod.Exit{}, time.Time{}
}

func contains(t testing.TB, what, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%s: got %q, want %q in it", what, text, w)
		}
	}
}

// podNamed is a manifest's beginning; the specification's fields follow, indented by two.
func podNamed(name, spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n" + strings.TrimLeft(spec, "\n")
}
