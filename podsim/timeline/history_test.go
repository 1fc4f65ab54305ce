package timeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func onePod() *corev1.Pod {
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}},
		PeriodSeconds: 1, FailureThreshold: 3, SuccessThreshold: 1, TimeoutSeconds: 1}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{Name: "c", Image: "i", StartupProbe: probe}}}}
}

// recorded is the life of a pod of one container, as the planner asks for it. Actions take the time between a pair
// of milliseconds.
func recorded(t *testing.T) View {
	t.Helper()
	var l Log
	var s pod.Status
	p, id := onePod(), 0
	fold := func(e pod.Event) {
		l.Append(e)
		next, err := s.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	began := func(ms int, a pod.Action) pod.Action {
		id++
		a.ID = id
		fold(pod.Event{Kind: pod.Began, Time: at(ms), Action: a})
		return a
	}
	ended := func(ms int, a pod.Action, e pod.Event) {
		e.Kind, e.Time, e.Action = pod.Ended, at(ms), a.Ref()
		fold(e)
	}
	asked := func(ms int, op pod.Op) pod.Action {
		t.Helper()
		for _, a := range pod.Next(p, s, at(ms)).Actions {
			if a.Op == op {
				return a
			}
		}
		t.Fatalf("at %d ms the planner does not ask for %v: %+v", ms, op, pod.Next(p, s, at(ms)))
		return pod.Action{}
	}
	did := func(from, to int, op pod.Op, e pod.Event) { t.Helper(); ended(to, began(from, asked(from, op)), e) }

	ended(0, began(0, pod.Action{Op: pod.OpUp, Pod: "p"}), pod.Event{})
	did(0, 5, pod.OpSetUp, pod.Event{Network: &pod.Network{PodIPs: []string{"10.0.0.1"}}})
	l.Append(pod.Event{Kind: pod.Noted, Time: at(6), Note: pod.NoteRules, Detail: "istio"})
	did(6, 7, pod.OpPull, pod.Event{Image: &pod.Image{ID: "x"}})
	did(7, 9, pod.OpCreate, pod.Event{Instance: &pod.Instance{ContainerID: "id"}})
	did(9, 12, pod.OpStart, pod.Event{Instance: &pod.Instance{PID: 7}})
	await := began(12, asked(12, pod.OpAwait))
	did(12, 13, pod.OpProbe, pod.Event{Probe: &pod.ProbeResult{Result: pod.Failed}})
	did(1012, 1014, pod.OpProbe, pod.Event{Probe: &pod.ProbeResult{Result: pod.Success}})
	l.Append(pod.Event{Kind: pod.Noted, Time: at(1025), Note: pod.NoteConnected, Subject: "api", Connection: &pod.Connection{}})
	labelled := onePod()
	labelled.Labels = map[string]string{"tier": "gold"}
	ended(1026, began(1026, pod.Action{Op: pod.OpUpdate, Pod: "p", Spec: labelled}), pod.Event{})
	ended(1028, began(1027, pod.Action{Op: pod.OpRefresh, Pod: "p"}), pod.Event{})
	ended(1030, await, pod.Event{Exit: &pod.Exit{Code: 137, Signal: 9, OOMKilled: true}})
	did(1031, 1040, pod.OpTearDown, pod.Event{})
	return l.View()
}

func TestEveryRecordGivesItsMoments(t *testing.T) {
	var got []string
	for _, m := range Moments([]*corev1.Pod{onePod()}, recorded(t)) {
		got = append(got, m.Name()+" "+m.From.Format("05.000")+" "+m.To.Format("05.000"))
	}
	want := []string{
		"pod.initialized 00.000 00.000", // it has no init containers
		"pod.network 00.000 00.005",
		"rules.installed 00.006 00.006",
		"c.pulled 00.006 00.007",
		"c.created 00.007 00.009",
		"c.started 00.009 00.012",
		"pod.running 00.012 00.012",
		"c.probe.fail(startup) 00.012 00.013",
		"c.startup.ok 01.012 01.014",
		"c.ready 01.014 01.014",
		"pod.containersReady 01.014 01.014",
		"pod.ready 01.014 01.014",
		"api.connected 01.025 01.025",
		"pod.updated 01.026 01.026",
		"pod.refreshed 01.027 01.028",
		"c.exited(137) 01.030 01.030",
		"c.oom 01.030 01.030",
		"c.notReady 01.030 01.030",
		"pod.notReady 01.030 01.030",
		"pod.failed 01.040 01.040", // when nothing is left of it
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("moments (-want +got):\n%s", diff)
	}
}

func TestAPodIsWhatItWasLastAskedFor(t *testing.T) {
	h := NewHistory([]*corev1.Pod{onePod()})
	if got := h.Pod("other"); got != nil {
		t.Errorf("an unknown pod is %+v", got)
	}
	for r := range recorded(t).All() {
		h.Add(r)
		changed := h.Pod("p").Labels["tier"] == "gold"
		if want := !r.Time.Before(at(1026)) && r.Seq > 18; changed != want {
			t.Errorf("after record %d (%s %s) the pod has changed: %v, want %v", r.Seq, r.Action, r.Kind, changed, want)
		}
	}
}

func TestSpansOfAContainersLifeAndActions(t *testing.T) {
	h := NewHistory([]*corev1.Pod{onePod()})
	for r := range recorded(t).Until(17).All() {
		h.Add(r)
	}
	life := h.Spans("c", Started, Exited)
	if len(life) != 1 || !life[0].Open || !life[0].From.Equal(at(12)) || !life[0].To.Equal(h.Last().Time) {
		t.Errorf("a life that has not ended: %+v", life)
	}
	for r := range recorded(t).Since(17) {
		h.Add(r)
	}
	if life = h.Spans("c", Started, Exited); len(life) != 1 || life[0].Open || !life[0].To.Equal(at(1030)) {
		t.Errorf("a life that has ended: %+v", life)
	}
	if pulls := h.Spans("c", Pulled, Pulled); len(pulls) != 1 || !pulls[0].From.Equal(at(6)) || !pulls[0].To.Equal(at(7)) {
		t.Errorf("pulls: %+v", pulls)
	}
}

func TestAFileReadAgainAnswersAsTheLiveTimeline(t *testing.T) {
	var file strings.Builder
	w := NewWriter(&file, Header{ID: "abc", Begin: at(0), Pods: []*corev1.Pod{onePod()}})
	for r := range recorded(t).All() {
		w.Record(r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	h, v, torn, err := Read(strings.NewReader(file.String()))
	if err != nil || torn {
		t.Fatalf("read: torn %v, %v", torn, err)
	}
	unexported := cmp.AllowUnexported(Moment{})
	if diff := cmp.Diff(Moments([]*corev1.Pod{onePod()}, recorded(t)), Moments(h.Pods, v), unexported); diff != "" {
		t.Errorf("moments of the file (-live +read):\n%s", diff)
	}
}

func TestAKilledWriterLeavesATornLastLineAndNoMore(t *testing.T) {
	var file strings.Builder
	w := NewWriter(&file, Header{ID: "abc"})
	for r := range recorded(t).All() {
		w.Record(r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	whole := file.String()
	lines := strings.Count(whole, "\n")
	for cut := range len(whole) {
		_, v, torn, err := Read(strings.NewReader(whole[:cut]))
		complete := strings.Count(whole[:cut], "\n")
		if complete == 0 {
			if err == nil {
				t.Fatalf("a file of %d bytes without its header was read", cut)
			}
			continue
		}
		if err != nil || v.Len() != complete-1 || torn != !strings.HasSuffix(whole[:cut], "\n") {
			t.Fatalf("cut after %d bytes (%d of %d lines): %d records, torn %v, %v", cut, complete, lines, v.Len(), torn, err)
		}
	}
	damaged := strings.Replace(whole, `"seq":3`, `"seq":4`, 1)
	if _, _, _, err := Read(strings.NewReader(damaged)); err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("a file with a record missing was read: %v", err)
	}
}

func TestAViewDoesNotGrowWithItsLog(t *testing.T) {
	var l Log
	l.Append(pod.Event{Kind: pod.Noted, Note: "one"})
	v := l.View()
	l.Append(pod.Event{Kind: pod.Noted, Note: "two"})
	if v.Len() != 1 || l.View().Len() != 2 || l.View().Until(1).Len() != 1 || l.View().At(2).Note != "two" {
		t.Errorf("the view has %d records, the log %d", v.Len(), l.View().Len())
	}
}
