package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/timeline"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// eventReasons are the reasons of the events that podsim says (package events).
var eventReasons = []string{"BackOff", "Created", "DeadlineExceeded", "ErrImageNeverPull", "Failed", "FailedCreatePodSandBox", "FailedMount", "FailedPostStartHook",
	"FailedPreStopHook", "InspectFailed", "Killing", "ProbeWarning", "Pulled", "Pulling", "Scheduled", "Started", "Unhealthy"}

// eventsCheck holds where Kubernetes' events of a kind were said so many times: an event of one text counts as often as
// it is said to have come.
type eventsCheck struct {
	pos                     Pos
	reason, kind, container string
	message                 textMatch
	count                   *bound // nil: at least once
}

func (c *eventsCheck) needs(scene) needs { return needs{} }

func (c *eventsCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "events", Wanted: c.String()}
	if c.container != "" {
		f.Containers = []string{c.container}
	}
	n := 0
	var others []string
	for _, e := range s.recorder.Events() {
		switch {
		case e.Reason != c.reason || c.container != "" && containerOf(e) != c.container:
			continue
		case c.kind != "" && c.kind != e.Type:
			others = append(others, e.Type+" "+e.Message)
			continue
		}
		if ok, _ := c.message.holds(e.Message); !ok {
			others = append(others, e.Message)
			continue
		}
		n += int(max(e.Count, 1))
	}
	got := fmt.Sprintf("%d times", n)
	if len(others) > 0 {
		got += inParentheses("of that reason there is: " + shorten(strings.Join(others, "; ")))
	}
	switch {
	case c.count == nil && n > 0, c.count != nil && c.count.holds(n):
		return f.pass("%s", got)
	case c.count != nil && c.count.high >= 0 && n > c.count.high:
		return f.fail(never, "%s", got)
	}
	return f.fail(asked, "%s", got)
}

// containerOf is the container that an event is about; empty for one that is about the pod.
func containerOf(e corev1.Event) string {
	_, name, ok := strings.Cut(e.InvolvedObject.FieldPath, "{")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(name, "}")
}

func (c *eventsCheck) String() string {
	parts := []string{"event " + c.reason}
	if c.kind != "" {
		parts = append(parts, "of type "+c.kind)
	}
	if c.container != "" {
		parts = append(parts, "of "+c.container)
	}
	if !c.message.empty() {
		parts = append(parts, "with a message that "+c.message.String())
	}
	if c.count != nil {
		parts = append(parts, c.count.String()+" times")
	}
	return strings.Join(parts, " ")
}

func (l *loader) eventsCheck(n *yaml.Node) check {
	c := &eventsCheck{pos: l.pos(n)}
	l.mapping(n, "events", fields{
		"reason": func(v *yaml.Node) { c.reason = l.word(v, "reason of an event", eventReasons...) },
		"type": func(v *yaml.Node) {
			c.kind = l.word(v, "type of event", corev1.EventTypeNormal, corev1.EventTypeWarning)
		},
		"container": func(v *yaml.Node) { c.container = l.container(v) },
		"message":   func(v *yaml.Node) { c.message = l.textMatch(v, "message") },
		"count":     func(v *yaml.Node) { b := l.bound(v); c.count = &b },
	}, nil)
	l.need(n, "events", "reason")
	return c
}

// recorderFor is the recorder of a course's events; nil if no step asks for them.
func recorderFor(steps []Step, pods []*corev1.Pod) *events.Recorder {
	for _, s := range steps {
		v, ok := s.do.(*expectVerb)
		if ok && slices.ContainsFunc(v.checks, func(c check) bool { _, is := c.(*eventsCheck); return is }) {
			return events.NewRecorder(timeline.Header{Pods: pods})
		}
	}
	return nil
}
