package supervisor

import (
	"context"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// An Event is a change that a watch shows, as an API server would: of a pod, as it is after it.
type Event struct {
	Type string      `json:"type"` // ADDED, MODIFIED or DELETED
	Pod  *corev1.Pod `json:"object"`
}

// The types of an Event.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"
)

// ReasonLost is the reason in the status of a pod whose supervisor has died.
const ReasonLost = "SupervisorLost"

// An object is a pod as an API server would keep it. It is a timeline.Sink: each record may make a new version. It is
// safe for concurrent use.
type object struct {
	mu      sync.Mutex
	pod     *corev1.Pod // the newest version; a version is never changed
	status  pod.Status
	version int64
	taken   int    // how many asks of others were answered
	refusal string // why the newest of them was not followed; empty: it was
	gone    bool   // DELETED has been said
	left    bool   // nothing happens to it any more, and it is not deleted

	watchers map[*watcher]bool
	changed  chan struct{} // closed at the next record
}

// newObject makes the object of a pod that was just accepted.
func newObject(p *corev1.Pod, now time.Time) *object {
	o := &object{watchers: map[*watcher]bool{}, changed: make(chan struct{})}
	fresh := p.DeepCopy()
	fresh.Generation = 1
	if fresh.CreationTimestamp.IsZero() {
		fresh.CreationTimestamp = metav1.NewTime(now.Truncate(time.Second))
	}
	o.pod = fresh
	o.publish(o.reported(fresh, now))
	return o
}

// objectOf makes the object of a pod as a timeline tells it.
func objectOf(p *corev1.Pod, v timeline.View, begin time.Time) *object {
	o := newObject(p, begin)
	for r := range v.All() {
		o.Record(r)
	}
	return o
}

// Record takes one record of the run.
func (o *object) Record(r timeline.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wake()
	if r.Action.Pod != o.pod.Name {
		return
	}
	if r.Kind == pod.Noted && r.Note == pod.NoteRefused {
		o.taken, o.refusal = o.taken+1, r.Detail
	}
	next, err := o.status.Apply(r.Event)
	if err != nil {
		return // the driver has met the same error, and ends the run with it
	}
	o.status = next
	p := o.pod.DeepCopy()
	if r.Kind == pod.Ended {
		switch r.Action.Op {
		case pod.OpDelete:
			o.taken, o.refusal = o.taken+1, ""
			markDeleted(p, r.Action.Grace, r.Time)
		case pod.OpUpdate:
			o.taken, o.refusal = o.taken+1, ""
			take(p, r.Action.Spec)
		}
	}
	o.publish(o.reported(p, r.Time))
}

// take has an object be what is asked for now. What the API server keeps of it stays.
func take(p, asked *corev1.Pod) {
	spec := asked.Spec
	if spec.NodeName == "" {
		spec.NodeName = p.Spec.NodeName
	}
	if !equality.Semantic.DeepEqual(p.Spec, spec) {
		p.Generation++
	}
	p.Spec, p.Labels, p.Annotations = spec, asked.Labels, asked.Annotations
}

// markDeleted sets when a pod is to be gone, as an API server reckons it. A later delete can only shorten (TM-09).
func markDeleted(p *corev1.Pod, grace *int64, at time.Time) {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
		seconds = *g
	}
	if grace != nil {
		seconds = max(*grace, 0)
	}
	until := at.Add(time.Duration(seconds) * time.Second)
	if p.DeletionTimestamp != nil {
		before := *p.DeletionGracePeriodSeconds
		if seconds >= before {
			return
		}
		// The first delete's moment stays the one that counts, as long as that is not over.
		until = p.DeletionTimestamp.Add(time.Duration(seconds-before) * time.Second)
		if until.Before(at) {
			until, seconds = at, 1
		}
	}
	moment := metav1.NewTime(until.Truncate(time.Second))
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &moment, &seconds
}

// refresh takes what changes with time alone: one reason that follows another.
func (o *object) refresh(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.gone {
		o.publish(o.reported(o.pod.DeepCopy(), now))
	}
}

// reported fills in the status.
func (o *object) reported(p *corev1.Pod, now time.Time) *corev1.Pod {
	p.Status = o.status.PodStatus(p, now)
	if o.status.Kubelet().Version.Minor() >= observedGenerationSince {
		p.Status.ObservedGeneration = p.Generation
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].ObservedGeneration = p.Generation
		}
	}
	if p.Spec.NodeName == "" {
		p.Spec.NodeName = host.NodeName
	}
	return p
}

// observedGenerationSince is the N of the release 1.N from which on kubelets report the generation that a status is of
// (feature gate PodObservedGenerationTracking).
const observedGenerationSince = 34

// publish makes p the newest version, if it differs from the one before. The caller holds mu.
func (o *object) publish(p *corev1.Pod) {
	p.ResourceVersion = o.pod.ResourceVersion
	if o.version > 0 && equality.Semantic.DeepEqual(o.pod, p) {
		return
	}
	o.version++
	p.ResourceVersion = strconv.FormatInt(o.version, 10)
	o.pod = p
	for w := range o.watchers {
		w.add(Event{Modified, p})
	}
}

func (o *object) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// current is the newest version, and the status that it was made of.
func (o *object) current() (*corev1.Pod, pod.Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pod, o.status
}

// asksTaken is how many asks were answered.
func (o *object) asksTaken() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken
}

// awaitAsk waits until more than n asks were answered, or the object is no more. The error says that the last was not
// followed.
func (o *object) awaitAsk(ctx context.Context, n int) error {
	for {
		o.mu.Lock()
		taken, refusal, gone, changed := o.taken > n, o.refusal, o.gone || o.left, o.changed
		o.mu.Unlock()
		switch {
		case taken && refusal != "":
			return &RefusedError{refusal}
		case taken:
			return nil
		case gone:
			return errGone
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// end says that the object is no more, to those who watch and those who wait.
func (o *object) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return
	}
	o.gone = true
	o.version++
	p := o.pod.DeepCopy()
	p.ResourceVersion = strconv.FormatInt(o.version, 10)
	o.pod = p
	for w := range o.watchers {
		w.add(Event{Deleted, p})
		w.close()
	}
	o.watchers = nil
	o.wake()
}

// leave says that nobody will answer any more, to those who wait for an answer.
func (o *object) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = true
	o.wake()
}

// replace makes a pod that has ended another, as far as an API server lets it: nothing happens to its containers any more.
func (o *object) replace(asked *corev1.Pod) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pod.DeepCopy()
	take(p, asked)
	o.publish(p)
}

// maxBehind bounds the versions that wait for one watcher. One that does not read is cut off, as an API server does it.
const maxBehind = 10_000

// A watcher is told of every version, in order, however slowly it takes them.
type watcher struct {
	mu     sync.Mutex
	events []Event
	closed bool
	more   chan struct{} // holds one value when there is something to take
}

// watch begins to watch: the version there is comes as ADDED.
func (o *object) watch() *watcher {
	w := &watcher{more: make(chan struct{}, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	w.add(Event{Added, o.pod})
	if o.gone {
		w.add(Event{Deleted, o.pod})
		w.close()
		return w
	}
	o.watchers[w] = true
	return w
}

func (o *object) unwatch(w *watcher) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.watchers, w)
}

func (w *watcher) add(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) >= maxBehind {
		w.closed = true
	}
	if !w.closed {
		w.events = append(w.events, e)
	}
	w.signal()
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// next returns the events that came since, and whether there will be more. It waits for either.
func (w *watcher) next(ctx context.Context) (events []Event, more bool) {
	for {
		w.mu.Lock()
		events, closed := w.events, w.closed
		w.events = nil
		w.mu.Unlock()
		if len(events) > 0 || closed {
			return events, !closed
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return nil, false
		}
	}
}
