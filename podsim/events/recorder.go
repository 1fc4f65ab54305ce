package events

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// Who says events.
const (
	kubelet   = "kubelet"
	scheduler = "default-scheduler"
)

// node is the node of a pod that names none.
const node = "podsim"

// Of returns the events of a timeline, pod by pod in the header's order, and those of one pod in the order in which
// they first came. The caller owns them.
//
// A timeline that goes on has at least the events of its beginning: their names and first times stay, counts rise.
func Of(h timeline.Header, v timeline.View) []corev1.Event {
	r := NewRecorder(h)
	for rec := range v.All() {
		r.Add(rec)
	}
	return r.Events()
}

// A Recorder derives the events of a run from its records, one after the other. It is not safe for concurrent use.
type Recorder struct {
	pods  map[string]*subject
	order []*subject
}

// NewRecorder returns the recorder of a run in which nothing has happened. The header's pods are only read.
func NewRecorder(h timeline.Header) *Recorder {
	r := &Recorder{pods: map[string]*subject{}}
	for _, p := range h.Pods {
		s := &subject{pod: p, said: newCorrelator(), killing: map[string]killing{}, open: map[int]pod.Event{}, fetching: map[string]bool{}}
		r.pods[p.Name] = s
		r.order = append(r.order, s)
	}
	return r
}

// Events are those so far. The caller owns them.
func (r *Recorder) Events() []corev1.Event {
	var out []corev1.Event
	for _, s := range r.order {
		out = append(out, s.said.events...)
	}
	return out
}

// Add takes the next record and returns the events that came or changed by it, as they are now.
func (r *Recorder) Add(rec timeline.Record) []corev1.Event {
	s := r.pods[rec.Action.Pod]
	if s == nil {
		return nil
	}
	s.changed = s.changed[:0]
	s.record(rec.Event)
	var out []corev1.Event
	for _, i := range s.changed {
		out = append(out, s.said.events[i])
	}
	return out
}

// A subject is one pod and what has been said of it.
type subject struct {
	pod    *corev1.Pod
	status pod.Status
	said   correlator
	// changed are the places among the events that the current record has changed.
	changed []int

	open        map[int]pod.Event // the beginnings of the actions in flight, by their ID
	fetching    map[string]bool   // containers whose image is being fetched
	killing     map[string]killing
	terminating bool
	grace       int64
	sync        int      // the newest sync of which anything was seen
	unpulled    []string // containers whose image could not be pulled in it
}

// record takes an event of the pod's.
func (s *subject) record(e pod.Event) {
	if e.Kind == pod.Noted {
		if e.Note == pod.NotePulling {
			s.pulling(e.Action.Container, e.Action.Image, e.Time)
		}
		return
	}
	before := s.status
	after, err := before.Apply(e)
	if err != nil {
		return // the driver has met the same error and ended the run with it
	}
	s.status = after
	s.passedOver(e)
	s.ending(&before, e)
	if e.Kind == pod.Began {
		s.open[e.Action.ID] = e
		s.begun(e)
	} else {
		began := s.open[e.Action.ID]
		delete(s.open, e.Action.ID)
		s.ended(began, e)
	}
	s.settled(e.Time)
}

// begun says what there is to say of an action's beginning.
func (s *subject) begun(e pod.Event) {
	a := e.Action
	switch {
	case a.Op == pod.OpPull:
		delete(s.fetching, a.Container)
	case a.Stop != 0 && (a.Op == pod.OpSignal || a.Op == pod.OpHook):
		s.stopping(a, e.Time)
	}
}

// ended says what there is to say of an action's end.
func (s *subject) ended(began, e pod.Event) {
	a := began.Action
	switch a.Op {
	case pod.OpUp:
		s.scheduled(e.Time)
	case pod.OpUpdate:
		s.pod = a.Spec
	case pod.OpDelete:
		s.deleted(a, e.Time)
	case pod.OpSetUp:
		s.setUp(e)
	case pod.OpPull:
		s.pulled(began, e)
	case pod.OpCreate:
		if e.Failure != nil {
			s.warn(a.Container, "Failed", e.Time, "Error: %s", e.Failure.Message)
			return
		}
		s.normal(a.Container, "Created", e.Time, "%s", s.words("Container created", "Created container: "+a.Container))
	case pod.OpStart:
		if e.Failure != nil {
			s.warn(a.Container, "Failed", e.Time, "Error: %s", s.nameless(a.Container, e.Failure.Message))
			s.crashed(a.Container, e.Time)
			return
		}
		s.normal(a.Container, "Started", e.Time, "%s", s.words("Container started", "Started container "+a.Container))
	case pod.OpAwait:
		s.crashed(a.Container, e.Time)
	case pod.OpProbe:
		s.probed(a, e)
	case pod.OpHook:
		s.hooked(a, e)
	}
}

// nameless is a message with the container's name in the place of its ID, which no two instances share.
func (s *subject) nameless(container, message string) string {
	if c, ok := s.status.Container(container); ok && c.ContainerID != "" {
		return strings.ReplaceAll(message, c.ContainerID, container)
	}
	return message
}

// scheduled says that the pod has found its node: the scheduler's word, in the form of the newer events API.
func (s *subject) scheduled(at time.Time) {
	e := s.event("", corev1.EventTypeNormal, "Scheduled", fmt.Sprintf("Successfully assigned %s/%s to %s", s.pod.Namespace, s.pod.Name, s.node()), at)
	e.Name = s.said.name(s.pod.Name, at)
	e.FirstTimestamp, e.LastTimestamp, e.Count = metav1.Time{}, metav1.Time{}, 0
	e.EventTime, e.Action = metav1.NewMicroTime(at), "Binding"
	e.Source = corev1.EventSource{}
	e.ReportingController, e.ReportingInstance = scheduler, scheduler+"-"+s.node()
	s.changed = append(s.changed, s.said.put(e))
}

// setUp says why the pod could not be set up.
func (s *subject) setUp(e pod.Event) {
	switch {
	case e.Failure == nil:
	case e.Failure.Reason == "FailedMount":
		s.warn("", "FailedMount", e.Time, "%s", mountFailure(e.Failure.Message))
	case s.status.Deleting(): // then it is no error
	default:
		s.warn("", "FailedCreatePodSandBox", e.Time, "Failed to create pod sandbox: %s", e.Failure.Message)
	}
}

// mountFailure says in the kubelet's words why a volume could not be set up.
func mountFailure(message string) string {
	volume, why, ok := strings.Cut(strings.TrimPrefix(message, "set up volume "), ": ")
	if !ok || !strings.HasPrefix(message, "set up volume ") {
		return message
	}
	return fmt.Sprintf("MountVolume.SetUp failed for volume %s : %s", volume, why)
}

// probed says what a probe found, where that is not well (PB-27, PB-09).
func (s *subject) probed(a pod.Action, e pod.Event) {
	if e.Probe == nil {
		return
	}
	kind := map[pod.ProbeKind]string{pod.ProbeStartup: "Startup", pod.ProbeLiveness: "Liveness", pod.ProbeReadiness: "Readiness"}[a.Probe]
	switch {
	case e.Probe.Result == pod.Failed:
		s.warn(a.Container, "Unhealthy", e.Time, "%s probe failed: %s", kind, e.Probe.Output)
	case e.Probe.Result == pod.Unknown:
		s.warn(a.Container, "Unhealthy", e.Time, "%s probe errored and resulted in unknown state: %s", kind, e.Probe.Output)
	case e.Probe.Output != "":
		s.warn(a.Container, "ProbeWarning", e.Time, "%s probe warning: %s", kind, e.Probe.Output)
	}
}

// hooked says that a hook failed, and of a postStart hook what follows (LH-02, TM-13). Its own words are not said,
// since there may be secrets in them.
func (s *subject) hooked(a pod.Action, e pod.Event) {
	switch {
	case e.Failure == nil:
	case a.Hook == pod.HookPreStop:
		s.warn(a.Container, "FailedPreStopHook", e.Time, "PreStopHook failed")
	default:
		s.warn(a.Container, "FailedPostStartHook", e.Time, "PostStartHook failed")
		s.kill(a.Container, a.Instance, pod.StopPostStart, "FailedPostStartHook", e.Time)
	}
}

// words are the kubelet's, as of 1.35 or as they were before.
func (s *subject) words(now, before string) string {
	if s.status.Kubelet().Version.Minor() >= 35 {
		return now
	}
	return before
}

func (s *subject) normal(container, reason string, at time.Time, format string, args ...any) {
	s.say(container, corev1.EventTypeNormal, reason, at, format, args...)
}

func (s *subject) warn(container, reason string, at time.Time, format string, args ...any) {
	s.say(container, corev1.EventTypeWarning, reason, at, format, args...)
}

// say has the kubelet's recorder take an event about a container or, if that is empty, about the pod.
func (s *subject) say(container, eventType, reason string, at time.Time, format string, args ...any) {
	e := s.event(container, eventType, reason, fmt.Sprintf(format, args...), at)
	if i, ok := s.said.add(e, at); ok {
		s.changed = append(s.changed, i)
	}
}

// event is an event of the kubelet's that has come once. It has no name yet.
func (s *subject) event(container, eventType, reason, message string, at time.Time) corev1.Event {
	t := metav1.NewTime(at)
	return corev1.Event{
		TypeMeta:       metav1.TypeMeta{Kind: "Event", APIVersion: "v1"},
		ObjectMeta:     metav1.ObjectMeta{Namespace: s.pod.Namespace, CreationTimestamp: t},
		InvolvedObject: s.reference(container),
		Reason:         reason, Message: message, Type: eventType,
		FirstTimestamp: t, LastTimestamp: t, Count: 1,
		Source:              corev1.EventSource{Component: kubelet, Host: s.node()},
		ReportingController: kubelet, ReportingInstance: s.node(),
	}
}

func (s *subject) node() string {
	if s.pod.Spec.NodeName != "" {
		return s.pod.Spec.NodeName
	}
	return node
}

// reference names the pod, or one of its containers.
func (s *subject) reference(container string) corev1.ObjectReference {
	r := corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: s.pod.Namespace, Name: s.pod.Name,
		UID: s.pod.UID, ResourceVersion: s.pod.ResourceVersion}
	if container != "" {
		r.FieldPath = fieldPath(s.pod, container)
	}
	return r
}

// fieldPath is where a pod has a container, as the kubelet writes it.
func fieldPath(p *corev1.Pod, container string) string {
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == container {
			return fmt.Sprintf("spec.initContainers{%s}", container)
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if p.Spec.EphemeralContainers[i].Name == container {
			return fmt.Sprintf("spec.ephemeralContainers{%s}", container)
		}
	}
	return fmt.Sprintf("spec.containers{%s}", container)
}
