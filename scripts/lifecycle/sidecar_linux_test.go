package lifecycle

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The names that the tests of Kubernetes give their restartable init containers.
const (
	side1 = "restartable-init-1"
	side2 = "restartable-init-2"
	side3 = "restartable-init-3"
)

func TestSidecarsAndInitContainersStartInTheirOrder(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, first("init-1", script{delay: 1}), sidecar(side1, script{delay: 600}), first("init-2", script{delay: 1}),
		sidecar(side2, script{delay: 600}), first("init-3", script{delay: 1}), regular("regular-1", script{delay: 1})))
	hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
	tr.check(startsBefore("init-1", side1), exitsBefore("init-1", side1), runTogetherFirst(side1, "init-2"),
		startsBefore("init-2", side2), exitsBefore("init-2", side2), startsBefore(side2, "init-3"),
		runTogether(side1, side2), runTogether(side1, "init-3"), runTogether(side2, "init-3"),
		startsBefore("init-3", "regular-1"), exitsBefore("init-3", "regular-1"), runTogether(side1, "regular-1"), runTogether(side2, "regular-1"))
}

func TestImageOfASidecarIsUpdatedDuringInitialization(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		second := script{delay: 600}
		if policy == never {
			second = script{delay: 8, exit: 1}
		}
		tr := run(t, podOf(policy, first("init-1", script{delay: 1}), sidecar(side1, script{delay: 600, term: 2}).postStart(gate()), first("init-2", second),
			sidecar(side2, script{delay: 1, term: 1}).postStart(gate()), regular("regular-1", script{delay: 1, term: 1})))
		tr.await("runs its second init container", all(isPending, runsStarted("init-2")))
		tr.started(side1)
		tr.setImage(&tr.pod.Spec.InitContainers[1], otherImage)
		tr.await("has restarted the sidecar with its new image", all(runs(side1), restarted(side1, 1), hasImage(side1, otherImage)))
		tr.started(side1)
		claims := []claim{startsBefore("init-1", side1), startsBefore(side1, "init-2"), starts("init-1"), starts(side1), starts("init-2"),
			doesNotStart(side2), doesNotStart("regular-1"), doesNotRestart("init-1"), doesNotRestart("init-2"), restarts(side1)}
		if policy == never {
			hasPhase(t, tr.await("is over", isOver), corev1.PodFailed)
			claims = append(claims, exits("init-2"), exits(side1), exits("init-1"), exitsBefore("init-2", side1))
		}
		tr.check(claims...)
	})
}

func TestASidecarRunsOn(t *testing.T) {
	t.Parallel()
	each(t, []corev1.RestartPolicy{never, onFailure}, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, sidecar(side1, script{delay: 600}), regular("regular-1", script{delay: 1})))
		hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
		tr.check(doesNotRestart(side1), exits("regular-1"))
	})
	t.Run("Always", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, sidecar(side1, script{delay: 600}), regular("regular-1", script{delay: 1})), "--backoff", "x10")
		tr.await("has restarted its container twice", restarted("regular-1", 2))
		tr.started("regular-1")
		tr.check(doesNotRestart(side1), restarts("regular-1"))
	})
}

func TestImageOfASidecarIsUpdated(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, sidecar(side1, script{delay: 600}), sidecar(side2, script{delay: 600}), regular("regular-1", script{delay: 10})))
		tr.await("runs", isRunning)
		tr.started(side1)
		tr.setImage(&tr.pod.Spec.InitContainers[0], otherImage)
		tr.await("has restarted the sidecar with its new image", all(runs(side1), hasImage(side1, otherImage), restarted(side1, 1)))
		tr.started(side1)
		if policy == always {
			tr.check(restarts(side1), doesNotRestart(side2))
			return
		}
		hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
		tr.check(doesNotRestart("regular-1"), restarts(side1), doesNotRestart(side2))
	})
}

func TestASidecarThatExitsIsRestarted(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"with code 0": 0, "with code 1": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
				tr := run(t, podOf(policy, sidecar(side1, script{delay: 2, exit: code}), first("init-1", script{delay: 3}), regular("regular-1", script{delay: 8})), "--backoff", "x10")
				if policy == always {
					tr.await("has restarted its container", restarted("regular-1", 1))
					tr.started("regular-1")
				} else {
					hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
				}
				tr.check(startsBefore(side1, side1), startsBefore(side1, "regular-1"), startsBefore("regular-1", side1), starts("regular-1"), exits("regular-1"))
			})
		})
	}
}

func TestAnInitContainerBeforeASidecarFails(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, first("init-1", script{delay: 1, exit: 1}), sidecar(side1, script{delay: 600}), regular("regular-1", script{delay: 600})), "--backoff", "x10")
		if policy == never {
			hasPhase(t, tr.await("is over", isOver), corev1.PodFailed)
			tr.check(exits("init-1"), doesNotStart(side1), doesNotStart("regular-1"))
			return
		}
		tr.await("has restarted the init container", all(isPending, restarted("init-1", 2), waits("init-1", "CrashLoopBackOff")))
		tr.check(restarts("init-1"), doesNotStart(side1), doesNotStart("regular-1"))
	})
}

func TestAnInitContainerAfterASidecarFails(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, sidecar(side1, script{delay: 2, exit: 1}), first("init-1", script{delay: 1, exit: 1}), regular("regular-1", script{delay: 600})), "--backoff", "x10")
		if policy == never {
			hasPhase(t, tr.await("is over", isOver), corev1.PodFailed)
			tr.check(exits("init-1"), runTogether(side1, "init-1"), doesNotStart("regular-1"))
			return
		}
		tr.await("has restarted both", all(isPending, restarted("init-1", 2), restarted(side1, 2)))
		tr.started(side1)
		tr.await("waits", waits("init-1", "CrashLoopBackOff"))
		tr.check(restarts("init-1"), runTogether(side1, "init-1"), doesNotStart("regular-1"))
	})
}

func TestSidecarsStartOneAfterTheStartupProbeOfTheOther(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, sidecar(side1, script{start: 3, delay: 600}).startup(hasStarted()), sidecar(side2, script{start: 3, delay: 600}).startup(hasStarted()),
		regular("regular-1", script{delay: 1})))
	hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
	tr.check(startsBefore(side1, side2), startsBefore(side2, "regular-1"))
}

func TestImageOfASidecarIsUpdatedAfterItsStartupProbeFailed(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, sidecar(side1, script{delay: 600}), sidecar(side2, script{delay: 600}).startup(failing(3)), regular("regular-1", script{delay: 1})), "--backoff", "x10")
		tr.await("has restarted the sidecar", restarted(side2, 1))
		tr.setImage(&tr.pod.Spec.InitContainers[1], otherImage)
		tr.await("has restarted it with its new image", all(isPending, restarted(side2, 2), hasImage(side2, otherImage)))
		tr.check(doesNotStart("regular-1"), doesNotRestart(side1))
	})
}

func TestPreStopOfASidecarWhoseProbeFails(t *testing.T) {
	t.Parallel()
	t.Run("startup", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, sidecar(side1, script{delay: 600, term: 3}).startup(failing(3)).preStop(says("PreStop", side1, script{delay: 1})),
			regular("regular-1", script{delay: 1})), "--backoff", "x10")
		tr.await("has restarted it twice", restarted(side1, 2))
		if p := tr.newest(); !isPending(p) {
			t.Errorf("its phase is %s", p.Status.Phase)
		}
		tr.check(runTogether(side1, "PreStop-"+side1), starts("PreStop-"+side1), exits(side1), doesNotStart("regular-1"))
	})
	t.Run("liveness", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, sidecar(side1, script{delay: 600, term: 3}).liveness(failing(3)).preStop(says("PreStop", side1, script{delay: 1})),
			regular("regular-1", script{delay: 1})), "--backoff", "x10")
		tr.await("has restarted it twice, and the other", all(restarted(side1, 2), restarted("regular-1", 1)))
		tr.started(side1)
		tr.started("regular-1")
		tr.check(runTogether(side1, "PreStop-"+side1), starts("PreStop-"+side1), exits(side1), starts("regular-1"))
	})
}

func TestImageOfASidecarIsUpdatedAfterItsLivenessProbeFailed(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		main := script{delay: 600}
		if policy == always {
			main = script{delay: 3}
		}
		tr := run(t, podOf(policy, sidecar(side1, script{delay: 600}), sidecar(side2, script{delay: 600}).liveness(failing(3)), regular("regular-1", main)), "--backoff", "x10")
		tr.await("has restarted the sidecar", restarted(side2, 1))
		tr.setImage(&tr.pod.Spec.InitContainers[1], otherImage)
		tr.await("has restarted it with its new image", all(restarted(side2, 2), hasImage(side2, otherImage)))
		tr.check(starts("regular-1"), doesNotRestart(side1))
		if policy == always {
			tr.await("has restarted the other", restarted("regular-1", 1))
			tr.started("regular-1")
			tr.check(restarts("regular-1"))
		} else {
			tr.check(doesNotRestart("regular-1"))
		}
	})
}

func TestASidecarThatFailsAtFirstLetsThePodStart(t *testing.T) {
	t.Parallel()
	side := shell("buggy-restartable-init", "if [ -f /persistent/ran ]; then sleep 120; else touch /persistent/ran; exit 1; fi").asSidecar()
	side.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/true"}}}, InitialDelaySeconds: 2, PeriodSeconds: 2, FailureThreshold: 10}
	tr := run(t, podOf(never, side, regular("regular-1", script{delay: 600})))
	tr.await("has restarted the sidecar", all(restarted("buggy-restartable-init", 1), runs("buggy-restartable-init")))
	tr.await("runs the other", runs("regular-1"))
}

// threeSidecars are three sidecars that start with their scripts and end as said.
func threeSidecars(s script, hooks ...func(name string) *corev1.LifecycleHandler) (parts []part) {
	for _, name := range []string{side1, side2, side3} {
		p := sidecar(name, s).postStart(gate())
		for _, h := range hooks {
			p = p.preStop(h(name))
		}
		parts = append(parts, p)
	}
	return parts
}

var inOrder = []claim{startsBefore(side1, side2), startsBefore(side1, side3), startsBefore(side2, side3),
	startsBefore(side1, "regular-1"), startsBefore(side2, "regular-1"), startsBefore(side3, "regular-1")}

var outInOrder = []claim{exitsBefore("regular-1", side1), exitsBefore("regular-1", side2), exitsBefore("regular-1", side3), exitsBefore(side3, side2), exitsBefore(side2, side1)}

func TestSidecarsEndInReverseOrderAfterTheMains(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, append(threeSidecars(script{delay: 60, term: 2}), regular("regular-1", script{delay: 3}))...))
	p := tr.await("is over", isOver)
	hasPhase(t, p, corev1.PodSucceeded)
	ended(t, p, completed(side1), completed(side2), completed(side3))
	tr.check(append(inOrder, outInOrder...)...)
}

// about holds times in seconds to be less than a second apart.
func about(t *testing.T, what string, times ...float64) {
	t.Helper()
	for _, at := range times {
		if d := at - times[0]; at == 0 || d > 1 || d < -1 {
			t.Errorf("%s: %v, want them together", what, times)
			return
		}
	}
}

func TestSidecarsWhosePreStopDoesNotEndEndTogether(t *testing.T) {
	t.Parallel()
	loops := func(name string) *corev1.LifecycleHandler { return says("PreStop", name, script{loops: true}) }
	pod := podOf(never, append(threeSidecars(script{delay: 100, term: 5}, loops), regular("regular-1", script{delay: 3}))...)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(10))
	tr := run(t, pod)
	p := tr.await("is over", isOver)
	ended(t, p, erred(side1, 137), erred(side2, 137), erred(side3, 137))
	j := tr.check(inOrder...)
	about(t, "the last that the hooks said", j.last("PreStop-"+side1, "Looping"), j.last("PreStop-"+side2, "Looping"), j.last("PreStop-"+side3, "Looping"))
	for _, name := range []string{side1, side2, side3} {
		// The grace period, and the two seconds that a container has at least; the hook is not killed in between.
		if d := j.last("PreStop-"+name, "Looping") - j.last("regular-1", "Exiting"); d < 11 || d > 14 {
			t.Errorf("the hook of %s was killed %.2fs after the end began, want 12s", name, d)
		}
	}
}

func TestPreStopHooksOfAllSidecarsBeginTogether(t *testing.T) {
	t.Parallel()
	short := func(name string) *corev1.LifecycleHandler { return says("PreStop", name, script{delay: 1}) }
	tr := run(t, podOf(never, append(threeSidecars(script{delay: 60, term: 2}, short), regular("regular-1", script{delay: 3}))...))
	p := tr.await("is over", isOver)
	ended(t, p, completed(side1), completed(side2), completed(side3))
	j := tr.check(append(inOrder, outInOrder...)...)
	about(t, "the hooks began", j.time("PreStop-"+side1, "Starting"), j.time("PreStop-"+side2, "Starting"), j.time("PreStop-"+side3, "Starting"))
}

func TestAPodIsDeletedDuringInitialization(t *testing.T) {
	t.Parallel()
	t.Run("in its first init container", func(t *testing.T) {
		t.Parallel()
		parts := []part{first("start-init", script{delay: 300})}
		for _, name := range []string{side1, side2, side3} {
			parts = append(parts, sidecar(name, script{delay: 60, term: 5}).preStop(says("PreStop", name, script{delay: 1})))
		}
		tr := run(t, podOf(never, append(parts, regular("regular-1", script{delay: 5}))...))
		tr.await("runs its first init container", all(isPending, runsStarted("start-init")))
		begin := time.Now()
		tr.delete(3)
		tr.awaitGone(patience)
		if took := time.Since(begin); took > 10*time.Second { // not the 300 of the container, nor the 5 of each sidecar
			t.Errorf("it took %s", took)
		}
	})
	t.Run("with a sidecar that has not started", func(t *testing.T) {
		t.Parallel()
		notYet := probe(0, "false")
		notYet.FailureThreshold = 600
		pod := podOf(never, first("init-1", script{delay: 1, term: 5}), sidecar(side2, script{delay: 600, term: 1}).startup(notYet),
			sidecar(side3, script{delay: 600, term: 1}), regular("regular-1", script{delay: 600, term: 1}))
		pod.Spec.TerminationGracePeriodSeconds = new(int64(180))
		tr := run(t, pod)
		tr.await("runs its second", all(isPending, runs(side2), func(p *corev1.Pod) bool { return !*status(p, side2).Started }))
		tr.started(side2)
		tr.delete(180)
		last := tr.awaitGone(patience)
		ended(t, last, completed("init-1"), completed(side2))
	})
	t.Run("while it pulls", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, first("init-1", script{}).image(badImage), regular("regular-1", script{})))
		tr.await("cannot pull", waits("init-1", "ErrImagePull"))
		tr.delete(-1)
		hasPhase(t, tr.awaitGone(patience), corev1.PodFailed)
	})
	t.Run("in back-off", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, first("init-1", script{exit: 1}), regular("regular-1", script{})))
		tr.await("backs off", waits("init-1", "CrashLoopBackOff"))
		tr.delete(-1)
		hasPhase(t, tr.awaitGone(patience), corev1.PodFailed)
	})
}

func TestAPodIsDeletedAsSoonAsItRuns(t *testing.T) {
	t.Parallel()
	for i := range 6 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			tr := run(t, podOf(always, shell("regular-1", "trap 'exit 0' TERM; while true; do sleep 0.1; done")))
			tr.await("runs", runs("regular-1"))
			tr.delete(1)
			// TERM comes before its shell listens, and then means nothing to it, or after; it never meets the runtime's own
			// process, which would end with code 2.
			if end := status(tr.awaitGone(patience), "regular-1").State.Terminated; end == nil || end.ExitCode != 0 && end.ExitCode != 137 {
				t.Errorf("it ended with %+v", end)
			}
		})
	}
}

func TestImageOfASidecarIsUpdatedDuringTermination(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		pod := podOf(policy, first("init-1", script{delay: 1, term: 5}), sidecar(side2, script{delay: 600, term: 3}), sidecar(side3, script{delay: 600, term: 3}),
			regular("regular-1", script{delay: 600, term: 3}))
		pod.Spec.TerminationGracePeriodSeconds = new(int64(180))
		tr := run(t, pod)
		tr.await("runs", isRunning)
		tr.started("regular-1")
		tr.delete(180)
		tr.setImage(&tr.pod.Spec.InitContainers[1], otherImage)
		last := tr.awaitGone(patience)
		ended(t, last, completed("init-1"), completed(side2), completed(side3), completed("regular-1"))
		for _, s := range statusesOf(last) {
			if s.RestartCount > 0 || s.Image != busyboxImage {
				t.Errorf("%s was restarted %d times, with %s", s.Name, s.RestartCount, s.Image)
			}
		}
	})
}

func TestThePhaseOfAPodThatWasDeleted(t *testing.T) {
	t.Parallel()
	quick, slow := script{delay: 600, term: 1}, script{delay: 600, term: 20}
	failsAtTerm := script{delay: 600, term: 1, exit: 1}
	sleeps := func(seconds string) *corev1.LifecycleHandler { return hook("sleep", seconds) }
	cases := map[string]struct {
		grace int64
		parts []part
		phase corev1.PodPhase
		ends  []end
	}{
		"sidecar exits with code 1": {30, []part{sidecar(side1, quick), sidecar(side2, failsAtTerm), sidecar(side3, quick), regular("regular-1", quick)},
			corev1.PodSucceeded, []end{completed("regular-1"), completed(side1), erred(side2, 1), completed(side3)}},
		"hook of a sidecar fails": {30, []part{sidecar(side1, quick), sidecar(side2, quick).preStop(hook("sh", "-c", "exit 1")), sidecar(side3, quick), regular("regular-1", quick)},
			corev1.PodSucceeded, []end{completed("regular-1"), completed(side1), completed(side2), completed(side3)}},
		"main outlives the grace period": {5, []part{sidecar(side1, slow), sidecar(side2, quick), sidecar(side3, slow), regular("regular-1", slow)},
			corev1.PodFailed, []end{erred("regular-1", 137), erred(side1, 137), completed(side2), erred(side3, 137)}},
		"sidecar outlives the grace period": {5, []part{sidecar(side1, quick), sidecar(side2, slow), sidecar(side3, quick), regular("regular-1", quick)},
			corev1.PodSucceeded, []end{completed("regular-1"), completed(side1), erred(side2, 137), completed(side3)}},
		"hook of a main outlives it": {5, []part{sidecar(side1, quick), sidecar(side2, slow), sidecar(side3, quick), regular("regular-1", slow).preStop(sleeps("20"))},
			corev1.PodFailed, []end{erred("regular-1", 137), completed(side1), erred(side2, 137), completed(side3)}},
		"hook of a sidecar outlives it": {5, []part{sidecar(side1, quick).preStop(sleeps("1")), sidecar(side2, slow).preStop(sleeps("30")),
			sidecar(side3, quick).preStop(sleeps("1")), regular("regular-1", quick)},
			corev1.PodSucceeded, []end{completed("regular-1"), completed(side1), erred(side2, 137), completed(side3)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.parts {
				c.parts[i] = c.parts[i].postStart(gate())
			}
			pod := podOf(never, c.parts...)
			pod.Spec.TerminationGracePeriodSeconds = new(c.grace)
			tr := run(t, pod)
			tr.await("runs", all(isRunning, isReady))
			tr.started("regular-1")
			tr.delete(int(c.grace))
			last := tr.awaitGone(patience)
			ended(t, last, c.ends...)
			hasPhase(t, last, c.phase)
		})
	}
}

// Restarts of sidecars during termination are KEP-4438's, which no release has on by default.
func TestASidecarThatExitsDuringTerminationIsNotRestarted(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"1.36", "1.37"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			side := shell(side1, "until [ -f /persistent/stop ]; do sleep 0.1; done; exit 1").asSidecar()
			main := regular("regular-1", script{delay: 600}).preStop(hook("sh", "-c", "touch /persistent/stop; sleep 3"))
			tr := run(t, podOf(always, side, main), "--kube-version", release)
			tr.await("is ready", isReady)
			tr.started("regular-1")
			tr.delete(-1)
			last := tr.awaitGone(patience)
			ended(t, last, erred(side1, 1), completed("regular-1"))
			if status(last, side1).RestartCount > 0 {
				t.Errorf("it was restarted: %s", tr.story())
			}
		})
	}
}
