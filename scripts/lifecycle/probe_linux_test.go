package lifecycle

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probed are the two places of a container whose probes are tried: a pod's own, and a sidecar.
var probed = map[string]func(p part) []part{
	"regular": func(p part) []part { return []part{p} },
	"sidecar": func(p part) []part { return []part{p.asSidecar(), regular("main", script{delay: 600})} },
}

func httpGet(path string, port int, b corev1.Probe) *corev1.Probe {
	b.HTTPGet = &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(port)}
	return &b
}

// every is a probe each second, from a delay on, that gives up at the first failure.
func every(delay int32) corev1.Probe {
	return corev1.Probe{InitialDelaySeconds: delay, PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 5}
}

func tcpSocket(port int, b corev1.Probe) *corev1.Probe {
	b.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt(port)}
	return &b
}

func grpc(port int32, b corev1.Probe) *corev1.Probe {
	b.GRPC = &corev1.GRPCAction{Port: port}
	return &b
}

// within is a probe with another time-out.
func within(b *corev1.Probe, seconds int32) *corev1.Probe {
	b.TimeoutSeconds = seconds
	return b
}

func often(b *corev1.Probe, failures int32) *corev1.Probe {
	b.FailureThreshold = failures
	return b
}

func TestProbesThatRestartAContainer(t *testing.T) {
	t.Parallel()
	sleeps := func() part { return shell("probed", "trap 'exit 0' TERM; sleep 600 & wait") }
	cases := map[string]struct {
		container part
		restarts  int32 // 0: none
		is        string
	}{
		"exec that begins to fail":                     {shell("probed", "echo ok >/tmp/health; sleep 3; rm /tmp/health; trap 'exit 0' TERM; sleep 600 & wait").liveness(probe(1, "cat", "/tmp/health")), 1, ""},
		"exec that succeeds":                           {shell("probed", "trap 'exit 0' TERM; echo ok >/tmp/health; sleep 600 & wait").liveness(probe(1, "cat", "/tmp/health")), 0, ""},
		"http that begins to fail":                     {sidekick("probed", "app", "--unhealthy-after", "2s").liveness(httpGet("/healthz", 8080, every(1))), 1, ""},
		"tcp that succeeds":                            {sidekick("probed", "app", "--unhealthy-after", "2s").liveness(tcpSocket(8080, every(1))), 0, ""},
		"http again and again":                         {sidekick("probed", "app", "--unhealthy-after", "1s").liveness(httpGet("/healthz", 8080, every(1))), 4, ""},
		"http that succeeds":                           {sidekick("probed", "app").liveness(httpGet("/healthz", 8080, every(1))), 0, ""},
		"exec that takes too long":                     {sleeps().liveness(within(probe(1, "/bin/sh", "-c", "sleep 10"), 1)), 1, ""},
		"exec that fails and leaves something running": {sleeps().liveness(within(probe(1, "/bin/sh", "-c", "sleep 10 & exit 1"), 1)), 1, ""},
		"redirect to itself":                           {sidekick("probed", "app", "--unhealthy-after", "2s").liveness(httpGet("/redirect?to=/healthz", 8080, every(1))), 1, ""},
		"redirect elsewhere":                           {sidekick("probed", "app", "--unhealthy-after", "2s").liveness(httpGet("/redirect?to=http://0.0.0.0/", 8080, every(1))), 0, "Probe terminated redirects"},
		"startup that fails":                           {sleeps().startup(often(probe(1, "/bin/false"), 3)).liveness(probe(1, "/bin/true")), 1, ""},
		"liveness that startup delays":                 {sleeps().startup(often(probe(1, "/bin/false"), 60)).liveness(probe(1, "/bin/false")), 0, ""},
		"liveness that startup lets begin": {shell("probed", "trap 'exit 0' TERM; sleep 2; echo ok >/tmp/startup; sleep 600 & wait").
			startup(often(probe(1, "cat", "/tmp/startup"), 60)).liveness(probe(1, "/bin/false")), 1, ""},
		"grpc that succeeds": {sidekick("probed", "app").liveness(grpc(8080, every(1))), 0, ""},
		"grpc of no port":    {sidekick("probed", "app").liveness(grpc(2333, every(2))), 1, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for place, in := range probed {
				t.Run(place, func(t *testing.T) {
					t.Parallel()
					tr := run(t, podOf(always, in(c.container)...), "--backoff", "x10")
					tr.await("runs the container", runs("probed"))
					if c.restarts == 0 {
						tr.stays(6*time.Second, "restarts nothing", func(p *corev1.Pod) bool { return status(p, "probed").RestartCount == 0 })
					} else {
						tr.await("has restarted it", restarted("probed", c.restarts))
					}
					if c.is != "" && !strings.Contains(tr.events(), c.is) {
						t.Errorf("no event says %q:\n%s", c.is, tr.events())
					}
				})
			}
		})
	}
}

func TestReadinessProbes(t *testing.T) {
	t.Parallel()
	for place, in := range probed {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			t.Run("with a delay", func(t *testing.T) {
				t.Parallel()
				tr := run(t, podOf(always, in(sidekick("probed", "app").readiness(httpGet("/healthz", 8080, every(4))))...))
				p := tr.await("is ready", isReady)
				if after := condition(p, corev1.PodReady).LastTransitionTime.Sub(status(p, "probed").State.Running.StartedAt.Time); after < 4*time.Second {
					t.Errorf("it was ready after %s", after)
				}
				tr.stays(time.Second, "restarts nothing", func(p *corev1.Pod) bool { return status(p, "probed").RestartCount == 0 })
			})
			for name, b := range map[string]*corev1.Probe{"that fails": httpGet("/healthz", 81, every(0)), "that takes too long": within(probe(1, "/bin/sh", "-c", "sleep 10"), 1)} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					container := sidekick("probed", "app")
					if b.Exec != nil {
						container = regular("probed", script{delay: 600})
					}
					tr := run(t, podOf(always, in(container.readiness(b))...))
					tr.await("runs the container", runs("probed"))
					tr.stays(6*time.Second, "is not ready, and restarts nothing", func(p *corev1.Pod) bool {
						return !isReady(p) && !status(p, "probed").Ready && status(p, "probed").RestartCount == 0
					})
				})
			}
			t.Run("at once after startup", func(t *testing.T) {
				t.Parallel()
				ready := probe(0, "cat", "/tmp/health")
				ready.PeriodSeconds = 30
				c := shell("probed", "echo ok >/tmp/health; sleep 3; echo ok >/tmp/startup; trap 'exit 0' TERM; sleep 600 & wait").readiness(ready).startup(often(probe(0, "cat", "/tmp/startup"), 120))
				tr := run(t, podOf(always, in(c)...))
				tr.await("has started", runsStarted("probed"))
				tr.awaitFor(20*time.Second, "is ready", isReady)
			})
		})
	}
}

func TestGracePeriodsOfProbes(t *testing.T) {
	t.Parallel()
	short := func(b *corev1.Probe) *corev1.Probe {
		b.TerminationGracePeriodSeconds = new(int64(3))
		return b
	}
	for name, with := range map[string]func(part) part{
		"liveness": func(p part) part { return p.liveness(short(httpGet("/healthz", 8080, every(2)))) },
		"startup":  func(p part) part { return p.startup(short(probe(2, "cat", "/tmp/startup"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for place, in := range probed {
				t.Run(place, func(t *testing.T) {
					t.Parallel()
					pod := podOf(always, in(with(shell("probed", "sleep 1000")))...)
					pod.Spec.TerminationGracePeriodSeconds = new(int64(500))
					tr := run(t, pod)
					p := tr.await("has restarted it", restarted("probed", 1))
					if end := status(p, "probed").LastTerminationState.Terminated; end == nil || end.ExitCode != 137 {
						t.Errorf("it ended with %+v", end)
					}
				})
			}
		})
	}
}

func TestProbesOfAPodThatTerminates(t *testing.T) {
	t.Parallel()
	// /tmp/alive goes with TERM.
	container := shell("probed", "trap 'rm /tmp/alive; sleep 5; exit 0' TERM; touch /tmp/alive; while true; do sleep 0.2; done").
		readiness(probe(1, "cat", "/tmp/alive"))
	cases := map[string]part{"readiness": container, "readiness and liveness": container.liveness(probe(2, "cat", "/tmp/alive"))}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for place, in := range probed {
				t.Run(place, func(t *testing.T) {
					t.Parallel()
					tr := run(t, podOf(always, in(c)...))
					tr.await("is ready", isReady)
					tr.delete(-1)
					tr.await("is not ready, and runs", all(runs("probed"), func(p *corev1.Pod) bool { return !isReady(p) }))
					tr.stays(2*time.Second, "restarts nothing", func(p *corev1.Pod) bool { return status(p, "probed").RestartCount == 0 })
					if said := tr.events(); strings.Contains(said, "failed liveness probe") {
						t.Error(said)
					}
					tr.awaitGone(patience)
				})
			}
		})
	}
}
