//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	oruntime "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Labels on every container record and its snapshot.
const (
	labelRun       = "podsim.run"
	labelPod       = "podsim.pod"
	labelContainer = "podsim.container"
	labelCgroup    = "podsim.cgroup"
)

// runtimeName is the runtime of an external containerd's containers. A private one is told the bundle's shim by path.
const runtimeName = "io.containerd.runc.v2"

// groupAnnotation makes the containers of equal value share one shim.
const groupAnnotation = "io.containerd.runc.v2.group"

// removeTimeout bounds the removal of one container: SIGKILL, and what the kernel and the runtime then need.
const removeTimeout = 30 * time.Second

// A ContainerConfig says what to create.
type ContainerConfig struct {
	// ID is the container's name in containerd, of at most 76 characters: letters, digits and . _ - between them.
	ID string
	// Run, Pod and Name are what it belongs to; they are found again by label. Containers of one Pod share a shim.
	Run, Pod, Name string
	Image          Image
	Spec           Spec
	// Stdin gives it a standard input that is open until it ends, for those who attach to it. Without, it is /dev/null.
	Stdin bool
	// Output is called with each line that the container prints, one call at a time, and never after Delete has
	// returned. Nil discards it, and then nobody can attach to the container either.
	Output func(Line)
}

// A RuntimeError is what the OCI runtime said against a container or a process: a program that is not in the
// image, a mount that cannot be made. It is a fact about the pod. Under Kubernetes it shows when a container starts
// (RunContainerError), also where it comes from Create.
type RuntimeError struct {
	Op      string // create, start or exec
	Message string
}

func (e *RuntimeError) Error() string { return e.Op + ": " + e.Message }

// A Container is one that this process created. Its methods may be called from any goroutine. Delete it.
type Container struct {
	client *Client
	run    string
	id     string
	pod    string
	cgroup string
	pid    int
	main   *held // nil: the main process has to be signalled through the runtime
	proc   *oruntime.Process
	notes  []string
	execs  atomic.Int64

	pipes  *pipes
	pumped chan struct{} // closed when no output will come any more

	stop    context.CancelCauseFunc // ends watch
	exited  chan struct{}           // closed when exit and exitErr are set
	exit    Exit
	exitErr error

	deleting sync.Mutex
	deleted  bool
	left     bool // the shim, as far as others may join it
}

// An Exit is how a container's main process ended.
type Exit struct {
	Code      int // 128+n for signal n
	Time      time.Time
	OOMKilled bool // a process of the container was killed for want of memory
	// Lost says that the shim died, so that code and time are not the process's own: it was killed for it (137).
	Lost bool
}

// Create makes a container ready to start: its record, its writable layer and its task, whose process waits. Its
// image must be present. On an error nothing is left. An *ImageError or a *RuntimeError is a fact about the pod;
// any other is a failure of containerd or of the host.
func (c *Client) Create(ctx context.Context, cfg ContainerConfig) (*Container, error) {
	k, err := c.create(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", cfg.Name, err)
	}
	return k, nil
}

func (c *Client) create(ctx context.Context, cfg ContainerConfig) (_ *Container, err error) {
	spec, notes, err := c.generate(cfg)
	if err != nil {
		return nil, &RuntimeError{Op: "create", Message: err.Error()}
	}
	k := &Container{client: c, run: cfg.Run, id: cfg.ID, pod: cfg.Pod, cgroup: cfg.Spec.Cgroup, proc: spec.Process, notes: notes, exited: make(chan struct{})}
	dir := c.pipeDir(cfg.Run, cfg.ID)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if k.pipes, err = makePipes(filepath.Join(dir, "first"), pipeOptions{tty: cfg.Spec.TTY}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.pipes.attached()) }()
	if cfg.Stdin {
		if err := makePipe(filepath.Join(dir, inputName)); err != nil {
			return nil, errors.Join(err, k.pipes.close())
		}
	}
	sink := newLines(cfg.Output)
	take, finish := sink.take, sink.flush
	if cfg.Output != nil {
		b, err := newBroadcast(c, dir)
		if err != nil {
			return nil, errors.Join(err, k.pipes.close())
		}
		take = func(stderr bool, data []byte) { sink.take(stderr, data); b.take(stderr, data) }
		finish = func() { sink.flush(); b.finish() }
	}
	pumped := k.pipes.pump(take)

	// A shim may end, after its last container, in the moment in which the next one comes to it.
	for range shimAttempts {
		if k.pid, err = c.createTask(ctx, cfg, spec, k.pipes); !shimWent(err) {
			break
		}
	}
	if err != nil {
		k.pipes.interrupt()
		<-pumped
		finish()
		return nil, errors.Join(err, k.pipes.close())
	}
	k.main = hold(k.pid, cfg.Spec)
	k.pumped = make(chan struct{})
	c.watchers.Go(func() {
		<-pumped
		finish()
		close(k.pumped)
	})
	var life context.Context
	life, k.stop = context.WithCancelCause(c.life)
	c.watchers.Go(func() { k.watch(life) })
	return k, nil
}

// shimAttempts is how often a container is created whose shim goes meanwhile.
const shimAttempts = 3

// shimWent reports whether a task was not created because its shim was going.
func shimWent(err error) bool {
	return err != nil && strings.Contains(err.Error(), ttrpc.ErrClosed.Error())
}

func (c *Client) generate(cfg ContainerConfig) (*oruntime.Spec, []string, error) {
	cfg.Spec.Annotations = withEntry(cfg.Spec.Annotations, groupAnnotation, cfg.Pod)
	spec, notes, err := cfg.Spec.generate(c.facts)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Spec.Privileged {
		if spec.Linux.Devices, err = oci.HostDevices(); err != nil {
			return nil, nil, fmt.Errorf("list the host's devices for a privileged container: %w", err)
		}
	}
	return spec, notes, nil
}

func withEntry(m map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// pipeDir is where a container's pipes are made. They are there before its record: so its run is in their path, and
// RemoveRun finds them.
func (c *Client) pipeDir(run, id string) string { return filepath.Join(c.pipesOf(run), id) }

func (c *Client) pipesOf(run string) string { return filepath.Join(c.cfg.fifos(), run) }

// createTask writes the record, then the snapshot that it names, then creates the task: see the package's text on leases.
func (c *Client) createTask(ctx context.Context, cfg ContainerConfig, spec *oruntime.Spec, p *pipes) (pid int, err error) {
	sn, snapshotter, err := c.snapshots(ctx)
	if err != nil {
		return 0, err
	}
	labels := map[string]string{labelRun: cfg.Run, labelPod: cfg.Pod, labelContainer: cfg.Name, labelCgroup: cfg.Spec.Cgroup}
	record, err := c.record(cfg, spec, snapshotter, labels)
	if err != nil {
		return 0, err
	}
	shim, joined, err := c.joinShim(ctx, cfg.Pod)
	if err != nil {
		return 0, err
	}
	defer func() { joined(err == nil) }()
	if shim != "" {
		record.SandboxID = sandboxID
		if err := c.recordSandbox(ctx); err != nil {
			return 0, err
		}
	}
	if _, err := c.ctr.ContainerService().Create(ctx, record); err != nil {
		return 0, fmt.Errorf("write the container's record: %w", native(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.undo(ctx, cfg))
		}
	}()
	mounts, err := c.prepare(ctx, sn, cfg, labels)
	if err != nil {
		return 0, err
	}
	c.noteShim(cfg.Run, cfg.Pod)
	request := &tasks.CreateTaskRequest{
		ContainerID: cfg.ID,
		Rootfs:      mounts,
		Stdout:      p.stdout(),
		Stderr:      p.stderr(),
		Terminal:    cfg.Spec.TTY,
	}
	if cfg.Stdin {
		request.Stdin = filepath.Join(c.pipeDir(cfg.Run, cfg.ID), inputName)
	}
	if shim != "" {
		request.TaskApiAddress, request.TaskApiVersion = shim, shimVersion
	}
	r, err := c.tasks().Create(ctx, request)
	if err != nil {
		return 0, runtimeError("create", err)
	}
	return int(r.Pid), nil
}

// noteShim remembers that a pod has a shim, for removeShimSockets.
func (c *Client) noteShim(run, pod string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pods[run] == nil {
		c.pods[run] = map[string]bool{}
	}
	c.pods[run][pod] = true
}

// undo removes what a failed creation made, also when the caller has lost interest.
func (c *Client) undo(ctx context.Context, cfg ContainerConfig) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := c.remove(ctx, cfg.Run, cfg.ID, cfg.Spec.Cgroup); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}

func (c *Client) record(cfg ContainerConfig, spec *oruntime.Spec, snapshotter string, labels map[string]string) (containers.Container, error) {
	anySpec, err := typeurl.MarshalAny(spec)
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode the container's specification: %w", err)
	}
	runtime := containers.RuntimeInfo{Name: runtimeName}
	if !c.cfg.External() {
		runtime.Name = c.cfg.shim()
		runtime.Options, err = typeurl.MarshalAny(&options.Options{BinaryName: filepath.Join(c.cfg.Bundle, "runc"), Root: c.cfg.runcRoot()})
		if err != nil {
			return containers.Container{}, fmt.Errorf("encode the runtime's options: %w", err)
		}
	}
	return containers.Container{ID: cfg.ID, Labels: labels, Image: cfg.Image.Ref, Runtime: runtime, Spec: anySpec, SnapshotKey: cfg.ID, Snapshotter: snapshotter}, nil
}

// prepare makes the container's writable layer on its image, which is unpacked if that was never done here.
func (c *Client) prepare(ctx context.Context, sn snapshots.Snapshotter, cfg ContainerConfig, labels map[string]string) ([]*types.Mount, error) {
	mounts, err := sn.Prepare(ctx, cfg.ID, cfg.Image.chain, snapshots.WithLabels(labels))
	if errdefs.IsNotFound(err) {
		if err := c.unpack(ctx, cfg.Image.Ref); err != nil {
			return nil, &ImageError{Reason: ReasonImageInspectError, Ref: cfg.Image.Ref, Err: err}
		}
		mounts, err = sn.Prepare(ctx, cfg.ID, cfg.Image.chain, snapshots.WithLabels(labels))
	}
	if err != nil {
		return nil, fmt.Errorf("make the container's writable layer: %w", native(err))
	}
	if c.facts.Volatile {
		mounts = volatile(mounts)
	}
	return mount.ToProto(mounts), nil
}

// volatile spares a writable overlay the syncing on unmount: nobody keeps the layer of a dead container.
func volatile(mounts []mount.Mount) []mount.Mount {
	for i, m := range mounts {
		writable := slices.ContainsFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "upperdir=") })
		if m.Type == "overlay" && writable {
			mounts[i].Options = append(slices.Clone(m.Options), "volatile")
		}
	}
	return mounts
}

// runtimeError tells what the OCI runtime said from a failure of containerd.
func runtimeError(op string, err error) error {
	err = native(err)
	text := err.Error()
	if i := strings.Index(text, "OCI runtime"); i >= 0 {
		return &RuntimeError{Op: op, Message: text[i:]}
	}
	if strings.Contains(text, "failed to mount rootfs component") || strings.Contains(text, "runc did not terminate") {
		return &RuntimeError{Op: op, Message: text}
	}
	return fmt.Errorf("%s task: %w", op, err)
}

// ID is the container's name in containerd.
func (k *Container) ID() string { return k.id }

// PID is the main process's, in the PID namespace of podsim. It exists from Create on, and waits for Start.
func (k *Container) PID() int { return k.pid }

// Notes say what was asked for and could not be had on this host, for the user.
func (k *Container) Notes() []string { return k.notes }

// Start lets the main process run. A *RuntimeError says that it cannot.
func (k *Container) Start(ctx context.Context) error {
	if _, err := k.client.tasks().Start(ctx, &tasks.StartRequest{ContainerID: k.id}); err != nil {
		return fmt.Errorf("start container %s: %w", k.id, runtimeError("start", err))
	}
	return nil
}

// Wait returns how the main process ended, once it has and its output was passed on (the latter at most half a
// second later: a process left behind may hold the streams open). Any number of callers may wait, at any time.
func (k *Container) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-k.exited:
		return k.exit, k.exitErr
	case <-ctx.Done():
		return Exit{}, context.Cause(ctx)
	}
}

// Exited is closed when Wait would return at once.
func (k *Container) Exited() <-chan struct{} { return k.exited }

// watch waits for the exit from before the start on, through the deaths of containerd and of the shim.
func (k *Container) watch(ctx context.Context) {
	defer close(k.exited)
	exit, err := k.awaitExit(ctx)
	if err != nil {
		k.exitErr = fmt.Errorf("wait for container %s: %w", k.id, err)
		return
	}
	oom, _ := oomKills(k.cgroup)
	exit.OOMKilled = oom > 0
	await(k.pumped)
	k.exit = exit
}

func (k *Container) awaitExit(ctx context.Context) (Exit, error) {
	for {
		r, err := k.client.tasks().Wait(ctx, &tasks.WaitRequest{ContainerID: k.id})
		if err == nil {
			return Exit{Code: int(r.ExitStatus), Time: r.ExitedAt.AsTime()}, nil
		}
		if ctx.Err() != nil {
			return Exit{}, context.Cause(ctx)
		}
		if err := native(err); errors.Is(err, ErrDaemonGone) {
			if rerr := k.client.Revive(ctx); rerr != nil {
				return Exit{}, errors.Join(err, rerr)
			}
		}
		if exit, over, err := k.settle(ctx); over || err != nil {
			return exit, err
		}
	}
}

// settle asks for the state after a wait was cut off. It is over when the task has ended or is no more; containerd
// takes a task off its list once it has killed what a dead shim left.
func (k *Container) settle(ctx context.Context) (exit Exit, over bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, removeTimeout, fmt.Errorf("containerd did not settle within %s", removeTimeout))
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		r, err := k.client.tasks().Get(ctx, &tasks.GetRequest{ContainerID: k.id})
		switch err = native(err); {
		case err == nil && r.Process.Status == tasktypes.Status_STOPPED:
			return Exit{Code: int(r.Process.ExitStatus), Time: r.Process.ExitedAt.AsTime()}, true, nil
		case err == nil && r.Process.Status != tasktypes.Status_UNKNOWN:
			return Exit{}, false, nil
		case errdefs.IsNotFound(err):
			return Exit{Code: 128 + int(unix.SIGKILL), Time: time.Now(), Lost: true}, true, nil
		case errors.Is(err, ErrDaemonGone):
			if rerr := k.client.Revive(ctx); rerr != nil {
				return Exit{}, false, errors.Join(err, rerr)
			}
		}
		if err := pauseFor(ctx, pause); err != nil {
			return Exit{}, false, err
		}
	}
}

// Signal sends a signal, by its name without SIG, to the main process. One that is gone is no failure.
func (k *Container) Signal(ctx context.Context, name string) error {
	n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	if n == 0 {
		return fmt.Errorf("signal container %s: unknown signal %q", k.id, name)
	}
	if n != unix.SIGKILL {
		awaitProgram(ctx, k.pid)
	}
	if k.main != nil {
		return k.main.signal(n)
	}
	_, err := k.client.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: k.id, Signal: uint32(n)})
	if err = ignoreNotFound(native(err)); err != nil {
		return fmt.Errorf("signal container %s: %w", k.id, err)
	}
	return nil
}

// Delete kills what runs, removes the container and its writable layer, and joins all that was under way for it.
// It is idempotent. Whoever waits gets the exit, or an error where there was none to be had.
func (k *Container) Delete(ctx context.Context) error {
	k.deleting.Lock()
	defer k.deleting.Unlock()
	if k.deleted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if !k.left {
		k.left = true
		k.client.leaveShim(k.pod)
	}
	if err := k.remove(ctx); err != nil {
		return fmt.Errorf("delete container %s: %w", k.id, err)
	}
	k.deleted = true
	k.main.release()
	if !await(k.exited) {
		k.stop(errDeleted)
		<-k.exited
	}
	k.stop(errDeleted)
	if !await(k.pumped) {
		k.pipes.interrupt()
		<-k.pumped
	}
	return k.pipes.close()
}

// remove takes the container away. Where the main process is known to have ended, and all others with it, as it was the
// first of a PID namespace of its own, nothing has to be killed.
func (k *Container) remove(ctx context.Context) error {
	if k.main != nil && k.hasExited() && k.client.deleteEnded(ctx, k.id) {
		return k.client.removeEnded(ctx, k.run, k.id, k.cgroup)
	}
	return k.client.remove(ctx, k.run, k.id, k.cgroup)
}

// hasExited reports whether the main process is known to have ended, by its shim.
func (k *Container) hasExited() bool {
	select {
	case <-k.exited:
		return k.exitErr == nil && !k.exit.Lost
	default:
		return false
	}
}

var errDeleted = errors.New("the container was deleted")
