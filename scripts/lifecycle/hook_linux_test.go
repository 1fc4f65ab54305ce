package lifecycle

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hears is a pod that takes the requests of hooks, and its address.
func hears(t *testing.T) (tr *trial, address string) {
	t.Helper()
	server := podOf(always, sidekick("server", "app").readiness(httpGet("/healthz", 8080, every(0))))
	tr = runAs(t, nameOf(t.Name())+"-server", server)
	return tr, tr.await("is ready", isReady).Status.PodIP
}

func TestHooks(t *testing.T) {
	t.Parallel()
	for place, in := range probed {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			for kind, with := range map[string]func(part, *corev1.LifecycleHandler) part{"postStart": part.postStart, "preStop": part.preStop} {
				t.Run(kind+" by exec", func(t *testing.T) {
					t.Parallel()
					server, address := hears(t)
					c := shell("probed", "trap 'exit 0' TERM; sleep 600 & wait")
					tr := run(t, podOf(always, in(with(c, hook("sh", "-c", "wget -q -O - http://"+address+":8080/echo?hook="+kind)))...))
					tr.await("is ready", isReady)
					tr.delete(15)
					tr.awaitGone(patience)
					if said := server.log("server"); !strings.Contains(said, "/echo?hook="+kind) {
						t.Errorf("the hook has not called:\n%s", said)
					}
				})
				t.Run(kind+" by http", func(t *testing.T) {
					t.Parallel()
					server, address := hears(t)
					c := shell("probed", "trap 'exit 0' TERM; sleep 600 & wait")
					get := &corev1.HTTPGetAction{Host: address, Path: "/echo?hook=" + kind, Port: intstr.FromInt(8080)}
					tr := run(t, podOf(always, in(with(c, &corev1.LifecycleHandler{HTTPGet: get}))...))
					tr.await("is ready", isReady)
					tr.delete(15)
					tr.awaitGone(patience)
					if said := server.log("server"); !strings.Contains(said, "/echo?hook="+kind) {
						t.Errorf("the hook has not called:\n%s", said)
					}
				})
			}
		})
	}
}

func TestPostStartThatFailsRestartsItsContainer(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(always, regular("regular-1", script{delay: 600}).postStart(hook("sh", "-c", "sleep 1; exit 1"))), "--backoff", "x10")
	tr.await("waits after its hook failed", func(p *corev1.Pod) bool {
		return waits("regular-1", "PostStartHookError")(p) || waits("regular-1", "CrashLoopBackOff")(p)
	})
	tr.await("has restarted it", restarted("regular-1", 1))
	if said := tr.events(); !strings.Contains(said, "FailedPostStartHook") {
		t.Errorf("no event says so:\n%s", said)
	}
}

func TestPreStopSleep(t *testing.T) {
	t.Parallel()
	sleeper := func(seconds int64) part {
		return shell("sleeper", "trap 'exit 0' TERM; touch /started; sleep 600 & wait").readiness(hasStarted()).
			preStop(&corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}})
	}
	cases := map[string]struct {
		sleep, spec int64
		grace       int // of the deletion; -1: none
		from, to    time.Duration
	}{
		"takes its time":             {4, 20, -1, 4 * time.Second, 12 * time.Second},
		"is cut by a shorter delete": {15, 20, 4, 4 * time.Second, 12 * time.Second},
		"of no time":                 {0, 20, -1, 0, 8 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := podOf(always, sleeper(c.sleep))
			pod.Spec.TerminationGracePeriodSeconds = &c.spec
			tr := run(t, pod)
			tr.await("is ready", isReady)
			begin := time.Now()
			tr.delete(c.grace)
			last := tr.awaitGone(patience)
			ended(t, last, completed("sleeper"))
			if took := status(last, "sleeper").State.Terminated.FinishedAt.Sub(begin); took < c.from-time.Second || took > c.to {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("of a container that has ended", func(t *testing.T) {
		t.Parallel()
		c := shell("sleeper", "sleep 1").preStop(&corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 10}})
		tr := run(t, podOf(never, c))
		end := status(tr.await("is over", isOver), "sleeper").State.Terminated
		if took := end.FinishedAt.Sub(end.StartedAt.Time); took > 8*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestASecondDeleteOnlyShortens(t *testing.T) {
	t.Parallel()
	deaf := shell("deaf", "trap '' TERM; touch /started; while true; do sleep 1; done").readiness(hasStarted())
	tr := run(t, podOf(always, deaf))
	tr.await("is ready", isReady)
	tr.delete(20)
	first := tr.await("is being deleted", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	tr.delete(30)
	begin := time.Now()
	tr.delete(3)
	tr.await("is to go sooner", func(p *corev1.Pod) bool { return p.DeletionTimestamp.Before(first.DeletionTimestamp) })
	ended(t, tr.awaitGone(patience), erred("deaf", 137))
	if took := time.Since(begin); took > 12*time.Second { // not the 20 of the first
		t.Errorf("it took %s", took)
	}
}
