package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/probe"
)

// A podHost is what the host holds of one pod.
type podHost struct {
	host   *Host
	name   string
	id     string
	pins   netns.Pins
	prober *probe.Prober
	init   *podInit // nil: every container has a PID namespace of its own

	asked      atomic.Pointer[corev1.Pod] // the pod as it is asked for now; see spec
	containers sync.Map                   // *container by name; see Host.Update

	volumes, namespaces, attached, ready *stage
	ahead                                queue // of containers that are created ahead of their turn, closed before its time

	mu  sync.Mutex
	net pod.Network // once attached is made

	ledger ledger

	settingUp sync.Mutex // held while volumes are brought up to date, and while the pod is torn down
	down      bool       // torn down, with nothing left
}

func newPodHost(h *Host, p *corev1.Pod, i int) *podHost {
	ph := &podHost{
		host: h, name: p.Name, id: podID(h.id, i),
		volumes: newStage(), namespaces: newStage(), attached: newStage(), ready: newStage(),
	}
	ph.pins = netns.PinsIn(h.cfg.Site.pod(ph.id))
	ph.prober = h.prober(ph.pins.Net)
	if sharesProcesses(p) {
		ph.init = &podInit{pod: ph}
	}
	ph.update(p)
	return ph
}

// spec is the pod as it is asked for now. Nobody changes it.
func (p *podHost) spec() *corev1.Pod { return p.asked.Load() }

// update takes a pod as it is asked for from now on: its containers, which may be more than before. What was created
// already stays as it is.
func (p *podHost) update(asked *corev1.Pod) {
	p.asked.Store(asked)
	order := 0
	take := func(c *corev1.Container) {
		held, _ := p.containers.LoadOrStore(c.Name, &container{pod: p, order: order})
		held.(*container).asked.Store(c)
		order++
	}
	for i := range asked.Spec.InitContainers {
		take(&asked.Spec.InitContainers[i])
	}
	for i := range asked.Spec.Containers {
		take(&asked.Spec.Containers[i])
	}
	for i := range asked.Spec.EphemeralContainers {
		c := corev1.Container(asked.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		take(&c)
	}
}

// container returns one of the pod's containers; ok is false if it has none of that name.
func (p *podHost) container(name string) (c *container, ok bool) {
	held, ok := p.containers.Load(name)
	if !ok {
		return nil, false
	}
	return held.(*container), true
}

// all yields the pod's containers, in no order.
func (p *podHost) all() iter.Seq[*container] {
	return func(yield func(*container) bool) {
		p.containers.Range(func(_, held any) bool { return yield(held.(*container)) })
	}
}

// setUp makes the pod's volumes and network, side by side: nobody can tell (ST-03). What an earlier attempt has made
// stays made.
func (p *podHost) setUp(ctx context.Context) (pod.Event, error) {
	if err := p.makeDir(); err != nil {
		return pod.Event{}, err
	}
	var volumesErr, networkErr error
	var both sync.WaitGroup
	both.Go(func() { volumesErr = p.volumes.do(func() error { return p.makeVolumes(ctx) }) })
	both.Go(func() { networkErr = p.setUpNetwork(ctx) })
	both.Go(func() {
		_ = errors.Join(p.namespaces.wait(ctx), p.volumes.wait(ctx)) // what is created without them fails by itself
		p.ahead.open(runtime.GOMAXPROCS(0))
	})
	both.Wait()
	switch {
	case ctx.Err() != nil:
		return pod.Event{}, context.Cause(ctx)
	case volumesErr != nil:
		return failed(reasonMount, volumesErr), nil //nolint:nilerr // the answer says it
	case networkErr != nil:
		return failed(reasonSandbox, networkErr), nil //nolint:nilerr // the answer says it
	}
	if err := p.ready.do(func() error { return p.makeReady(ctx) }); err != nil {
		return failed(reasonSandbox, err), nil
	}
	n := p.network()
	return pod.Event{Network: &n}, nil
}

func (p *podHost) makeDir() error {
	if err := os.MkdirAll(p.host.cfg.Site.pod(p.id), 0o711); err != nil {
		return fmt.Errorf("make the pod's directory: %w", err)
	}
	return nil
}

// makePins makes the pod's namespaces, which cost the kernel some milliseconds, before the pod is set up.
func (p *podHost) makePins() error {
	if err := p.makeDir(); err != nil {
		return err
	}
	return p.namespaces.do(p.makeNamespaces)
}

func (p *podHost) setUpNetwork(ctx context.Context) error {
	if err := p.namespaces.do(p.makeNamespaces); err != nil {
		return err
	}
	var both errgroup.Group
	both.Go(func() error { return p.attached.do(func() error { return p.attach(ctx) }) })
	if p.init != nil {
		both.Go(func() error {
			_, err := p.init.namespace(ctx)
			return err
		})
	}
	return both.Wait()
}

// attach connects the pod to its network and, where there is one, to the run's world.
func (p *podHost) attach(ctx context.Context) error {
	if p.host.network.none {
		p.setNetwork(pod.Network{PodIPs: []string{loopback}, HostIP: loopback})
		return nil
	}
	var both errgroup.Group
	var result netns.Result
	both.Go(func() (err error) {
		result, err = p.host.network.cni.Attach(ctx, p.host.attachment(p.id))
		return err
	})
	if p.host.world != nil {
		both.Go(func() error { return p.host.world.open(ctx) })
	}
	if err := both.Wait(); err != nil {
		return err
	}
	if len(result.IPs) == 0 {
		return errors.New("attach to the network: its plugin gave the pod no address")
	}
	if p.host.world != nil {
		if err := p.host.world.lead(p.pins.Net, result); err != nil {
			return err
		}
	}
	n := pod.Network{PodIPs: addresses(result)}
	if result.Gateway.IsValid() {
		n.HostIP = result.Gateway.String()
	}
	p.setNetwork(n)
	return nil
}

// makeReady is what is done last, before the first container may start: the files that name the pod's address, the
// interception rules and, with or right after them, never before, the flow ledger (a connection that conntrack knows
// survives the rules' arrival and goes round the proxy).
func (p *podHost) makeReady(ctx context.Context) error {
	if err := p.writeFiles(); err != nil {
		return err
	}
	in := p.host.cfg.Intercept
	if in == nil || in.Rules == nil {
		return nil
	}
	rules, err := intercept.Render(*in.Rules)
	if err != nil {
		return err
	}
	if rules, err = intercept.Apply(ctx, p.pins.Net, rules); err != nil {
		return err
	}
	p.host.note(ctx, pod.Event{Action: pod.Action{Pod: p.spec().Name}, Note: pod.NoteRules, Detail: "profile " + in.Rules.Profile.String()})
	for _, n := range rules.Notes {
		p.host.warn(p.spec().Name, "", n)
	}
	p.loadLedger(ctx, "with the rules")
	return nil
}

// rulesMayHaveCome looks, after an init container has ended, for interception rules that it installed. The first time
// they are there the ledger is loaded, before the next container starts.
func (p *podHost) rulesMayHaveCome(ctx context.Context, c *corev1.Container) error {
	in := p.host.cfg.Intercept
	if in == nil || in.Rules != nil || p.ledger.tried() || !p.isInit(c) {
		return nil
	}
	found, err := intercept.Detect(ctx, p.pins.Net)
	if err != nil || !found.Any() {
		return err
	}
	p.host.note(ctx, pod.Event{Action: pod.Action{Pod: p.spec().Name, Container: c.Name}, Note: pod.NoteRules, Detail: found.String()})
	p.loadLedger(ctx, "after the init container "+c.Name+" had installed the rules")
	return nil
}

func (p *podHost) isInit(c *corev1.Container) bool {
	return slices.ContainsFunc(p.spec().Spec.InitContainers, func(i corev1.Container) bool { return i.Name == c.Name })
}

func (p *podHost) network() pod.Network {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.net
}

func (p *podHost) setNetwork(n pod.Network) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.net = n
}

// tearDown takes the pod away when its last container has stopped (TM-24).
func (p *podHost) tearDown(ctx context.Context) (pod.Event, error) {
	p.settingUp.Lock()
	defer p.settingUp.Unlock()
	p.keepLedger(ctx)
	var both errgroup.Group
	both.Go(func() error { return p.removeContainers(ctx) })
	both.Go(func() error { return p.disconnect(ctx) })
	err := errors.Join(both.Wait(), p.ledger.close())
	if err == nil {
		err = p.host.reaper().pod(ctx, p.id)
	}
	p.down = err == nil
	return pod.Event{}, err
}

// disconnect takes the pod off its network. With a run's only pod goes the run's membership: the kernel is waited for once
// then, and not again in the reap.
func (p *podHost) disconnect(ctx context.Context) error {
	h := p.host
	if h.network.shared == nil || h.world != nil || len(h.pods) > 1 {
		return h.reaper().detach(ctx, p.id)
	}
	err := h.reaper().leave(ctx, h.id, p.id)
	h.network.left = err == nil
	return err
}

// removeContainers removes every instance that there still is, and then what they shared their PID namespace with.
func (p *podHost) removeContainers(ctx context.Context) error {
	var all errgroup.Group
	for c := range p.all() {
		all.Go(func() error { return c.remove(ctx) })
	}
	err := all.Wait()
	if p.init != nil {
		err = errors.Join(err, p.init.remove(ctx))
	}
	return err
}
