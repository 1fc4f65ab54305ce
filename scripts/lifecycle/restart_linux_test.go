package lifecycle

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// rule is a restart rule for exit code 42.
func rule(action corev1.ContainerRestartRuleAction) corev1.ContainerRestartRule {
	return corev1.ContainerRestartRule{Action: action, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
		Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}
}

const (
	containerAlways = corev1.ContainerRestartPolicyAlways
	containerNever  = corev1.ContainerRestartPolicyNever
)

func TestRestartPoliciesOfContainers(t *testing.T) {
	t.Parallel()
	exits := func(code string) part { return shell("main-container", "exit "+code) }
	cases := map[string]struct {
		policy   corev1.RestartPolicy
		main     part
		restarts bool
	}{
		"a rule matches":                  {never, exits("42").policy(containerNever, rule(corev1.ContainerRestartRuleActionRestart)), true},
		"a rule does not match":           {never, exits("1").policy(containerNever, rule(corev1.ContainerRestartRuleActionRestart)), false},
		"Never in a pod of Always":        {always, exits("1").policy(containerNever), false},
		"Always in a pod of Never":        {never, exits("1").policy(containerAlways), true},
		"none of its own, pod of Always":  {always, exits("1"), true},
		"OnFailure in a pod of Never":     {never, exits("1").policy(corev1.ContainerRestartPolicyOnFailure), true},
		"OnFailure of one that succeeded": {always, exits("0").policy(corev1.ContainerRestartPolicyOnFailure), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := run(t, podOf(c.policy, c.main), "--backoff", "x10")
			if c.restarts {
				tr.await("has restarted it", restarted("main-container", 2))
				return
			}
			if p := tr.await("is over", isOver); status(p, "main-container").RestartCount > 0 {
				t.Errorf("it was restarted: %s", statusLine(p))
			}
		})
	}
}

// restartedAll says that all of some containers were restarted, and how they had ended.
func restartedAll(names ...string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, name := range names {
			if s := status(p, name); s.RestartCount == 0 || s.LastTerminationState.Terminated == nil {
				return false
			}
		}
		return true
	}
}

func TestRestartAllContainers(t *testing.T) {
	t.Parallel()
	once := func(name, before string) part {
		return shell(name, "if [ -f /persistent/again ]; then trap 'exit 0' TERM; sleep 600 & wait; else touch /persistent/again; "+before+"exit 42; fi")
	}
	all42 := rule(corev1.ContainerRestartRuleActionRestartAllContainers)
	sleeper := func(name string) part { return shell(name, "trap 'exit 0' TERM; sleep 600 & wait") }
	cases := map[string]struct {
		policy    corev1.RestartPolicy
		parts     []part
		restarted []string
		run       []string
	}{
		"of a regular container": {never, []part{shell("init", "exit 0").asInit(), sleeper("sidecar").asSidecar(), once("source", "").policy(containerNever, all42), sleeper("regular")},
			[]string{"init", "sidecar", "source", "regular"}, []string{"source", "regular"}},
		"of a sidecar": {never, []part{shell("init", "exit 0").asInit(), sleeper("sidecar").asSidecar(), once("source", "sleep 3; ").asSidecar().policy(containerAlways, all42), sleeper("regular")},
			[]string{"init", "sidecar", "source", "regular"}, []string{"source", "regular"}},
		"of an init container": {never, []part{sleeper("sidecar").asSidecar(), shell("init", "exit 0").asInit(),
			shell("source", "if [ -f /persistent/again ]; then exit 0; else touch /persistent/again; exit 42; fi").asInit().policy(containerNever, all42), sleeper("regular")},
			[]string{"sidecar", "init", "source"}, []string{"regular"}},
		"of two that could": {never, []part{once("source", "sleep 2; ").policy(containerNever, all42), sleeper("regular").policy(containerNever, all42)},
			[]string{"source", "regular"}, []string{"source", "regular"}},
		"of one that was restarted before": {always, []part{shell("source",
			"if [ -f /persistent/again ]; then sleep 600; elif [ -f /persistent/first ]; then touch /persistent/again; exit 42; else touch /persistent/first; exit 1; fi").policy(containerAlways, all42),
			sleeper("regular")}, []string{"source", "regular"}, []string{"source", "regular"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := run(t, podOf(c.policy, c.parts...))
			if name != "of an init container" { // there it may be over before it was reported
				tr.await("restarts all", func(p *corev1.Pod) bool {
					return condition(p, corev1.AllContainersRestarting).Status == corev1.ConditionTrue
				})
			}
			tr.await("has restarted all", restartedAll(c.restarted...))
			for _, one := range c.run {
				tr.await("runs "+one, runs(one))
			}
			tr.await("restarts them no more", func(p *corev1.Pod) bool {
				return condition(p, corev1.AllContainersRestarting).Status == corev1.ConditionFalse
			})
			tr.stays(2*time.Second, "goes on", func(p *corev1.Pod) bool {
				return condition(p, corev1.AllContainersRestarting).Status == corev1.ConditionFalse
			})
		})
	}
}

func TestHowAContainerIsReportedThatExits(t *testing.T) {
	t.Parallel()
	line := `echo hello >> /persistent/count; n=$(wc -l < /persistent/count)
if [ $n -eq 1 ]; then exit 1; fi
if [ $n -eq 2 ]; then exit 0; fi
trap 'exit 0' TERM; sleep 600 & wait`
	cases := map[corev1.RestartPolicy]struct {
		restarts int32
		phase    corev1.PodPhase
		ready    bool
	}{always: {2, corev1.PodRunning, true}, onFailure: {1, corev1.PodSucceeded, false}, never: {0, corev1.PodFailed, false}}
	for policy, c := range cases {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			tr := run(t, podOf(policy, shell("terminate-cmd", line)), "--backoff", "x10")
			tr.await("is as it is to be", func(p *corev1.Pod) bool {
				return p.Status.Phase == c.phase && status(p, "terminate-cmd").RestartCount == c.restarts && isReady(p) == c.ready
			})
			tr.stays(time.Second, "stays so", func(p *corev1.Pod) bool {
				return p.Status.Phase == c.phase && status(p, "terminate-cmd").RestartCount == c.restarts
			})
		})
	}
}

func TestTerminationMessages(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		line, path, want string
		user             *int64
		policy           corev1.TerminationMessagePolicy
		phase            corev1.PodPhase
	}{
		"of a file":                       {"echo -n DONE > /dev/termination-log", "/dev/termination-log", "DONE", new(int64(0)), "", corev1.PodSucceeded},
		"of a user's, elsewhere":          {"echo -n DONE > /dev/termination-custom-log", "/dev/termination-custom-log", "DONE", new(int64(10000)), "", corev1.PodSucceeded},
		"of the log of one that failed":   {"echo -n DONE; /bin/false", "/dev/termination-log", "DONE", nil, corev1.TerminationMessageFallbackToLogsOnError, corev1.PodFailed},
		"of none that succeeded":          {"echo -n DONE; /bin/true", "/dev/termination-log", "", nil, corev1.TerminationMessageFallbackToLogsOnError, corev1.PodSucceeded},
		"of the file of one that has log": {"echo -n OK > /dev/termination-log; echo DONE", "/dev/termination-log", "OK", nil, corev1.TerminationMessageFallbackToLogsOnError, corev1.PodSucceeded},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := shell("termination-message-container", c.line)
			p.TerminationMessagePath, p.TerminationMessagePolicy = c.path, c.policy
			p.SecurityContext = &corev1.SecurityContext{RunAsUser: c.user}
			last := run(t, podOf(never, p)).await("is over", isOver)
			hasPhase(t, last, c.phase)
			if end := status(last, p.Name).State.Terminated; end == nil || end.Message != c.want {
				t.Errorf("it ended with %+v, want %q", end, c.want)
			}
		})
	}
}

func TestInitContainersAsTheirConditionsTell(t *testing.T) {
	t.Parallel()
	limited := func(p part) part {
		p.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
		return p
	}
	pause := limited(shell("run1", "trap 'exit 0' TERM; sleep 600 & wait"))
	t.Run("Never", func(t *testing.T) {
		t.Parallel()
		p := run(t, podOf(never, busybox("init1", "/bin/true").asInit(), busybox("init2", "/bin/true").asInit(), busybox("run1", "/bin/true"))).await("is over", isOver)
		hasPhase(t, p, corev1.PodSucceeded)
		if condition(p, corev1.PodInitialized).Status != corev1.ConditionTrue || !status(p, "init1").Ready || !status(p, "init2").Ready {
			t.Error(statusLine(p))
		}
		ended(t, p, completed("init1"), completed("init2"))
	})
	t.Run("Always", func(t *testing.T) {
		t.Parallel()
		p := run(t, podOf(always, busybox("init1", "/bin/true").asInit(), busybox("init2", "/bin/true").asInit(), pause)).await("runs", isRunning)
		if condition(p, corev1.PodInitialized).Status != corev1.ConditionTrue || !status(p, "init1").Ready || !status(p, "init2").Ready {
			t.Error(statusLine(p))
		}
		ended(t, p, completed("init1"), completed("init2"))
	})
	t.Run("one that fails under Always", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(always, busybox("init1", "/bin/false").asInit(), busybox("init2", "/bin/true").asInit(), pause), "--backoff", "x10")
		p := tr.await("has restarted it", restarted("init1", 3))
		hasPhase(t, p, corev1.PodPending)
		c := condition(p, corev1.PodInitialized)
		if c.Status != corev1.ConditionFalse || c.Reason != "ContainersNotInitialized" || c.Message != "containers with incomplete status: [init1 init2]" {
			t.Errorf("condition Initialized is %+v", c)
		}
		for _, v := range tr.history() {
			if len(statusesOf(v.pod)) == 0 {
				continue // nobody has looked at it yet
			}
			for _, name := range []string{"init2", "run1"} {
				if !waits(name, "PodInitializing")(v.pod) {
					t.Errorf("%s did not wait: %s", name, statusLine(v.pod))
				}
			}
		}
	})
	t.Run("one that fails under Never", func(t *testing.T) {
		t.Parallel()
		tr := run(t, podOf(never, busybox("init1", "/bin/true").asInit(), busybox("init2", "/bin/false").asInit(), limited(busybox("run1", "/bin/true"))))
		p := tr.await("is over", isOver)
		hasPhase(t, p, corev1.PodFailed)
		ended(t, p, completed("init1"), erred("init2", 1))
		c := condition(p, corev1.PodInitialized)
		if c.Status != corev1.ConditionFalse || c.Reason != "ContainersNotInitialized" || c.Message != "containers with incomplete status: [init2]" {
			t.Errorf("condition Initialized is %+v", c)
		}
	})
}

func TestADeadlineIsChanged(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(always, regular("regular-1", script{delay: 600})))
	tr.await("is ready", isReady)
	tr.started("regular-1")
	tr.pod.Spec.ActiveDeadlineSeconds = new(int64(5))
	tr.apply()
	p := tr.await("is over", isOver)
	hasPhase(t, p, corev1.PodFailed)
	if p.Status.Reason != "DeadlineExceeded" {
		t.Errorf("the reason is %q", p.Status.Reason)
	}
	for _, v := range tr.history() {
		if isOver(v.pod) && status(v.pod, "regular-1").State.Terminated == nil {
			t.Errorf("it was over while its container ran: %s", statusLine(v.pod))
		}
	}
}

func TestLabelsAreChanged(t *testing.T) {
	t.Parallel()
	pod := podOf(always, regular("regular-1", script{delay: 600}))
	pod.Labels = map[string]string{"time": "first"}
	tr := run(t, pod)
	tr.await("is ready", isReady)
	tr.pod.Labels = map[string]string{"time": "second"}
	tr.apply()
	tr.await("has its new label, and restarts nothing", func(p *corev1.Pod) bool {
		return p.Labels["time"] == "second" && status(p, "regular-1").RestartCount == 0
	})
}

func TestReadinessGates(t *testing.T) {
	t.Parallel()
	pod := podOf(always, regular("regular-1", script{delay: 600}))
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "k8s.io/test-condition1"}}
	tr := run(t, pod)
	p := tr.await("runs all its containers", func(p *corev1.Pod) bool { return condition(p, corev1.ContainersReady).Status == corev1.ConditionTrue })
	if c := condition(p, corev1.PodReady); c.Status != corev1.ConditionFalse || c.Reason != "ReadinessGatesNotReady" {
		t.Errorf("condition Ready is %+v", c)
	}
}

func TestTheBackOffOfAnImageBeginsAnew(t *testing.T) {
	t.Parallel()
	tr := run(t, podOf(always, shell("back-off", "sleep 1; exit 1")), "--backoff", "x2")
	tr.await("has restarted it three times", restarted("back-off", 3))
	tr.await("backs off", waits("back-off", "CrashLoopBackOff"))
	tr.setImage(&tr.pod.Spec.Containers[0], otherImage)
	begin := time.Now()
	tr.await("has begun again", all(runs("back-off"), hasImage("back-off", otherImage)))
	if took := time.Since(begin); took > 12*time.Second { // the old one's back-off would hold it for 20 seconds
		t.Errorf("it took %s", took)
	}
}
