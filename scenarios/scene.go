package scenarios

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	corev1 "k8s.io/api/core/v1"
)

// A scene is all that a verb or a check may look at.
type scene struct {
	scenario *Scenario
	step     *Step
	history  *timeline.History
	recorder *events.Recorder
	now      time.Time
	// begin is the step's begin mark.
	begin timeline.Record
	// over says that the pod was gone when the step began.
	over bool
	// round are the answers of a round: for ask those so far, for look all of the last complete one.
	round []answer
}

// pod is the scenario's pod, as it is asked for now.
func (s scene) pod() *corev1.Pod {
	if p := s.history.Pod(s.scenario.Pods[0].Name); p != nil {
		return p
	}
	return s.scenario.Pods[0]
}

// status is what Kubernetes would report of the pod now.
func (s scene) status() corev1.PodStatus {
	return s.history.Status(s.pod().Name).PodStatus(s.pod(), s.now)
}

// gone reports whether nothing is left of the pod.
func (s scene) gone() bool { return s.history.Status(s.pod().Name).Gone() }

// waits are the planner's own words for what holds the pod's containers back.
func (s scene) waits() string {
	var lines []string
	for _, w := range pod.Next(s.pod(), s.history.Status(s.pod().Name), s.now).Waiting {
		lines = append(lines, strings.TrimSpace(w.Container+" "+w.For))
	}
	return strings.Join(lines, "; ")
}

// containerStatus is one container's part of the status.
func (s scene) containerStatus(name string) (corev1.ContainerStatus, bool) {
	st := s.status()
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
		for _, c := range list {
			if c.Name == name {
				return c, true
			}
		}
	}
	return corev1.ContainerStatus{}, false
}

// created reports whether the container has ever been created: only then it has a log.
func (s scene) created(container string) bool {
	for _, m := range s.history.Moments() {
		if m.Happening == timeline.Created && m.Subject == container {
			return true
		}
	}
	return false
}

// moment is the last moment of a kind since the step began.
func (s scene) since(what timeline.Happening, container string) (timeline.Moment, bool) {
	moments := s.history.Moments()
	for i := len(moments) - 1; i >= 0; i-- {
		m := moments[i]
		if m.Happening == what && m.Subject == container && m.Last > s.begin.Seq {
			return m, true
		}
	}
	return timeline.Moment{}, false
}

// content is what the round's read of a container's log or file came to.
func (s scene) content(container string, read pod.Read) (c pod.Content, seq int, err string) {
	for _, a := range s.round {
		if a.began.Action.Op != pod.OpRead || a.began.Action.Container != container || !reflect.DeepEqual(*a.began.Action.Read, read) {
			continue
		}
		if err := failure(a); err != "" {
			return c, a.ended.Seq, err
		}
		if a.ended.Content == nil {
			return c, a.ended.Seq, "the read came back empty"
		}
		return *a.ended.Content, a.ended.Seq, ""
	}
	return c, 0, "it was not read"
}

// ledger is the round's flow ledger.
func (s scene) ledger() (l pod.Ledger, seq int, err string) {
	for i := len(s.round) - 1; i >= 0; i-- {
		a := s.round[i]
		if a.began.Action.Op != pod.OpFlows {
			continue
		}
		if err := failure(a); err != "" {
			return l, a.ended.Seq, err
		}
		if a.ended.Ledger == nil {
			return l, a.ended.Seq, "there is no ledger"
		}
		return *a.ended.Ledger, a.ended.Seq, ""
	}
	return l, 0, "the flow ledger was not read"
}

func failure(a answer) string {
	if f := a.ended.Failure; f != nil {
		return strings.TrimSuffix(fmt.Sprintf("%s: %s", f.Reason, f.Message), ": ")
	}
	return ""
}

// finding starts a finding of the step itself.
func (s scene) finding(wanted string) Finding {
	return Finding{Outcome: Fail, Pos: s.step.Pos, Check: s.step.Verb, Wanted: wanted}
}

func (f Finding) pass(format string, args ...any) Finding {
	f.Outcome, f.Got = Pass, fmt.Sprintf(format, args...)
	return f
}

func (f Finding) fail(h hope, format string, args ...any) Finding {
	f.Outcome, f.Got, f.hope = Fail, fmt.Sprintf(format, args...), h
	return f
}

func (f Finding) unclear(format string, args ...any) Finding {
	f.Outcome, f.Got, f.hope = Inconclusive, fmt.Sprintf(format, args...), asked
	return f
}
