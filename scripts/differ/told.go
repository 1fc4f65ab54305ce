package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A teller reduces Kubernetes' events, as they come or change, to the vocabulary. Its zero value is ready.
type teller struct {
	counts  map[string]int32 // by the event's name: how often it had come
	created map[string]int   // by container
}

// toldKinds are the kinds that a teller finds.
var toldKinds = []What{Pulled, Created, Started, Failed, Unhealthy, Killing, BackOff, HookFailed}

// add takes an event as it is now, and returns what has happened since it was taken last, at which is between from and
// to. Events that are not about the life of a container are passed over.
func (t *teller) add(e *corev1.Event, from, to time.Time) (out []Event) {
	if t.counts == nil {
		t.counts, t.created = map[string]int32{}, map[string]int{}
	}
	count := max(e.Count, 1)
	again := count - t.counts[e.Name]
	t.counts[e.Name] = count
	what, detail := kindOf(e.Reason, e.Message)
	container := containerIn(e.InvolvedObject.FieldPath)
	if what == 0 || container == "" {
		return nil
	}
	for range again {
		out = append(out, Event{What: what, Container: container, Instance: t.instance(container, what, detail), Detail: detail,
			Message: e.Message, From: from, To: to, Lane: LaneEvents})
	}
	return out
}

// instance tells which instance of a container an event is about, by how many were created before it.
func (t *teller) instance(container string, what What, detail string) int {
	n := t.created[container]
	switch {
	case what == Created:
		t.created[container]++
		return n
	case what == Pulled, what == BackOff && detail == "image":
		return n
	}
	return max(n-1, 0)
}

// kindOf reads an event's reason, and its message where the reason says too little; what is 0 for an event that is not
// compared.
func kindOf(reason, message string) (what What, detail string) {
	switch reason {
	case "Pulled":
		return Pulled, ""
	case "Created":
		return Created, ""
	case "Started":
		return Started, ""
	case "Failed", "ErrImageNeverPull", "InspectFailed":
		return Failed, ""
	case "Killing":
		return Killing, ""
	case "Unhealthy":
		kind, _, _ := strings.Cut(message, " ")
		return Unhealthy, strings.ToLower(kind)
	case "BackOff":
		if strings.HasPrefix(message, "Back-off pulling image") {
			return BackOff, "image"
		}
		return BackOff, "crash"
	case "FailedPostStartHook":
		return HookFailed, "postStart"
	case "FailedPreStopHook":
		return HookFailed, "preStop"
	}
	return 0, ""
}

var fieldPath = regexp.MustCompile(`^spec\.(?:initContainers|containers|ephemeralContainers)\{(.+)\}$`)

// containerIn is the container that a field path names, empty for none.
func containerIn(path string) string {
	if m := fieldPath.FindStringSubmatch(path); m != nil {
		return m[1]
	}
	return ""
}

// firstTime is when an event first came. The kubelet names it POD.NANOSECONDS, in hex, which its times, in whole
// seconds, do not tell.
func firstTime(e *corev1.Event) (from, to time.Time) {
	if i := strings.LastIndexByte(e.Name, '.'); i >= 0 {
		if n, err := strconv.ParseInt(e.Name[i+1:], 16, 64); err == nil && n > 1e18 {
			at := time.Unix(0, n).UTC()
			return at, at
		}
	}
	if !e.EventTime.IsZero() {
		return e.EventTime.Time, e.EventTime.Time
	}
	return second(e.FirstTimestamp.Time)
}

// second is the interval that a time in whole seconds stands for. A time that has more is exact.
func second(at time.Time) (from, to time.Time) {
	if at.IsZero() || at.Nanosecond() != 0 {
		return at, at
	}
	return at, at.Add(time.Second - 1)
}

// A reporter reduces the versions of one pod, as they come, to the vocabulary. Its zero value is ready.
type reporter struct {
	last  corev1.PodStatus
	known map[string]*known // by container
	at    time.Time         // the latest time that any version so far names
}

// known is what was reported of one container.
type known struct {
	exited         map[int]bool
	started, ready bool
	instance       int
}

// reportedKinds are the kinds that a reporter finds.
var reportedKinds = []What{StartedFlag, Ready, NotReady, Exited, Phase, Condition}

// add takes the next version, and returns what it tells for the first time. at is when it was made, zero if nobody knows.
func (r *reporter) add(p *corev1.Pod, at time.Time) (out []Event) {
	if r.known == nil {
		r.known = map[string]*known{}
	}
	st := &p.Status
	from, to := at, at
	if at.IsZero() {
		r.at = latest(r.at, st)
		from = r.at
	}
	say := func(what What, container string, instance int, detail string) {
		out = append(out, Event{What: what, Container: container, Instance: instance, Detail: detail, From: from, To: to, Lane: LaneStatus})
	}
	roles := rolesOf(p)
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			out = append(out, r.exits(&list[i], at)...)
			r.flags(&list[i], roles[list[i].Name], say)
		}
	}
	for _, c := range st.Conditions {
		was := conditionOf(r.last.Conditions, c.Type)
		if c.Status != was && (was != "" || c.Status == corev1.ConditionTrue) {
			say(Condition, "", 0, fmt.Sprintf("%s=%s", c.Type, c.Status))
		}
	}
	if st.Phase != r.last.Phase && st.Phase != "" {
		say(Phase, "", 0, string(st.Phase))
	}
	r.last = *st.DeepCopy()
	return out
}

func conditionOf(list []corev1.PodCondition, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range list {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}

// of is what is known of a container.
func (r *reporter) of(name string) *known {
	k := r.known[name]
	if k == nil {
		k = &known{exited: map[int]bool{}}
		r.known[name] = k
	}
	return k
}

// exits tells the ends of instances that were not told yet. A version has the last two.
func (r *reporter) exits(c *corev1.ContainerStatus, at time.Time) (out []Event) {
	k := r.of(c.Name)
	end := func(t *corev1.ContainerStateTerminated, instance int) {
		if t == nil || k.exited[instance] || instance < 0 || t.StartedAt.IsZero() && t.ContainerID == "" {
			return
		}
		k.exited[instance] = true
		from, to := second(t.FinishedAt.Time)
		if from.IsZero() {
			from, to = at, at
		}
		out = append(out, Event{What: Exited, Container: c.Name, Instance: instance, Detail: strconv.Itoa(int(t.ExitCode)), Message: t.Reason,
			From: from, To: to, Lane: LaneStatus})
	}
	// While an instance that has ended waits for the next one, its end is the last state, and the count has not risen
	// yet; a sync has it risen before there is another.
	last := int(c.RestartCount) - 1
	if c.State.Waiting != nil && c.ContainerID != "" && endOf(&c.LastTerminationState) == c.ContainerID {
		last++
	}
	end(c.LastTerminationState.Terminated, last)
	end(c.State.Terminated, int(c.RestartCount))
	return out
}

func endOf(s *corev1.ContainerState) string {
	if s.Terminated == nil {
		return ""
	}
	return s.Terminated.ContainerID
}

// flags tells changes of a container's flags. An init container that runs to its end is ready when it has, and of that
// its exit tells.
func (r *reporter) flags(c *corev1.ContainerStatus, role role, say func(What, string, int, string)) {
	k := r.of(c.Name)
	if role == roleInit {
		return
	}
	started := c.Started != nil && *c.Started
	instance := int(c.RestartCount)
	if started && (!k.started || instance != k.instance) {
		say(StartedFlag, c.Name, instance, "")
	}
	switch {
	case k.ready && (!c.Ready || instance != k.instance):
		say(NotReady, c.Name, k.instance, "")
		if c.Ready {
			say(Ready, c.Name, instance, "")
		}
	case c.Ready && !k.ready:
		say(Ready, c.Name, instance, "")
	}
	k.started, k.ready, k.instance = started, c.Ready, instance
}

// latest is the latest time that a status names, or was named before.
func latest(at time.Time, st *corev1.PodStatus) time.Time {
	later := func(t time.Time) {
		if t.After(at) {
			at = t
		}
	}
	if st.StartTime != nil {
		later(st.StartTime.Time)
	}
	for _, c := range st.Conditions {
		later(c.LastTransitionTime.Time)
	}
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			for _, s := range []*corev1.ContainerState{&list[i].State, &list[i].LastTerminationState} {
				if s.Running != nil {
					later(s.Running.StartedAt.Time)
				}
				if s.Terminated != nil {
					later(s.Terminated.FinishedAt.Time)
				}
			}
		}
	}
	return at
}
