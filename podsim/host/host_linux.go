package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/probe"
)

// A Host performs one run's actions. It is the driver's Host. Open one, Reap it, then Close it.
type Host struct {
	cfg     Config
	id      string
	dir     *rundir.Run
	runtime *ctrd.Client
	network network
	world   *worldHost // nil: none
	pods    map[string]*podHost
	// resources are what containers and volumes read of ConfigMaps and Secrets now.
	resources atomic.Pointer[manifest.Resources]
	notes     chan pod.Event
	crash     crash

	// life ends with the reap: nobody takes notes any more.
	life context.Context //nolint:containedctx // the life of the run's own goroutines, of no call
	end  context.CancelFunc

	logMu sync.Mutex
	once  sync.Map // warnings that were given
}

// A network is how the run's namespaces are attached.
type network struct {
	none   bool
	shared *netns.Network // podsim's own; nil for a configuration of the user's
	bridge netns.Bridge
	cni    netns.CNI
	conf   json.RawMessage
	left   bool // the run's membership in shared has ended
}

func (c Config) withDefaults() Config {
	c.Site = c.Site.withDefaults()
	if c.Bundle == "" {
		if exe, err := os.Executable(); err == nil {
			c.Bundle = filepath.Dir(exe)
		}
	}
	return c
}

func (c Config) runtime() ctrd.Config {
	return ctrd.Config{State: c.Site.StateDir, Run: c.Site.RunDir, Bundle: c.Bundle, Address: c.Containerd}
}

// Open makes ready for a run: it connects to containerd, starting the private one if need be, joins the network, and
// puts the run's record on disk. When it returns an error nothing is left behind.
func Open(ctx context.Context, c Config) (_ *Host, err error) {
	c = c.withDefaults()
	if err := Preflight(c); err != nil {
		return nil, err
	}
	if len(c.Pods) == 0 || len(c.Pods) > maxPods {
		return nil, fmt.Errorf("open a run: it has %d pods; podsim runs 1 to %d at once", len(c.Pods), maxPods)
	}
	if err := checkHostPorts(c); err != nil {
		return nil, err
	}
	h := &Host{cfg: c, pods: make(map[string]*podHost), notes: make(chan pod.Event), crash: readCrash()}
	h.network.none = c.NoNetwork
	h.resources.Store(&c.Resources)
	h.life, h.end = context.WithCancel(context.WithoutCancel(ctx))
	if h.dir, err = rundir.Create(c.Site.StateDir); err != nil {
		return nil, errors.Join(err, h.abandon(ctx))
	}
	h.id = h.dir.ID
	var all errgroup.Group
	for i, p := range c.Pods {
		ph := newPodHost(h, p, i)
		h.pods[p.Name] = ph
		all.Go(func() error {
			_ = ph.makePins() // tried again, and then told of, when the pod is set up
			return nil
		})
	}
	all.Go(func() error { return h.connect(ctx) })
	all.Go(func() error { return h.record(ctx) })
	if err := all.Wait(); err != nil {
		return nil, errors.Join(err, h.abandon(ctx))
	}
	if c.World != nil {
		h.world = newWorldHost(h)
	}
	return h, nil
}

// connect connects to containerd, and has the pods' shims started.
func (h *Host) connect(ctx context.Context) (err error) {
	if h.runtime, err = ctrd.Open(ctx, h.cfg.runtime()); err != nil {
		return err
	}
	for i := range h.cfg.Pods {
		_ = h.runtime.StartShim(h.id, podID(h.id, i)) // only a hint was not followed
	}
	return nil
}

// record joins the network and commits the record. Until it has, only such things are made as are found by the run's ID
// alone: its directory's name says it.
func (h *Host) record(ctx context.Context) (err error) {
	if err := h.joinNetwork(ctx); err != nil {
		return err
	}
	rec := rundir.Record{Created: time.Now(), Podsim: h.cfg.Version, Command: h.cfg.Command, Containerd: h.cfg.Containerd}
	var attachments []netns.Attachment
	for i, p := range h.cfg.Pods {
		id := podID(h.id, i)
		rec.Pods = append(rec.Pods, rundir.Pod{ID: id, Name: p.Name, Namespace: p.Namespace, UID: string(p.UID), Images: imagesOf(p)})
		attachments = append(attachments, h.attachment(id))
	}
	if h.cfg.World != nil {
		attachments = append(attachments, h.attachment(worldID(h.id)))
	}
	if !h.network.none {
		if rec.Attachments, err = json.Marshal(attachments); err != nil {
			return fmt.Errorf("encode attachments: %w", err)
		}
	}
	return h.dir.Commit(rec)
}

func (h *Host) joinNetwork(ctx context.Context) (err error) {
	shared := netns.Network{StateDir: h.cfg.Site.StateDir}
	h.network.cni = shared.CNI(h.cfg.Bundle, netns.HostPluginDir)
	switch {
	case h.network.none:
	case h.cfg.CNIConf != "":
		if h.network.conf, err = netns.ReadConf(h.cfg.CNIConf, h.network.cni.Dirs...); err != nil {
			err = &InputError{err}
		}
	default:
		h.network.shared = &shared
		h.network.bridge, err = shared.Join(ctx, h.id)
		h.network.conf = h.network.bridge.Conf
	}
	return err
}

// attachment names the attachment of a pod's or the world's namespace.
func (h *Host) attachment(id string) netns.Attachment {
	a := netns.Attachment{Conf: h.network.conf, ContainerID: id, IfName: "eth0", NetNS: netns.PinsIn(h.cfg.Site.pod(id)).Net}
	for i, p := range h.cfg.Pods {
		if podID(h.id, i) == id {
			a.Ports = hostPortsOf(p)
		}
	}
	return a
}

// abandon undoes an Open that failed half-way.
func (h *Host) abandon(ctx context.Context) error {
	var errs []error
	if h.dir != nil {
		errs = append(errs, h.Reap(context.WithoutCancel(ctx)))
	}
	return errors.Join(append(errs, h.Close())...)
}

// ID is the run's.
func (h *Host) ID() string { return h.id }

// Notes are events that no action asked for; give them to the driver. The channel is never closed.
func (h *Host) Notes() <-chan pod.Event { return h.notes }

// Timeline creates the file of the run's timeline, which goes with the run. The caller closes it.
func (h *Host) Timeline() (*os.File, error) { return h.dir.Timeline() }

// Close lets go of containerd. What has not been reaped stays, and counts as dead.
func (h *Host) Close() error {
	h.end()
	var errs []error
	if h.runtime != nil {
		errs = append(errs, h.runtime.Close())
		h.runtime = nil
	}
	if h.dir != nil {
		errs = append(errs, h.dir.Close())
	}
	return errors.Join(errs...)
}

// Do performs one action. See the driver's Host.
func (h *Host) Do(ctx context.Context, a pod.Action) (pod.Event, error) {
	h.crash.at(a, before)
	var e pod.Event
	perform := func() (err error) {
		e, err = h.perform(ctx, a)
		return err
	}
	var err error
	if a.Op == pod.OpExec || a.Op == pod.OpHook {
		err = perform() // a command is not to run twice
	} else {
		err = h.lasting(ctx, perform)
	}
	h.crash.at(a, after)
	return e, err
}

// lasting does f, and once more if containerd died meanwhile: a private one is started again, and takes its running
// containers back. To do f twice must be safe.
func (h *Host) lasting(ctx context.Context, f func() error) error {
	err := f()
	if !errors.Is(err, ctrd.ErrDaemonGone) {
		return err
	}
	if rerr := h.runtime.Revive(ctx); rerr != nil {
		return errors.Join(err, rerr)
	}
	return f()
}

func (h *Host) perform(ctx context.Context, a pod.Action) (pod.Event, error) {
	if a.Op == pod.OpRun {
		return runOnHost(ctx, a)
	}
	p, ok := h.pods[a.Pod]
	if !ok {
		if a.Op == pod.OpRequest {
			return h.requestFromHost(ctx, a)
		}
		return pod.Event{}, fmt.Errorf("there is no pod %q in this run", a.Pod)
	}
	switch a.Op {
	case pod.OpSetUp:
		return p.setUp(ctx)
	case pod.OpTearDown:
		return p.tearDown(ctx)
	case pod.OpFlows:
		return p.flows(ctx)
	case pod.OpRefresh:
		return p.refreshed(ctx, a.Refresh)
	}
	if a.Op == pod.OpRequest && a.Container == "" {
		return h.requestFromHost(ctx, a)
	}
	c, ok := p.container(a.Container)
	if !ok {
		return pod.Event{}, fmt.Errorf("there is no container %q in pod %s", a.Container, a.Pod)
	}
	switch a.Op {
	case pod.OpPrepare:
		return c.prepare(ctx, a.Instance, c.imageOf(a))
	case pod.OpPull:
		return c.pull(ctx, c.imageOf(a))
	case pod.OpCreate:
		return c.create(ctx, a.Instance, c.imageOf(a))
	case pod.OpStart:
		return c.start(ctx)
	case pod.OpAwait:
		return c.await(ctx)
	case pod.OpSignal:
		return c.signal(ctx, a.Signal)
	case pod.OpRemove:
		return pod.Event{}, c.remove(ctx)
	case pod.OpProbe:
		return c.probe(ctx, a)
	case pod.OpHook:
		return c.hook(ctx, a)
	case pod.OpExec:
		return c.exec(ctx, a)
	case pod.OpRead:
		return c.read(ctx, a)
	case pod.OpRequest:
		return c.request(ctx, a)
	}
	return pod.Event{}, fmt.Errorf("the host cannot perform %s", a.Op)
}

// note puts an event that no action asked for on the timeline, and returns when it is there.
func (h *Host) note(ctx context.Context, e pod.Event) {
	e.Kind = pod.Noted
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	select {
	case h.notes <- e:
	case <-ctx.Done():
	case <-h.life.Done():
	}
}

// warn says something once a run that the user should know of a pod or, where one is named, of a container of it.
func (h *Host) warn(podName, container, text string) {
	if _, said := h.once.LoadOrStore([3]string{podName, container, text}, true); said {
		return
	}
	h.note(h.life, pod.Event{Action: pod.Action{Pod: podName, Container: container}, Note: pod.NoteWarning, Detail: text})
}

func (h *Host) logged(l LogLine) {
	if h.cfg.Log == nil {
		return
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	h.cfg.Log(l)
}

func (h *Host) pulls() ctrd.PullOptions { return ctrd.PullOptions{HostsDir: h.cfg.HostsDir} }

// prober makes probes towards a pod: from the node, that is this machine, or, for a pod without a network, from
// inside it (PB-03).
func (h *Host) prober(netnsPath string) *probe.Prober {
	if !h.network.none {
		return &probe.Prober{}
	}
	d := &netns.Dialer{Path: netnsPath}
	return &probe.Prober{Dial: d.DialContext}
}

// addresses are the addresses of an attachment, without their prefix lengths.
func addresses(r netns.Result) []string {
	var out []string
	for _, p := range r.IPs {
		out = append(out, p.Addr().String())
	}
	return out
}

// loopback is the only address of a pod without a network.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1}).String()
