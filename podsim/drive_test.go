package podsim_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/pod/podtest"
	"github.com/podsim/podsim/podsim/timeline"
)

// job is a pod whose main container ends after a minute, beside a sidecar that does not.
func job(name string) (*corev1.Pod, pod.Script) {
	always, grace := corev1.ContainerRestartPolicyAlways, int64(30)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &grace,
			InitContainers:                []corev1.Container{{Name: "proxy", Image: "i:1", RestartPolicy: &always}},
			Containers:                    []corev1.Container{{Name: "work", Image: "i:1"}},
		},
	}
	return p, pod.Script{Containers: map[string]pod.Behaviour{"work": {Lives: []pod.Life{{Ends: true, After: time.Minute}}}}}
}

// A counter is a sink that keeps what it is told, and knows whether it was flushed before each wait.
type counter struct {
	records []timeline.Record
	flushed int
}

func (c *counter) Record(r timeline.Record) { c.records = append(c.records, r) }

func (c *counter) Flush() error {
	c.flushed = len(c.records)
	return errors.New("a sink's error is its own")
}

// A reader follows a run by what its sink was given to flush, until the run is reaped.
type reader struct {
	*podtest.Host
	sink *counter
	read int
}

func (r *reader) Reap(ctx context.Context) error {
	r.read = r.sink.flushed
	return r.Host.Reap(ctx)
}

func TestWhoFollowsARunIsToldOfAllThatHappenedBeforeItIsReaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		sink := &counter{}
		host := &reader{Host: &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}, sink: sink}
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Sinks: []timeline.Sink{sink}}
		v, err := run.Drive(t.Context())
		if err != nil {
			t.Fatalf("Drive: %v", err)
		}
		if host.read != v.Len()-1 { // but for the word of how the reap went
			t.Errorf("%d of %d records were flushed when the run was reaped", host.read, v.Len())
		}
	})
}

func TestARunGoesFromNothingToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		q, _ := job("b")
		host := &podtest.Host{Pods: []*corev1.Pod{p, q}, Scripts: map[string]pod.Script{"a": script, "b": script}}
		sink := &counter{}
		run := podsim.Run{Pods: []*corev1.Pod{p, q}, Host: host, Kubelet: pod.Kubelet{Version: 35}, Sinks: []timeline.Sink{sink}}
		v, err := run.Drive(t.Context())
		if err != nil {
			t.Fatalf("Drive: %v", err)
		}
		for r := range v.Until(4).All() {
			if r.Kind == pod.Began && (r.Action.Op != pod.OpUp || r.Action.Kubelet == nil || r.Action.Kubelet.Version != 35) {
				t.Errorf("the pod is accepted by another kubelet: %+v", r.Action)
			}
		}
		if host.Reaps() != 1 || len(host.Left()) > 0 {
			t.Errorf("reaped %d times, left %v; want once, and nothing", host.Reaps(), host.Left())
		}
		if sink.flushed != v.Len() || len(sink.records) != v.Len() {
			t.Errorf("the sink was told of %d records and flushed at %d of %d", len(sink.records), sink.flushed, v.Len())
		}
		for _, p := range run.Pods {
			if phase := fold(t, v, p).Phase(p); phase != corev1.PodSucceeded {
				t.Errorf("pod %s ended as %s, want Succeeded", p.Name, phase)
			}
		}
		checkIDs(t, v)
	})
}

// checkIDs holds the driver to its word: every action begins once, with an ID that rises from 1, and ends at most once.
func checkIDs(t *testing.T, v timeline.View) {
	t.Helper()
	last := 0
	open := make(map[int]bool)
	for r := range v.All() {
		switch r.Kind {
		case pod.Began:
			if r.Action.ID != last+1 {
				t.Errorf("record %d begins action %d; the one before was %d", r.Seq, r.Action.ID, last)
			}
			last = r.Action.ID
			open[last] = true
		case pod.Ended:
			if !open[r.Action.ID] {
				t.Errorf("record %d ends action %d, which is not open", r.Seq, r.Action.ID)
			}
			delete(open, r.Action.ID)
		}
	}
}

func fold(t *testing.T, v timeline.View, p *corev1.Pod) pod.Status {
	t.Helper()
	var s pod.Status
	for r := range v.All() {
		if r.Action.Pod != p.Name {
			continue
		}
		next, err := s.Apply(r.Event)
		if err != nil {
			t.Fatalf("record %d: %v", r.Seq, err)
		}
		s = next
	}
	return s
}

func TestAnAskFromOutsideDeletesThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}
		asks := make(chan pod.Action)
		go func() {
			<-time.After(5 * time.Second)
			asks <- pod.Action{Op: pod.OpDelete, Pod: "a"}
			close(asks)
		}()
		began := time.Now()
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Asks: asks}
		v, err := run.Drive(t.Context())
		if err != nil {
			t.Fatalf("Drive: %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the run took %v, want a few seconds: the delete came after five", took)
		}
		if !fold(t, v, p).Gone() || len(host.Left()) > 0 {
			t.Errorf("the pod is not gone; left %v", host.Left())
		}
	})
}

func TestAFailureOfTheHostEndsTheRunAndIsNamed(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []pod.Op{pod.OpSetUp, pod.OpPrepare, pod.OpPull, pod.OpCreate, pod.OpStart, pod.OpAwait, pod.OpSignal, pod.OpTearDown} {
		t.Run(op.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := job("a")
				host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}, Faults: []podtest.Fault{{Op: op, Err: boom}}}
				run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host}
				v, err := run.Drive(t.Context())
				if !errors.Is(err, boom) || !strings.Contains(err.Error(), op.String()) {
					t.Errorf("Drive: %v, want boom, and %s named", err, op)
				}
				if host.Reaps() != 1 || len(host.Left()) > 0 {
					t.Errorf("reaped %d times, left %v; want once, and nothing", host.Reaps(), host.Left())
				}
				checkIDs(t, v)
			})
		})
	}
}

func TestACancelledRunIsReapedThoughAnActionHangs(t *testing.T) {
	stopped := errors.New("interrupted twice")
	for _, op := range []pod.Op{pod.OpSetUp, pod.OpCreate, pod.OpStart, pod.OpAwait} {
		t.Run(op.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := job("a")
				host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}, Faults: []podtest.Fault{{Op: op}}}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Hour, func() { cancel(stopped) })
				run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host}
				_, err := run.Drive(ctx)
				if !errors.Is(err, stopped) {
					t.Errorf("Drive: %v, want the context's cause", err)
				}
				if host.Reaps() != 1 || len(host.Left()) > 0 {
					t.Errorf("reaped %d times, left %v; want once, and nothing", host.Reaps(), host.Left())
				}
			})
		})
	}
}

func TestWhatCannotBeRemovedIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		busy := errors.New("device or resource busy")
		host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}, ReapErr: busy}
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host}
		_, err := run.Drive(t.Context())
		left, ok := errors.AsType[*podsim.ReapError](err)
		if !ok || !errors.Is(left, busy) {
			t.Errorf("Drive: %v, want a ReapError that says why", err)
		}
		run.Retain = true
		host2 := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}
		run.Host = host2
		if _, err := run.Drive(t.Context()); err != nil || host2.Reaps() != 0 {
			t.Errorf("with Retain: %v, reaped %d times; want no reap", err, host2.Reaps())
		}
	})
}

func TestANoteIsOnTheTimelineWhenItsSenderGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}
		notes := make(chan pod.Event)
		sink := &counter{}
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Notes: notes, Sinks: []timeline.Sink{sink}}
		go func() {
			for range 100 {
				notes <- pod.Event{Kind: pod.Noted, Note: pod.NoteConnected, Subject: "api"}
			}
			close(notes)
		}()
		v, err := run.Drive(t.Context())
		if err != nil {
			t.Fatalf("Drive: %v", err)
		}
		n := 0
		for r := range v.All() {
			if r.Note == pod.NoteConnected {
				n++
				if r.Time.IsZero() {
					t.Errorf("note %d has no time", n)
				}
			}
		}
		if n != 100 {
			t.Errorf("%d notes are on the timeline, want 100: none may be dropped", n)
		}
	})
}

// restless asks for a mark at every call.
type restless struct{}

func (restless) Next(timeline.View, map[string]pod.Status, time.Time) pod.Plan {
	return pod.Plan{Actions: []pod.Action{{Op: pod.OpMark}}}
}

// sleepless asks to be woken in the past.
type sleepless struct{}

func (sleepless) Next(_ timeline.View, _ map[string]pod.Status, now time.Time) pod.Plan {
	return pod.Plan{Wake: now.Add(-time.Second)}
}

func TestADirectorThatDoesNotRestIsAnErrorAndNoSpin(t *testing.T) {
	for name, d := range map[string]podsim.Director{"repeats itself": restless{}, "is woken in the past": sleepless{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := job("a")
				host := &podtest.Host{Pods: []*corev1.Pod{p}}
				run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Director: d}
				if _, err := run.Drive(t.Context()); err == nil || host.Reaps() != 1 {
					t.Errorf("Drive: %v, reaped %d times; want an error, and once", err, host.Reaps())
				}
			})
		})
	}
}

func TestAnActionForAPodThatIsNotThereIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := job("a")
		host := &podtest.Host{Pods: []*corev1.Pod{p}}
		asks := make(chan pod.Action, 1)
		asks <- pod.Action{Op: pod.OpDelete, Pod: "nobody"}
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Asks: asks}
		if _, err := run.Drive(t.Context()); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
			t.Errorf("Drive: %v, want the pod named", err)
		}
	})
}

// A run's timeline, folded again, is what the run saw; written and read back it is the same.
func TestATimelineTellsTheRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		host := &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}
		var file strings.Builder
		w := timeline.NewWriter(&file, timeline.Header{ID: "abc", Pods: []*corev1.Pod{p}})
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: host, Sinks: []timeline.Sink{w}}
		v, err := run.Drive(t.Context())
		if err = errors.Join(err, w.Flush()); err != nil {
			t.Fatal(err)
		}
		_, again, torn, err := timeline.Read(strings.NewReader(file.String()))
		if err != nil || torn || again.Len() != v.Len() {
			t.Fatalf("read back %d of %d records, torn %v, %v", again.Len(), v.Len(), torn, err)
		}
		a, b := fold(t, v, p).PodStatus(p, time.Now()), fold(t, again, p).PodStatus(p, time.Now())
		if !a.StartTime.Equal(b.StartTime) || a.Phase != b.Phase || len(a.ContainerStatuses) != len(b.ContainerStatuses) {
			t.Errorf("the stored timeline folds to %+v, the live one to %+v", b, a)
		}
		ops := func(v timeline.View) (out []string) {
			for r := range v.All() {
				out = append(out, r.Kind.String()+" "+r.Action.String())
			}
			return out
		}
		if !slices.Equal(ops(v), ops(again)) {
			t.Error("the stored timeline has other actions than the live one")
		}
	})
}

func TestARunThatForgetsTellsItsSinksOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		kept, told := &keeper{}, &keeper{}
		for _, run := range []podsim.Run{{Sinks: []timeline.Sink{kept}}, {Sinks: []timeline.Sink{told}, Forget: true}} {
			run.Pods, run.Host = []*corev1.Pod{p}, &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}
			v, err := run.Drive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if run.Forget && v.Len() != 0 {
				t.Errorf("%d records are kept", v.Len())
			}
		}
		if len(told.records) != len(kept.records) {
			t.Fatalf("the sinks were told of %d records, want %d", len(told.records), len(kept.records))
		}
		for i, r := range told.records {
			if r.Seq != i+1 || r.Action.Op != kept.records[i].Action.Op || r.Kind != kept.records[i].Kind {
				t.Errorf("record %d is %+v, want %+v", i+1, r, kept.records[i])
			}
		}
	})
}

// A keeper is a sink that keeps what it is told.
type keeper struct{ records []timeline.Record }

func (k *keeper) Record(r timeline.Record) { k.records = append(k.records, r) }

// Who asks from outside cannot know what has just happened.
func TestAnAskThatCannotFollowIsNotedAndBreaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := job("a")
		asks := make(chan pod.Action)
		sink := &keeper{}
		run := podsim.Run{Pods: []*corev1.Pod{p}, Host: &podtest.Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"a": script}}, Asks: asks, Sinks: []timeline.Sink{sink}}
		go func() {
			asks <- pod.Action{Op: pod.OpUpdate, Pod: "a"} // without what to be
			close(asks)
		}()
		if _, err := run.Drive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(sink.records, func(r timeline.Record) bool { return r.Note == pod.NoteRefused && r.Detail != "" }) {
			t.Error("the refusal is not on the timeline")
		}
	})
}
