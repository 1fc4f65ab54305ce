package supervisor

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A tape plays records to an object, a second apart.
type tape struct {
	o   *object
	log timeline.Log
	at  time.Time
}

func newTape() *tape {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &tape{o: newObject(testPod(), begin), at: begin}
}

func (t *tape) play(e pod.Event) {
	t.at = t.at.Add(time.Second)
	e.Time = t.at
	t.o.Record(t.log.Append(e))
}

// whole plays an action that the driver does itself.
func (t *tape) whole(a pod.Action) {
	a.ID, a.Pod = t.log.View().Len()+1, "web"
	t.play(pod.Event{Kind: pod.Began, Action: a})
	t.play(pod.Event{Kind: pod.Ended, Action: a})
}

func TestEveryVersionIsWatchedInOrderUpToTheLast(t *testing.T) {
	tape := newTape()
	w := tape.o.watch()
	tape.whole(pod.Action{Op: pod.OpUp})
	labelled := testPod()
	labelled.Labels["a"] = "2"
	tape.whole(pod.Action{Op: pod.OpUpdate, Spec: labelled})
	tape.whole(pod.Action{Op: pod.OpDelete})
	tape.o.end()
	events, more := w.next(context.Background())
	if more {
		t.Error("there is more after DELETED")
	}
	last := int64(0)
	for i, e := range events {
		version, err := strconv.ParseInt(e.Pod.ResourceVersion, 10, 64)
		if err != nil || version <= last {
			t.Errorf("event %d has version %q after %d", i, e.Pod.ResourceVersion, last)
		}
		last = version
		want := Modified
		switch i {
		case 0:
			want = Added
		case len(events) - 1:
			want = Deleted
		}
		if e.Type != want {
			t.Errorf("event %d is %s, want %s", i, e.Type, want)
		}
	}
	if len(events) < 4 || events[0].Pod.Labels["a"] != "1" || events[len(events)-1].Pod.Labels["a"] != "2" {
		t.Errorf("the events %v do not show the change", events)
	}
	if e := events[len(events)-1]; e.Pod.DeletionTimestamp == nil || e.Pod.Generation != 1 {
		t.Errorf("the last version is not that of a deleted pod whose spec is the first: %+v", e.Pod.ObjectMeta)
	}
}

func TestAnObjectThatHasNotChangedKeepsItsVersion(t *testing.T) {
	tape := newTape()
	tape.whole(pod.Action{Op: pod.OpUp})
	before, _ := tape.o.current()
	tape.o.refresh(tape.at.Add(time.Hour))
	if after, _ := tape.o.current(); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("version %s became %s", before.ResourceVersion, after.ResourceVersion)
	}
}

func TestALaterDeleteCanOnlyShorten(t *testing.T) { // TM-09
	tape := newTape()
	tape.whole(pod.Action{Op: pod.OpUp})
	for _, c := range []struct{ asked, want int64 }{{20, 20}, {60, 20}, {15, 15}, {0, 1}, {30, 1}} {
		tape.whole(pod.Action{Op: pod.OpDelete, Grace: &c.asked})
		p, _ := tape.o.current()
		if got := *p.DeletionGracePeriodSeconds; got != c.want {
			t.Errorf("after a delete with %d s the grace period is %d s, want %d s", c.asked, got, c.want)
		}
	}
}

func TestAnAskIsAnsweredWhenItWasTakenOrRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tape := newTape()
		tape.whole(pod.Action{Op: pod.OpUp})
		answers := make(chan error)
		ask := func() {
			n := tape.o.asksTaken()
			go func() { answers <- tape.o.awaitAsk(t.Context(), n) }()
			synctest.Wait()
		}
		ask()
		tape.whole(pod.Action{Op: pod.OpDelete})
		if err := <-answers; err != nil {
			t.Errorf("an ask that was taken: %v", err)
		}
		ask()
		tape.play(pod.Event{Kind: pod.Noted, Note: pod.NoteRefused, Action: pod.Action{Pod: "web"}, Detail: "the pod is gone"})
		if err := <-answers; err == nil || err.Error() != "the pod is gone" {
			t.Errorf("an ask that was refused: %v", err)
		}
		ask()
		tape.o.end()
		if err := <-answers; !errors.Is(err, errGone) {
			t.Errorf("an ask that the pod's end overtook: %v", err)
		}
	})
}

func TestAWatcherThatDoesNotReadIsCutOff(t *testing.T) {
	tape := newTape()
	w := tape.o.watch()
	for range maxBehind + 10 {
		w.add(Event{Modified, &corev1.Pod{}})
	}
	events, more := w.next(context.Background())
	if more || len(events) != maxBehind {
		t.Errorf("it got %d events, more %v; want %d and the end", len(events), more, maxBehind)
	}
}
