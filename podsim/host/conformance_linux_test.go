package host

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/pod/podtest"
)

// noting takes the host's notes, as a driver does.
func noting(t *testing.T, h *Host) {
	ctx, cancel := context.WithCancel(context.Background())
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		for {
			select {
			case <-h.Notes():
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-joined })
}

func TestTheRealHostKeepsThePromisesOfAHost(t *testing.T) {
	m := here(t)
	for _, share := range []string{"false", "true"} {
		t.Run("shareProcessNamespace "+share, func(t *testing.T) {
			for _, c := range podtest.Cases() {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					podtest.Check(t, c, newFixture(t, m, share))
				})
			}
		})
	}
}

func newFixture(t *testing.T, m *machine, share string) podtest.Fixture {
	p, resources := parsePod(t, m, podNamed("web", `
  shareProcessNamespace: `+share+`
  containers:
    - {name: runs, image: PROG, args: [listen]}
    - {name: fails, image: SIDEKICK, args: [exit, "3"]}
    - {name: stubborn, image: PROG, args: [deaf]}
    - {name: missing, image: "podsim.local/nowhere:1", imagePullPolicy: Never}
`))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := listening{up: make(chan struct{}, 8)}
	said := func(l LogLine) {
		if l.Text == "listening" {
			f.up <- struct{}{}
		}
	}
	var err error
	f.Host, err = Open(ctx, Config{Site: m.site, Bundle: testBundle(), Pods: []*corev1.Pod{p}, Resources: resources, Log: said})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left := leftOfRun(m.site, f.ID()); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	noting(t, f.Host)
	return podtest.Fixture{Host: f, Pod: p, Runs: "runs", Fails: "fails", Stubborn: "stubborn", Missing: "missing",
		Left: func() []string { return leftOfPod(m.site, podID(f.ID(), 0)) }}
}

// listening is a host whose containers are let come up before they are signalled: a program is deaf until it has asked for
// its signals, and the suite wants one that listens.
type listening struct {
	*Host
	up chan struct{}
}

func (l listening) Do(ctx context.Context, a pod.Action) (pod.Event, error) {
	e, err := l.Host.Do(ctx, a)
	if err != nil || e.Failure != nil || a.Op != pod.OpStart || a.Container == "fails" {
		return e, err
	}
	select {
	case <-l.up:
		return e, nil
	case <-ctx.Done():
		return e, context.Cause(ctx)
	}
}
