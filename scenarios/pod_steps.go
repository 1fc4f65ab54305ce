package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
)

// What `up` may wait for.
const (
	upNone      = "none"
	upStarted   = "started"   // every main container has been started
	upReady     = "ready"     // the pod is Ready
	upCompleted = "completed" // the pod has Succeeded; one that fails, fails the step
	upEnded     = "ended"     // the pod has Succeeded or Failed
)

// upVerb asks for the pod.
type upVerb struct{ wait string }

func (v *upVerb) repeats(*Step) bool { return false }

func (v *upVerb) ask(s scene) []pod.Action {
	if len(s.round) > 0 {
		return nil
	}
	return []pod.Action{{Op: pod.OpUp, Pod: s.pod().Name, Kubelet: s.scenario.Options.Kubelet}}
}

func (v *upVerb) look(s scene) []Finding {
	f := s.finding("pod " + v.wait)
	switch v.wait {
	case upNone:
		return []Finding{f.pass("the pod was asked for")}
	case upStarted:
		return []Finding{v.started(s, f)}
	case upReady:
		return []Finding{podState(s, f, string(corev1.PodReady))}
	case upEnded:
		if s.status().Phase == corev1.PodFailed {
			return []Finding{f.pass("the pod is Failed")}
		}
	}
	return []Finding{podState(s, f, string(corev1.PodSucceeded))}
}

func (v *upVerb) started(s scene, f Finding) Finding {
	var missing []string
	for _, c := range s.pod().Spec.Containers {
		if !slices.ContainsFunc(s.history.Moments(), func(m timeline.Moment) bool {
			return m.Happening == timeline.Started && m.Subject == c.Name
		}) {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) == 0 {
		return f.pass("every container has started")
	}
	f.Containers = missing
	if phase := s.status().Phase; phase == corev1.PodFailed {
		return f.fail(never, "the pod has failed; %s", notStarted(missing, s))
	}
	return f.fail(soon, "%s", notStarted(missing, s))
}

func notStarted(missing []string, s scene) string {
	text := "not started: " + strings.Join(missing, ", ")
	if w := s.waits(); w != "" {
		text += " (" + w + ")"
	}
	return text
}

// podStates are what a wait for the pod knows: conditions, phases, and Gone.
func podStates() []string {
	return []string{string(corev1.PodReady), string(corev1.PodInitialized), string(corev1.ContainersReady),
		string(corev1.PodPending), string(corev1.PodRunning), string(corev1.PodSucceeded), string(corev1.PodFailed), podGone}
}

const podGone = "Gone"

// podState judges whether the pod is in a state, and whether it can still come to it.
func podState(s scene, f Finding, want string) Finding {
	st := s.status()
	f.Containers = unready(st)
	switch want {
	case podGone:
		if s.gone() {
			return f.pass("the pod is gone")
		}
		return f.fail(soon, "%s", describe(s, st))
	case string(st.Phase):
		return f.pass("the pod is %s", st.Phase)
	}
	for _, c := range st.Conditions {
		if string(c.Type) == want && c.Status == corev1.ConditionTrue {
			return f.pass("the pod is %s", want)
		}
	}
	over := st.Phase == corev1.PodSucceeded || st.Phase == corev1.PodFailed
	if over || s.gone() {
		return f.fail(never, "%s, and that is final", describe(s, st))
	}
	return f.fail(soon, "%s", describe(s, st))
}

// describe is a pod's state in one line.
func describe(s scene, st corev1.PodStatus) string {
	parts := []string{fmt.Sprintf("the pod is %s", orUnknown(string(st.Phase)))}
	if st.Reason != "" {
		parts = append(parts, st.Reason)
	}
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
		for _, c := range list {
			if t := stateText(c); !c.Ready && t != "" {
				parts = append(parts, c.Name+" is "+t)
			}
		}
	}
	text := strings.Join(parts, ", ")
	if w := s.waits(); w != "" {
		text += " (" + w + ")"
	}
	return text
}

func orUnknown(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

// stateText is one container's state in a few words.
func stateText(c corev1.ContainerStatus) string {
	switch {
	case c.State.Running != nil && c.Ready:
		return "running and ready"
	case c.State.Running != nil && c.Started != nil && *c.Started:
		return "running, not ready"
	case c.State.Running != nil:
		return "running, not started"
	case c.State.Terminated != nil:
		return fmt.Sprintf("terminated (%s, exit code %d)", c.State.Terminated.Reason, c.State.Terminated.ExitCode)
	case c.State.Waiting != nil:
		text := "waiting (" + c.State.Waiting.Reason
		if m := c.State.Waiting.Message; m != "" {
			text += ": " + shorten(m)
		}
		return text + ")"
	}
	return ""
}

func unready(st corev1.PodStatus) []string {
	var out []string
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses} {
		for _, c := range list {
			if !c.Ready {
				out = append(out, c.Name)
			}
		}
	}
	return out
}

// waitPod blocks until the pod is in a state.
type waitPod struct{ state string }

func (v *waitPod) ask(scene) []pod.Action { return nil }
func (v *waitPod) repeats(*Step) bool     { return false }
func (v *waitPod) look(s scene) []Finding {
	return []Finding{podState(s, s.finding("pod "+v.state), v.state)}
}

// containerStates are what a wait for a container knows.
func containerStates() []string { return []string{"running", "started", "ready", "exited", "waiting"} }

// waitContainer blocks until a container is in a state. An exit since the step began counts, even if the next
// instance is running already.
type waitContainer struct {
	container, state string
	code             *bound
}

func (v *waitContainer) ask(scene) []pod.Action { return nil }
func (v *waitContainer) repeats(*Step) bool     { return false }

func (v *waitContainer) look(s scene) []Finding {
	wanted := v.container + " " + v.state
	if v.code != nil {
		wanted += " with code " + v.code.String()
	}
	f := s.finding(wanted)
	f.Containers = []string{v.container}
	c, ok := s.containerStatus(v.container)
	if !ok {
		return []Finding{f.fail(soon, "%s is not there yet", v.container)}
	}
	holds := false
	switch v.state {
	case "running":
		holds = c.State.Running != nil
	case "started":
		holds = c.State.Running != nil && c.Started != nil && *c.Started
	case "ready":
		holds = c.Ready
	case "waiting":
		holds = c.State.Waiting != nil
	case "exited":
		return []Finding{v.exited(s, f, c)}
	}
	if holds {
		return []Finding{f.pass("%s is %s", v.container, stateText(c))}
	}
	return []Finding{f.fail(v.hope(s), "%s is %s%s", v.container, orUnknown(stateText(c)), inParentheses(s.waits()))}
}

func (v *waitContainer) exited(s scene, f Finding, c corev1.ContainerStatus) Finding {
	code := -1
	if m, ok := s.since(timeline.Exited, v.container); ok {
		_, _ = fmt.Sscan(m.Arg, &code)
		f.Proof = []int{m.Last}
	} else if t := c.State.Terminated; t != nil {
		code = int(t.ExitCode)
	}
	switch {
	case code < 0:
		return f.fail(v.hope(s), "%s is %s", v.container, orUnknown(stateText(c)))
	case v.code != nil && !v.code.holds(code):
		return f.fail(soon, "%s exited with code %d", v.container, code)
	}
	return f.pass("%s exited with code %d", v.container, code)
}

// hope is none once the pod is at its end.
func (v *waitContainer) hope(s scene) hope {
	if p := s.status().Phase; p == corev1.PodSucceeded || p == corev1.PodFailed || s.gone() {
		return never
	}
	return soon
}

func inParentheses(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// killVerb delivers a signal to a container's main process. It is over when the signal was delivered; with KILL,
// when the process is gone, so that the next step finds it gone.
type killVerb struct{ container, signal string }

func (v *killVerb) repeats(*Step) bool { return false }

func (v *killVerb) ask(s scene) []pod.Action {
	if len(s.round) > 0 {
		return nil
	}
	a := pod.Action{Op: pod.OpSignal, Pod: s.pod().Name, Container: v.container, Signal: v.signal, Timeout: s.step.Timeout}
	if c, ok := s.containerStatus(v.container); ok {
		a.Instance = int(c.RestartCount)
	}
	return []pod.Action{a}
}

func (v *killVerb) look(s scene) []Finding {
	f := s.finding(fmt.Sprintf("%s sent to %s", v.signal, v.container))
	f.Containers = []string{v.container}
	if why := failure(s.round[0]); why != "" {
		return []Finding{f.fail(never, "%s", why)}
	}
	if v.signal != "KILL" {
		return []Finding{f.pass("delivered")}
	}
	if m, ok := s.since(timeline.Exited, v.container); ok {
		f.Proof = []int{s.round[0].began.Seq, m.Last}
		return []Finding{f.pass("%s is gone", v.container)}
	}
	c, ok := s.containerStatus(v.container)
	if ok && c.State.Running != nil {
		return []Finding{f.fail(soon, "%s is still there", v.container)}
	}
	return []Finding{f.fail(never, "%s was not running: %s", v.container, orUnknown(stateText(c)))}
}

// deleteVerb starts the pod's termination.
type deleteVerb struct {
	grace *int64
	wait  bool
}

func (v *deleteVerb) repeats(*Step) bool { return false }

func (v *deleteVerb) ask(s scene) []pod.Action {
	if len(s.round) > 0 {
		return nil
	}
	return []pod.Action{{Op: pod.OpDelete, Pod: s.pod().Name, Grace: v.grace}}
}

func (v *deleteVerb) look(s scene) []Finding {
	if !v.wait {
		return []Finding{s.finding("pod deleted").pass("asked for")}
	}
	return []Finding{podState(s, s.finding("pod gone"), podGone)}
}

// sleepVerb lets time go by.
type sleepVerb struct{ d time.Duration }

func (v *sleepVerb) ask(scene) []pod.Action { return nil }
func (v *sleepVerb) repeats(*Step) bool     { return false }
func (v *sleepVerb) look(s scene) []Finding {
	f := s.finding("sleep " + v.d.String())
	if s.now.Before(s.begin.Time.Add(v.d)) {
		return []Finding{f.fail(soon, "asleep")}
	}
	return []Finding{f.pass("slept")}
}
