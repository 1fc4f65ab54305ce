package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/podsim/pod"
)

// Reasons of a failure that no package below gives (PH-14).
const (
	reasonConfig   = "CreateContainerConfigError"
	reasonCreate   = "CreateContainerError"
	reasonRun      = "RunContainerError"
	reasonPrepare  = "NotPrepared" // only a hint was not followed
	reasonSandbox  = "FailedCreatePodSandBox"
	reasonMount    = "FailedMount"
	reasonExec     = "ExecError"
	reasonTimeout  = "Timeout"
	reasonNotFound = "NotFound"
)

// localRegistry begins the names of images that are made here and are in no registry.
const localRegistry = "podsim.local/"

// lastLines is how many of its last log lines an exit carries.
const lastLines = 10

// A container is what the host holds of one container of a pod: its newest instance.
type container struct {
	pod   *podHost
	asked atomic.Pointer[corev1.Container] // as it is asked for now; see spec
	order int                              // of its start in its pod, if all goes well

	mu       sync.Mutex // held while an instance is made or removed
	instance int        // of made
	image    string     // of made, as the pod names it
	made     *ctrd.Container
	started  bool // made was started: before, it is there ahead of its turn and nothing may run in it
	// refused is what the runtime said when it was to create the instance. A kubelet hears of it at the start.
	refused *ctrd.RuntimeError
	log     *rundir.Log
	user    ctrd.User

	lines sync.Mutex
	last  []string // the instance's last log lines
}

// spec is the container as it is asked for now. Nobody changes it.
func (c *container) spec() *corev1.Container { return c.asked.Load() }

// A configError is one of the container's configuration: CreateContainerConfigError (CM-05, NS-04).
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// imageOf is the image that an action is about: the pod's may be another by now.
func (c *container) imageOf(a pod.Action) string { return cmp.Or(a.Image, c.spec().Image) }

// prepare creates an instance ahead of its turn, if its image is here and its pod gets ready. What fails now is tried
// again at its turn, so that every failure of it is only a note.
func (c *container) prepare(ctx context.Context, instance int, image string) (pod.Event, error) {
	if err := c.makeAhead(ctx, instance, image); err != nil {
		return failed(reasonPrepare, err), nil
	}
	return pod.Event{}, nil
}

// makeAhead makes an instance when the pod is ready for it, those that start first before the others.
func (c *container) makeAhead(ctx context.Context, instance int, image string) error {
	if namesAddress(c.spec()) { // it would wait in its turn, and hold up others
		if err := c.pod.attached.wait(ctx); err != nil {
			return err
		}
	}
	if err := c.pod.ahead.enter(ctx, c.order); err != nil {
		return err
	}
	defer c.pod.ahead.leave()
	img, err := c.pod.host.runtime.Image(ctx, image)
	if err != nil {
		return err
	}
	return c.make(ctx, instance, image, img)
}

// ensure makes the image present, with the pod's own credentials first, one after the other (IM-05).
func (c *container) ensure(ctx context.Context, image string, o ctrd.PullOptions) (img ctrd.Image, pulled bool, err error) {
	policy := ctrd.Policy(c.spec().ImagePullPolicy)
	secrets, wrong := pullSecrets(c.pod.spec(), *c.pod.host.resources.Load(), image)
	for _, w := range wrong {
		c.pod.host.warn(c.pod.name, c.spec().Name, w)
	}
	for _, s := range secrets {
		o.Keychain = s
		img, pulled, err = c.pod.host.runtime.Ensure(ctx, image, policy, o)
		if e, ok := errors.AsType[*ctrd.ImageError](err); !ok || e.Reason != ctrd.ReasonErrImagePull {
			return img, pulled, err
		}
		o.Begin = nil // it has been said
	}
	if len(secrets) > 0 {
		return img, pulled, err
	}
	return c.pod.host.runtime.Ensure(ctx, image, policy, o)
}

// pull makes the image present (IM-01..03).
func (c *container) pull(ctx context.Context, image string) (pod.Event, error) {
	options := c.pod.host.pulls()
	options.Begin = func() {
		a := pod.Action{Pod: c.pod.spec().Name, Container: c.spec().Name, Image: image}
		c.pod.host.note(ctx, pod.Event{Action: a, Note: pod.NotePulling})
	}
	img, pulled, err := c.ensure(ctx, image, options)
	if e, ok := errors.AsType[*ctrd.ImageError](err); ok {
		hint := ""
		if strings.HasPrefix(image, localRegistry) {
			hint = "; no registry has it: podsim image load FILE, or podsim image make " + image + " PROGRAM"
		}
		return failed(e.Reason, fmt.Errorf("Failed to pull image %q: %w%s", image, e, hint)), nil //nolint:staticcheck // the kubelet's words
	}
	if err != nil {
		return pod.Event{}, err
	}
	found := pod.Image{ID: img.ID, Ref: img.RepoDigest(), Present: !pulled, StopSignal: img.StopSignal}
	if pulled {
		found.Size = img.Size
	}
	return pod.Event{Image: &found}, nil
}

// create makes the instance, unless it was made ahead of its turn, of the same image.
func (c *container) create(ctx context.Context, instance int, image string) (pod.Event, error) {
	var err error
	if !c.isMade(instance, image) {
		var img ctrd.Image
		if img, err = c.pod.host.runtime.Image(ctx, image); err == nil {
			err = c.make(ctx, instance, image, img)
		}
	}
	switch {
	case err == nil:
		return pod.Event{Instance: &pod.Instance{ContainerID: containerID(c.pod.id, c.spec().Name, instance)}}, nil
	case isA[*configError](err):
		return failed(reasonConfig, err), nil
	case isA[*ctrd.ImageError](err), isA[*ctrd.RuntimeError](err):
		return failed(reasonCreate, err), nil
	}
	return pod.Event{}, err
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// make creates an instance in the runtime. An instance that was made already is left as it is.
func (c *container) make(ctx context.Context, instance int, image string, img ctrd.Image) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is(instance, image) {
		return nil
	}
	if err := c.drop(ctx); err != nil {
		return err
	}
	at, err := c.pod.placeOf(ctx, c.spec(), img, instance)
	if err != nil {
		return err
	}
	spec, err := containerSpec(c.pod.spec(), c.spec(), at)
	if err != nil {
		return err
	}
	if c.log, err = c.pod.host.dir.CreateLog(c.pod.spec().Name, c.spec().Name, instance); err != nil {
		return err
	}
	c.instance, c.image, c.started, c.last, c.user = instance, image, false, nil, at.user
	c.made, err = c.pod.host.runtime.Create(ctx, ctrd.ContainerConfig{
		ID:  containerID(c.pod.id, c.spec().Name, instance),
		Run: c.pod.host.id, Pod: c.pod.id, Name: c.spec().Name,
		Image: img, Spec: spec,
		Stdin:  c.spec().Stdin, // CM-10
		Output: c.output(instance),
	})
	if e, ok := errors.AsType[*ctrd.RuntimeError](err); ok {
		c.refused = e
		return c.log.Close()
	}
	if err != nil {
		return errors.Join(err, c.log.Close())
	}
	for _, n := range c.made.Notes() {
		c.pod.host.warn(c.pod.spec().Name, c.spec().Name, n)
	}
	return nil
}

// is reports whether the newest instance is this one. The caller holds mu.
func (c *container) is(instance int, image string) bool {
	return (c.made != nil || c.refused != nil) && c.instance == instance && c.image == image
}

func (c *container) isMade(instance int, image string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.is(instance, image)
}

// output passes a container's lines to its log and to whoever listens.
func (c *container) output(instance int) func(ctrd.Line) {
	log, name := c.log, c.pod.spec().Name
	return func(l ctrd.Line) {
		line := rundir.Line{Time: l.Time, Stream: rundir.Stdout, Partial: l.Partial, Text: string(l.Text)}
		if l.Stderr {
			line.Stream = rundir.Stderr
		}
		log.Write(line)
		c.lines.Lock()
		if c.last = append(c.last, line.Text); len(c.last) > lastLines {
			c.last = c.last[1:]
		}
		c.lines.Unlock()
		c.pod.host.logged(LogLine{Pod: name, Container: c.spec().Name, Instance: instance, Time: l.Time, Stderr: l.Stderr, Text: line.Text})
	}
}

func (c *container) start(ctx context.Context) (pod.Event, error) {
	made, refused := c.get()
	if refused != nil {
		return failed(reasonRun, refused), nil
	}
	if made == nil {
		return pod.Event{}, fmt.Errorf("start container %s: it was not created", c.spec().Name)
	}
	// From here on a ledger that is loaded tracks the container; one that was is told now.
	c.setStarted(true)
	if err := c.pod.track(ctx, c.spec().Name); err != nil {
		return pod.Event{}, err
	}
	err := made.Start(ctx)
	if isA[*ctrd.RuntimeError](err) {
		c.setStarted(false)
		return failed(reasonRun, err), nil
	}
	if err != nil {
		return pod.Event{}, err
	}
	return pod.Event{Instance: &pod.Instance{ContainerID: made.ID(), PID: made.PID()}}, nil
}

func (c *container) get() (*ctrd.Container, *ctrd.RuntimeError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made, c.refused
}

func (c *container) setStarted(started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = started
}

// isStarted reports whether the newest instance was started, without waiting: one that is being made or removed is not.
func (c *container) isStarted() bool {
	if !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	return c.made != nil && c.started
}

// running is the instance to run something in.
func (c *container) running() (*ctrd.Container, error) {
	c.mu.Lock()
	made, started := c.made, c.started
	c.mu.Unlock()
	switch {
	case made == nil || !started:
		return nil, fmt.Errorf("container %s does not run", c.spec().Name)
	case ended(made):
		return nil, fmt.Errorf("container %s has ended", c.spec().Name)
	}
	return made, nil
}

func ended(made *ctrd.Container) bool {
	select {
	case <-made.Exited():
		return true
	default:
		return false
	}
}

// newest is the number of the newest instance.
func (c *container) newest() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.instance
}

// identity is who the newest instance runs as.
func (c *container) identity() (uid, gid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.user.UID), int(c.user.GID)
}

// await returns when the instance's main process has ended, with all its output read.
func (c *container) await(ctx context.Context) (pod.Event, error) {
	made, _ := c.get()
	if made == nil {
		return pod.Event{}, fmt.Errorf("await container %s: it was not created", c.spec().Name)
	}
	x, err := made.Wait(ctx)
	if err != nil {
		return pod.Event{}, err
	}
	if c.pod.init != nil {
		// Its processes are to end with it. containerd sees to that too, but not where the end overtakes the start.
		if err := ctrd.RemoveCgroup(ctx, c.pod.host.cfg.Site.cgroup(c.pod.id, c.spec().Name)); err != nil {
			return pod.Event{}, err
		}
	}
	c.flushLog() // who is told of the end finds all of the output
	exit := &pod.Exit{Code: x.Code, OOMKilled: x.OOMKilled}
	if x.Code > 128 && x.Code < 128+65 {
		exit.Signal = x.Code - 128
	}
	c.lines.Lock()
	exit.LastLog = append(exit.LastLog, c.last...)
	c.lines.Unlock()
	if x.Lost {
		exit.Message = "the container's shim died, and the container with it"
	} else if exit.Message, err = c.terminationMessage(x.Code); err != nil {
		return pod.Event{}, err
	}
	if err := c.pod.rulesMayHaveCome(ctx, c.spec()); err != nil {
		return pod.Event{}, err
	}
	return pod.Event{Time: x.Time, Exit: exit}, nil
}

// flushLog returns when all that the newest instance has printed so far is in its log.
func (c *container) flushLog() {
	c.mu.Lock()
	log := c.log
	c.mu.Unlock()
	if log != nil {
		log.Flush()
	}
}

func (c *container) signal(ctx context.Context, name string) (pod.Event, error) {
	made, _ := c.get()
	if made == nil {
		return pod.Event{}, nil
	}
	return pod.Event{}, made.Signal(ctx, name)
}

func (c *container) remove(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drop(ctx)
}

// drop removes the instance that was made, if any; its log stays. The caller holds mu.
func (c *container) drop(ctx context.Context) error {
	c.refused = nil
	if c.made == nil {
		return nil
	}
	if err := c.made.Delete(ctx); err != nil {
		return err
	}
	c.made = nil
	if err := c.log.Close(); err != nil { // the container did without, and so can the pod
		c.pod.host.warn(c.pod.spec().Name, c.spec().Name, fmt.Sprintf("its log may not be whole: %v", err))
	}
	return nil
}

// failed is an answer that says the action did not do what it was for.
func failed(reason string, err error) pod.Event {
	return pod.Event{Failure: &pod.Failure{Reason: reason, Message: strings.TrimSpace(err.Error())}}
}
