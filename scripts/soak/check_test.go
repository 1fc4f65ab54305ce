package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/supervisor"
	"github.com/podsim/podsim/podsim/timeline"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A told run is one whose container crashes twice, its records and the versions that a supervisor makes of it.
type toldRun struct {
	pod      *corev1.Pod
	records  []timeline.Record
	versions []shown
}

func told(t *testing.T) toldRun {
	t.Helper()
	run := toldRun{pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace, UID: "uid-1"}}}
	spec := "restartPolicy: Always\ninitContainers: [{name: init, image: i:1}]\ncontainers: [{name: app, image: a:1, readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}, {name: side, image: s:1}]\n"
	if err := yaml.UnmarshalStrict([]byte(spec), &run.pod.Spec); err != nil {
		t.Fatal(err)
	}
	crash := pod.Life{Ends: true, After: 3 * time.Second, Code: 1}
	script := pod.Script{Containers: map[string]pod.Behaviour{"app": {Lives: []pod.Life{crash, crash, {ReadyAfter: 2 * time.Second}}}}}
	events, _, err := pod.Rehearse(run.pod, script, t0, time.Hour, pod.Ask{Action: pod.Action{Op: pod.OpDelete}, After: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var status pod.Status
	said, version := status.PodStatus(run.pod, t0), 0
	show := func(kind string, s corev1.PodStatus, at time.Time) {
		p := run.pod.DeepCopy()
		version++
		p.Status, p.ResourceVersion = *plain(&s), strconv.Itoa(10*version)
		run.versions = append(run.versions, shown{supervisor.Event{Type: kind, Pod: p}, at})
	}
	show(supervisor.Added, said, t0)
	for i, e := range events {
		run.records = append(run.records, timeline.Record{Seq: i + 1, Event: e})
		if status, err = status.Apply(e); err != nil {
			t.Fatal(err)
		}
		if now := status.PodStatus(run.pod, e.Time); encoded(&now) != encoded(&said) {
			said = now
			show(supervisor.Modified, said, e.Time)
		}
	}
	show(supervisor.Deleted, said, events[len(events)-1].Time)
	return run
}

// check tells a checker and a watcher of a run, a version and some records at a time.
func (r toldRun) check(each int) error {
	c, w := checker{pod: r.pod}, watcher{}
	records := r.records
	for _, v := range r.versions {
		if err := w.see(v.Event); err != nil {
			return err
		}
		n := min(each, len(records))
		if err := c.add(v.seen, records[:n], v); err != nil {
			return err
		}
		records = records[n:]
	}
	if err := c.add(t0.Add(2*time.Hour), records); err != nil {
		return err
	}
	return c.end()
}

func TestWhatASupervisorTellsIsConsistent(t *testing.T) {
	for _, each := range []int{0, 1, 3, 1000} {
		if err := told(t).check(each); err != nil {
			t.Errorf("with %d records a version: %v", each, err)
		}
	}
}

// place finds the first version that is as it should be.
func (r toldRun) place(t *testing.T, is func(*corev1.PodStatus) bool) int {
	t.Helper()
	for i := range r.versions {
		if is(&r.versions[i].Pod.Status) {
			return i
		}
	}
	t.Fatal("there is no such version")
	return 0
}

func app(s *corev1.PodStatus) *corev1.ContainerStatus {
	if len(s.ContainerStatuses) == 0 {
		return &corev1.ContainerStatus{}
	}
	return &s.ContainerStatuses[0]
}

func TestInconsistenciesAreFound(t *testing.T) {
	ready := func(s *corev1.PodStatus) bool { return app(s).Ready }
	restarted := func(s *corev1.PodStatus) bool { return app(s).RestartCount == 1 && app(s).State.Running != nil }
	backOff := func(s *corev1.PodStatus) bool { return waitsFor(*app(s), "CrashLoopBackOff") }
	for _, c := range []struct {
		name string
		harm func(*testing.T, *toldRun)
		want string
	}{
		{"a version shows what never was", func(t *testing.T, r *toldRun) {
			i := r.place(t, ready)
			app(&r.versions[i].Pod.Status).Image = "b:1"
		}, "is not consistent with the timeline"},
		{"a change is never shown", func(t *testing.T, r *toldRun) {
			i := r.place(t, restarted)
			r.versions = append(r.versions[:i], r.versions[i+1:]...)
		}, "the timeline says"},
		{"the last change is never shown", func(_ *testing.T, r *toldRun) {
			r.versions = r.versions[:len(r.versions)-2]
		}, "was never shown"},
		{"a restartCount falls", func(t *testing.T, r *toldRun) {
			i := r.place(t, restarted)
			app(&r.versions[i+1].Pod.Status).RestartCount = 0
		}, "its restartCount fell"},
		{"a container in back-off is terminated again", func(t *testing.T, r *toldRun) {
			i := r.place(t, backOff)
			v := r.versions[i]
			v.Pod = v.Pod.DeepCopy()
			v.Pod.ResourceVersion = strconv.Itoa(10*(i+1) + 1)
			app(&v.Pod.Status).State = corev1.ContainerState{Terminated: app(&v.Pod.Status).LastTerminationState.Terminated}
			r.versions = append(r.versions[:i+1], append([]shown{v}, r.versions[i+1:]...)...)
		}, "BO-04"},
		{"a condition's time goes back", func(t *testing.T, r *toldRun) {
			i := r.place(t, ready)
			r.versions[i].Pod.Status.Conditions[2].LastTransitionTime = metav1.NewTime(t0.Add(-time.Hour))
		}, "went back from"},
		{"a version comes twice", func(_ *testing.T, r *toldRun) {
			r.versions = append(r.versions[:3], append([]shown{r.versions[2]}, r.versions[3:]...)...)
		}, "resourceVersion did not rise"},
		{"a pod is deleted in a phase that is not its last", func(_ *testing.T, r *toldRun) {
			v := &r.versions[len(r.versions)-1]
			v.Pod = v.Pod.DeepCopy()
			v.Pod.Status.Phase = corev1.PodRunning
		}, "in phase Running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := told(t)
			c.harm(t, &r)
			err := r.check(3)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found: %v; want %q in it", err, c.want)
			}
		})
	}
}
