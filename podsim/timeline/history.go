package timeline

import (
	"strconv"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

// A History derives the moments of a run from its records, one after the other, and the pods' statuses with them.
// Statuses are folded again with pod.Status.Apply, so that what only a status tells (ready, initialized, back-off)
// is found in a stored timeline as in a live one.
type History struct {
	pods    map[string]*podHistory
	moments []Moment
	began   map[int]Record
	last    Record
	network map[string]pod.Network
}

// podHistory is one pod's status and what of it moments are made of.
type podHistory struct {
	spec   *corev1.Pod
	status pod.Status
	shown  shown
}

// shown is what moments of status compare.
type shown struct {
	ready, backOff       map[string]bool
	initialized, running bool
	allReady, podReady   bool
	succeeded, failed    bool
}

// NewHistory returns the history of a run of pods, in which nothing has happened. The pods are the planner's, with
// defaults filled in (a timeline's Header has them); they are only read.
func NewHistory(pods []*corev1.Pod) *History {
	h := &History{pods: map[string]*podHistory{}, began: map[int]Record{}, network: map[string]pod.Network{}}
	for _, p := range pods {
		h.pods[p.Name] = &podHistory{spec: p}
	}
	return h
}

// Moments returns the moments of a whole timeline, in the order of the records that told of them.
func Moments(pods []*corev1.Pod, v View) []Moment {
	h := NewHistory(pods)
	for r := range v.All() {
		h.Add(r)
	}
	return h.moments
}

// Add takes the next record.
func (h *History) Add(r Record) {
	h.last = r
	switch r.Kind {
	case pod.Began:
		h.began[r.Action.ID] = r
		h.begun(r)
	case pod.Ended:
		h.ended(r, h.began[r.Action.ID])
	case pod.Noted:
		h.noted(r)
	}
	h.fold(r)
}

// Moments are those so far. The caller does not change them.
func (h *History) Moments() []Moment { return h.moments }

// Len is the number of records taken.
func (h *History) Len() int { return h.last.Seq }

// Last is the record taken last; the zero Record if there is none.
func (h *History) Last() Record { return h.last }

// Status is a pod's status after the last record; the zero Status of an unknown pod.
func (h *History) Status(name string) pod.Status {
	if p := h.pods[name]; p != nil {
		return p.status
	}
	return pod.Status{}
}

// Pod is a pod as it is asked for after the last record; nil of an unknown one.
func (h *History) Pod(name string) *corev1.Pod {
	if p := h.pods[name]; p != nil {
		return p.spec
	}
	return nil
}

// Network is what a pod's set-up came to; ok is false before that.
func (h *History) Network(name string) (n pod.Network, ok bool) {
	n, ok = h.network[name]
	return n, ok
}

// point adds a moment whose instant is r's own.
func (h *History) point(what Happening, r Record, arg string) {
	h.moments = append(h.moments, Moment{Happening: what, Pod: r.Action.Pod, Subject: r.Action.Container, Arg: arg,
		Instance: r.Action.Instance, From: r.Time, To: r.Time, First: r.Seq, Last: r.Seq, follows: r.Kind == pod.Began})
}

// within adds a moment that lies between the two ends of an action.
func (h *History) within(what Happening, begin, end Record, arg string) {
	if begin.Seq == 0 {
		begin = end
	}
	m := Moment{Happening: what, Pod: end.Action.Pod, Subject: end.Action.Container, Arg: arg, Instance: end.Action.Instance,
		From: begin.Time, To: end.Time, First: begin.Seq, Last: end.Seq, follows: begin.Kind == pod.Began}
	if m.To.Before(m.From) {
		m.To = m.From
	}
	h.moments = append(h.moments, m)
}

func (h *History) begun(r Record) {
	switch r.Action.Op {
	case pod.OpDelete:
		h.point(PodDeleteRequested, r, "")
	case pod.OpHook:
		if r.Action.Hook == pod.HookPostStart {
			h.point(PostStartBegin, r, "")
		} else {
			h.point(PreStopBegin, r, "")
		}
	}
}

func (h *History) ended(r, begin Record) {
	if r.Action.Op == pod.OpHook { // a hook that failed has ended too
		if r.Action.Hook == pod.HookPostStart {
			h.point(PostStartEnd, r, "")
		} else {
			h.point(PreStopEnd, r, "")
		}
		return
	}
	if r.Failure != nil {
		return
	}
	switch r.Action.Op {
	case pod.OpSetUp:
		if r.Network != nil {
			h.network[r.Action.Pod] = *r.Network
		}
		h.within(PodNetwork, begin, r, "")
	case pod.OpPull:
		h.within(Pulled, begin, r, "")
	case pod.OpCreate:
		h.within(Created, begin, r, "")
	case pod.OpStart:
		h.within(Started, begin, r, "")
		if r.Action.Instance > 0 {
			h.within(Restarted, begin, r, "")
		}
	case pod.OpSignal:
		switch r.Action.Signal {
		case "TERM":
			h.within(SignalTERM, begin, r, "")
		case "KILL":
			h.within(SignalKILL, begin, r, "")
		}
	case pod.OpAwait:
		h.exited(r)
	case pod.OpProbe:
		h.probed(r, begin)
	case pod.OpUpdate:
		h.updated(r, begin)
	case pod.OpRefresh:
		h.within(PodRefreshed, begin, r, "")
	}
}

// updated has the pod be what it is asked for from now on.
func (h *History) updated(r, begin Record) {
	if p := h.pods[r.Action.Pod]; p != nil && begin.Action.Spec != nil {
		p.spec = begin.Action.Spec
	}
	h.within(PodUpdated, begin, r, "")
}

func (h *History) exited(r Record) {
	if r.Exit == nil {
		return
	}
	h.point(Exited, r, strconv.Itoa(r.Exit.Code))
	if r.Exit.OOMKilled {
		h.point(OOM, r, "")
	}
}

func (h *History) probed(r, begin Record) {
	if r.Probe == nil {
		return
	}
	switch r.Probe.Result {
	case pod.Failed:
		h.within(ProbeFail, begin, r, r.Action.Probe.String())
	case pod.Success:
		if r.Action.Probe == pod.ProbeStartup {
			h.within(StartupOK, begin, r, "")
		}
	}
}

func (h *History) noted(r Record) {
	switch r.Note {
	case pod.NoteRules:
		h.point(RulesInstalled, r, "")
		h.moments[len(h.moments)-1].Subject = ""
	case pod.NoteConnected:
		h.point(StubConnected, r, "")
		h.moments[len(h.moments)-1].Subject = r.Subject
	}
}

// fold applies the record to its pod and adds the moments of what changed in the status.
func (h *History) fold(r Record) {
	p := h.pods[r.Action.Pod]
	if p == nil || r.Kind == pod.Noted {
		return
	}
	status, err := p.status.Apply(r.Event)
	if err != nil {
		return // the driver has met the same error and ended the run with it
	}
	p.status = status
	if r.Action.Op > pod.OpTearDown && r.Action.Op != pod.OpUp && r.Action.Op != pod.OpUpdate && r.Action.Op != pod.OpDelete {
		return
	}
	was, is := p.shown, show(status.PodStatus(p.spec, r.Time))
	p.shown = is
	h.changes(r, p.spec, was, is)
}

func (h *History) changes(r Record, spec *corev1.Pod, was, is shown) {
	change := func(what Happening, container string, before, after bool) {
		if before || !after {
			return
		}
		h.moments = append(h.moments, Moment{Happening: what, Pod: spec.Name, Subject: container, From: r.Time, To: r.Time,
			First: r.Seq, Last: r.Seq, follows: true, derived: true})
	}
	for _, name := range containerNames(spec) {
		change(Ready, name, was.ready[name], is.ready[name])
		change(NotReady, name, !was.ready[name], !is.ready[name])
		change(BackOff, name, was.backOff[name], is.backOff[name])
	}
	change(PodInitialized, "", was.initialized, is.initialized)
	change(PodRunning, "", was.running, is.running)
	change(PodContainersReady, "", was.allReady, is.allReady)
	change(PodReady, "", was.podReady, is.podReady)
	change(PodNotReady, "", !was.podReady, !is.podReady)
	change(PodSucceeded, "", was.succeeded, is.succeeded)
	change(PodFailed, "", was.failed, is.failed)
}

func show(s corev1.PodStatus) shown {
	v := shown{ready: map[string]bool{}, backOff: map[string]bool{},
		running: s.Phase == corev1.PodRunning, succeeded: s.Phase == corev1.PodSucceeded, failed: s.Phase == corev1.PodFailed}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			v.ready[c.Name] = c.Ready
			if w := c.State.Waiting; w != nil {
				v.backOff[c.Name] = w.Reason == "CrashLoopBackOff" || w.Reason == "ImagePullBackOff"
			}
		}
	}
	for _, c := range s.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == corev1.PodInitialized:
			v.initialized = true
		case c.Type == corev1.ContainersReady:
			v.allReady = true
		case c.Type == corev1.PodReady:
			v.podReady = true
		}
	}
	return v
}

func containerNames(p *corev1.Pod) []string {
	var names []string
	for _, c := range p.Spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range p.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}

// Spans are the times between a happening of subject and the other one of the same instance: (PostStartBegin,
// PostStartEnd) is each postStart hook, (Started, Exited) each instance's life. Where both are the same, they are
// the actions that brought the moments about: (Pulled, Pulled) is each pull.
func (h *History) Spans(subject string, from, to Happening) []Span {
	var out []Span
	for i, a := range h.moments {
		if a.Happening != from || a.Subject != subject {
			continue
		}
		if from == to {
			out = append(out, Span{From: a.From, To: a.To, First: a.First, Last: a.Last})
			continue
		}
		s := Span{From: a.To, To: h.last.Time, Open: true, First: a.First, Last: h.last.Seq}
		for _, b := range h.moments[i+1:] {
			if b.Happening == to && b.Subject == subject && b.Instance == a.Instance {
				s.To, s.Last, s.Open = b.From, b.Last, false
				break
			}
		}
		out = append(out, s)
	}
	return out
}
