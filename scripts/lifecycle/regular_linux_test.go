package lifecycle

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// each runs a test for each of a pod's restart policies.
func each(t *testing.T, policies []corev1.RestartPolicy, test func(t *testing.T, policy corev1.RestartPolicy)) {
	for _, p := range policies {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

var (
	always       = corev1.RestartPolicyAlways
	onFailure    = corev1.RestartPolicyOnFailure
	never        = corev1.RestartPolicyNever
	allPolicies  = []corev1.RestartPolicy{always, onFailure, never}
	restartables = []corev1.RestartPolicy{always, onFailure}
)

func TestImageOfARegularContainerIsUpdated(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, regular("regular-1", script{delay: 600}), regular("regular-2", script{delay: 600})))
		tr.await("runs", isRunning)
		tr.started("regular-1")
		tr.setImage(&tr.pod.Spec.Containers[0], otherImage)
		tr.await("has restarted the container with its new image", all(runs("regular-1"), hasImage("regular-1", otherImage), restarted("regular-1", 1)))
		tr.stays(2*time.Second, "has not restarted the other", func(p *corev1.Pod) bool {
			return status(p, "regular-2").RestartCount == 0 && status(p, "regular-1").RestartCount == 1
		})
	})
}

func TestImageOfARegularContainerIsUpdatedDuringInitialization(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		tr := run(t, podOf(policy, first("init-1", script{delay: 6}), regular("regular-1", script{delay: 10, term: 1}), regular("regular-2", script{delay: 10, term: 1})))
		tr.await("initializes", all(isPending, runsStarted("init-1")))
		tr.setImage(&tr.pod.Spec.Containers[0], otherImage)
		tr.stays(3*time.Second, "starts no regular container", func(p *corev1.Pod) bool {
			return isPending(p) && status(p, "regular-1").State.Waiting != nil && status(p, "regular-2").State.Waiting != nil
		})
		tr.await("runs each once, with the new image", all(isRunning, runs("regular-1"), runs("regular-2"), hasImage("regular-1", otherImage)))
		if p := tr.newest(); status(p, "regular-1").RestartCount+status(p, "regular-2").RestartCount > 0 {
			t.Errorf("something was restarted: %s", statusLine(p))
		}
	})
}

func TestImageOfARegularContainerIsUpdatedAfterAProbeFailed(t *testing.T) {
	t.Parallel()
	probes := map[string]func(part) part{
		"startup":  func(p part) part { return p.startup(failing(3)) },
		"liveness": func(p part) part { return p.liveness(failing(3)) },
	}
	for name, with := range probes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, restartables, func(t *testing.T, policy corev1.RestartPolicy) {
				tr := run(t, podOf(policy, with(regular("regular-1", script{delay: 600}))))
				tr.await("has restarted its container", all(restarted("regular-1", 1), runs("regular-1")))
				tr.setImage(&tr.pod.Spec.Containers[0], otherImage)
				tr.await("has the new image", all(hasImage("regular-1", otherImage), restarted("regular-1", 2)))
			})
		})
	}
}

func TestImageOfARegularContainerIsUpdatedDuringTermination(t *testing.T) {
	t.Parallel()
	each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
		pod := podOf(policy, regular("regular-1", script{delay: 600, term: 5, exit: 1}))
		pod.Spec.TerminationGracePeriodSeconds = new(int64(60))
		tr := run(t, pod)
		tr.await("runs", runs("regular-1"))
		tr.started("regular-1")
		tr.delete(-1)
		tr.setImage(&tr.pod.Spec.Containers[0], otherImage)
		last := tr.awaitGone(patience)
		ended(t, last, erred("regular-1", 1))
		if status(last, "regular-1").RestartCount > 0 {
			t.Errorf("it was restarted: %s", tr.story())
		}
		hasPhase(t, last, corev1.PodFailed)
	})
}

func TestInitContainersRunOneByOneBeforeARegularOne(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, first("init-1", script{delay: 1}), first("init-2", script{delay: 1}), first("init-3", script{delay: 1}),
		regular("regular-1", script{start: 2, delay: 1}).startup(hasStarted())))
	hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
	tr.check(startsBefore("init-1", "init-2"), exitsBefore("init-1", "init-2"), startsBefore("init-2", "init-3"), exitsBefore("init-2", "init-3"),
		startsBefore("init-3", "regular-1"), exitsBefore("init-3", "regular-1"), beginsAfterExit("init-3", "regular-1"))
}

func TestAnInitContainerThatFailsStartsNothingAfterIt(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, first("init-1", script{delay: 1, exit: 1}), regular("regular-1", script{delay: 1})))
	hasPhase(t, tr.await("is over", isOver), corev1.PodFailed)
	tr.check(starts("init-1"), exits("init-1"), doesNotStart("regular-1"))
}

func TestAnInitContainerIsDoneBeforePostStart(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, first("init-1", script{delay: 1}),
		regular("regular-1", script{delay: 5}).postStart(says("PostStart", "regular-1", script{delay: 1}))))
	hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
	tr.check(startsBefore("init-1", "PostStart-regular-1"), exitsBefore("init-1", "PostStart-regular-1"), runTogether("regular-1", "PostStart-regular-1"))
}

func TestAFailedContainerIsRestarted(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(always, regular("regular-1", script{delay: 1, exit: 1})), "--backoff", "x10")
	tr.await("has restarted its container twice", restarted("regular-1", 2))
	tr.started("regular-1")
	tr.check(starts("regular-1"), startsBefore("regular-1", "regular-1"), exitsBefore("regular-1", "regular-1"))
}

func TestPostStartHoldsBackTheNextContainer(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(never, regular("regular-1", script{delay: 6}).postStart(says("PostStart", "regular-1", script{delay: 1})), regular("regular-2", script{delay: 1})))
	hasPhase(t, tr.await("is over", isOver), corev1.PodSucceeded)
	tr.check(startsBefore("PostStart-regular-1", "regular-2"), exitsBefore("PostStart-regular-1", "regular-2"))
}

func TestAnInitContainerWithABadImageStartsNothing(t *testing.T) {
	t.Parallel()
	for kind, init := range map[string]part{"init": first("init-1", script{delay: 600}), "sidecar": sidecar("init-1", script{delay: 600})} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			each(t, allPolicies, func(t *testing.T, policy corev1.RestartPolicy) {
				tr := run(t, podOf(policy, init.image(badImage), regular("regular-1", script{delay: 1})))
				tr.await("cannot pull", waits("init-1", "ErrImagePull"))
				tr.await("has given up for a while", all(waits("init-1", "ImagePullBackOff"), isPending))
				tr.check(doesNotStart("init-1"), doesNotStart("regular-1"))
			})
		})
	}
}

func TestARegularContainerThatRestartsRestartsNoInitContainer(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(always, first("init-1", script{}), first("init-2", script{}), first("init-3", script{}), regular("regular-1", script{delay: 2, exit: 255})), "--backoff", "x10")
	tr.await("has restarted its container", all(restarted("regular-1", 2), runs("regular-1")))
	tr.started("regular-1")
	tr.check(startsBefore("init-1", "init-2"), exitsBefore("init-1", "init-2"), startsBefore("init-2", "init-3"), exitsBefore("init-2", "init-3"),
		startsBefore("init-3", "regular-1"), exitsBefore("init-3", "regular-1"),
		doesNotRestart("init-1"), doesNotRestart("init-2"), doesNotRestart("init-3"), restarts("regular-1"))
}

func TestTheGracePeriodBoundsTheEnd(t *testing.T) {
	t.Parallel()
	deaf := shell("regular-1", "trap '' TERM; touch /started; while true; do sleep 1; done").readiness(hasStarted())
	for name, container := range map[string]part{
		"of a container that does not listen": deaf,
		"of a hook that does not end":         deaf.preStop(hook("sleep", "10000")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := podOf(always, container)
			pod.Spec.TerminationGracePeriodSeconds = new(int64(5))
			tr := run(t, pod)
			tr.await("runs", isRunning)
			tr.await("is ready", isReady) // its shell runs
			begin := time.Now()
			tr.delete(-1)
			last := tr.awaitGone(patience)
			ended(t, last, erred("regular-1", 137))
			if took := time.Since(begin); took < 5*time.Second || took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestPreStopOfAContainerWhoseProbeFails(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func(part) part{
		"startup":  func(p part) part { return p.startup(failing(3)) },
		"liveness": func(p part) part { return p.liveness(failing(3)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := run(t, podOf(never, with(regular("regular-1", script{delay: 100, term: 3})).preStop(says("PreStop", "regular-1", script{delay: 1}))))
			p := tr.await("is over", isOver)
			hasPhase(t, p, corev1.PodSucceeded)
			tr.check(runTogether("regular-1", "PreStop-regular-1"), starts("PreStop-regular-1"), exits("regular-1"))
		})
	}
}

func TestProbesDuringPreStopOfAContainerThatALivenessProbeEnds(t *testing.T) {
	t.Parallel()
	main := func() part {
		return regular("regular-1", script{delay: 100, term: 2}).liveness(saying("Liveness", "regular-1", 4, script{exit: 1}))
	}
	t.Run("readiness goes on, liveness does not", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(never, main().preStop(says("PreStop", "regular-1", script{delay: 5})).readiness(saying("Readiness", "regular-1", 1, script{}))))
		tr.await("is over", isOver)
		tr.check(runTogetherFirst("PreStop-regular-1", "Readiness-regular-1"), not(runTogetherFirst("PreStop-regular-1", "Liveness-regular-1")))
	})
	t.Run("of a sidecar does not go on", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(never, sidecar("restartable-init-1", script{delay: 100, term: 1}).liveness(saying("Liveness", "restartable-init-1", 1, script{exit: 1})),
			main().preStop(says("PreStop", "regular-1", script{start: 3, delay: 6}))))
		tr.awaitFor(time.Minute, "is over", isOver)
		tr.check(starts("PreStop-regular-1"))
	})
}

func TestImageOfAnInitContainerIsUpdated(t *testing.T) {
	t.Parallel()
	untouched := func(p *corev1.Pod) bool {
		s := status(p, "init-1")
		return s.State.Terminated != nil && s.State.Terminated.ExitCode == 0 && s.Image == busyboxImage && s.RestartCount == 0
	}
	t.Run("after it is done", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, first("init-1", script{delay: 1}), regular("regular-1", script{delay: 600})))
		tr.await("runs", isRunning)
		tr.setImage(&tr.pod.Spec.InitContainers[0], otherImage)
		tr.stays(3*time.Second, "leaves it as it is", untouched)
		tr.check(doesNotRestart("init-1"))
	})
	t.Run("to a bad one after it is done", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, first("init-1", script{delay: 1}), regular("regular-1", script{delay: 2, exit: 255})), "--backoff", "x10")
		tr.await("runs", isRunning)
		tr.setImage(&tr.pod.Spec.InitContainers[0], badImage)
		tr.stays(5*time.Second, "leaves it as it is", untouched)
		tr.check(doesNotRestart("init-1"))
	})
	t.Run("during termination", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(never, first("init-1", script{delay: 1}), regular("regular-1", script{delay: 20, term: 5, exit: 1})))
		tr.await("runs", isRunning)
		tr.delete(-1)
		tr.setImage(&tr.pod.Spec.InitContainers[0], otherImage)
		if last := tr.awaitGone(patience); !untouched(last) {
			t.Errorf("it was touched: %s", tr.story())
		}
	})
}
