package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns/flows"
	"github.com/podsim/podsim/netns/request"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/probe"
)

// What an answer keeps at most, in bytes.
const (
	maxOutput  = 64 << 10
	maxContent = 1 << 20
)

// target is what probes and hooks are made towards.
func (c *container) target() probe.Target {
	t := probe.Target{Container: c.spec(), Exec: c.execForProbe}
	if ips := c.pod.network().PodIPs; len(ips) > 0 {
		t.PodIP = ips[0]
	}
	return t
}

func (c *container) execForProbe(ctx context.Context, command []string) (int, []byte, error) {
	made, err := c.running()
	if err != nil {
		return 0, nil, err
	}
	r, err := made.Exec(ctx, ctrd.Exec{Args: command})
	return r.Code, append(r.Stdout, r.Stderr...), err
}

// probe makes one attempt of one probe.
func (c *container) probe(ctx context.Context, a pod.Action) (pod.Event, error) {
	spec := map[pod.ProbeKind]*corev1.Probe{
		pod.ProbeStartup: c.spec().StartupProbe, pod.ProbeLiveness: c.spec().LivenessProbe, pod.ProbeReadiness: c.spec().ReadinessProbe,
	}[a.Probe]
	if spec == nil {
		return pod.Event{}, fmt.Errorf("container %s has no %s probe", c.spec().Name, a.Probe)
	}
	r := c.pod.prober.Probe(ctx, spec, c.target()).ProbeResult()
	return pod.Event{Probe: &r}, nil
}

// hook runs one lifecycle hook. Its failures are in the kubelet's words.
func (c *container) hook(ctx context.Context, a pod.Action) (pod.Event, error) {
	if c.spec().Lifecycle == nil {
		return pod.Event{}, fmt.Errorf("container %s has no hooks", c.spec().Name)
	}
	h := c.spec().Lifecycle.PostStart
	reason := "FailedPostStartHook"
	if a.Hook == pod.HookPreStop {
		h, reason = c.spec().Lifecycle.PreStop, "FailedPreStopHook"
	}
	if h == nil {
		return pod.Event{}, fmt.Errorf("container %s has no %s hook", c.spec().Name, a.Hook)
	}
	outer := ctx
	if a.Timeout > 0 {
		var cancel func()
		ctx, cancel = c.limited(ctx, a.Timeout, h.Exec != nil)
		defer cancel()
	}
	e, err := c.runHook(ctx, h)
	if outer.Err() != nil {
		return pod.Event{}, context.Cause(outer)
	}
	if err != nil {
		e.Failure = &pod.Failure{Reason: reason, Message: err.Error()}
	}
	return e, nil
}

// limited bounds a hook by its time. A command is not killed then: nobody waits for it any more, and it runs on until its
// container ends (TM-10; executePreStopHook in kubelet/kuberuntime/kuberuntime_container.go). The caller calls cancel.
func (c *container) limited(ctx context.Context, limit time.Duration, command bool) (_ context.Context, cancel func()) {
	made, err := c.running()
	if !command || err != nil {
		return context.WithTimeout(ctx, limit)
	}
	ctx, stop := context.WithCancelCause(ctx)
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		over := time.NewTimer(limit)
		defer over.Stop()
		select {
		case <-over.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-made.Exited():
			stop(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { stop(nil); <-joined }
}

func (c *container) runHook(ctx context.Context, h *corev1.LifecycleHandler) (pod.Event, error) {
	switch {
	case h.Exec != nil:
		// As it is written: the kubelet expands $(NAME) in the commands of probes (PB-07), but not in those of hooks
		// (LH-07; Run in kubelet/lifecycle/handlers.go).
		return c.execHook(ctx, h.Exec.Command)
	case h.HTTPGet != nil:
		warning, err := c.pod.prober.HTTPHook(ctx, h.HTTPGet, c.target())
		if warning != "" {
			c.pod.host.warn(c.pod.spec().Name, c.spec().Name, warning)
		}
		return pod.Event{}, err
	case h.Sleep != nil:
		select {
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return pod.Event{}, nil
		case <-ctx.Done():
			return pod.Event{}, context.Cause(ctx)
		}
	}
	return pod.Event{}, errors.New("invalid handler: tcpSocket hooks are not run by any kubelet") // LH-03
}

func (c *container) execHook(ctx context.Context, command []string) (pod.Event, error) {
	made, err := c.running()
	if err != nil {
		return pod.Event{}, err
	}
	r, err := made.Exec(ctx, ctrd.Exec{Args: command})
	e := pod.Event{Output: &pod.Output{Code: r.Code, Stdout: string(r.Stdout), Stderr: string(r.Stderr)}}
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(command, " "), r.Code, bytes.TrimSpace(append(r.Stdout, r.Stderr...)))
	}
	return e, err
}

// exec runs a scenario's command in the container.
func (c *container) exec(ctx context.Context, a pod.Action) (pod.Event, error) {
	made, err := c.running()
	if err != nil {
		return failed(reasonExec, err), nil
	}
	r, err := made.Exec(ctx, ctrd.Exec{Args: a.Command, Timeout: a.Timeout, Limit: maxOutput})
	e := pod.Event{Output: &pod.Output{Code: r.Code, Stdout: string(r.Stdout), Stderr: string(r.Stderr)}}
	switch {
	case isA[*ctrd.RuntimeError](err):
		return failed(reasonExec, err), nil
	case err != nil && ended(made):
		return failed(reasonExec, fmt.Errorf("container %s ended before the command did", c.spec().Name)), nil
	case err != nil:
		return pod.Event{}, err
	case r.TimedOut:
		e.Failure = &pod.Failure{Reason: reasonTimeout, Message: fmt.Sprintf("the command ran for more than %s, and was killed", a.Timeout)}
	}
	return e, nil
}

// runOnHost runs a shell line on the machine.
func runOnHost(ctx context.Context, a pod.Action) (pod.Event, error) {
	outer := ctx
	if a.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.Timeout)
		defer cancel()
	}
	stdout, stderr := firstBytes{limit: maxOutput}, firstBytes{limit: maxOutput}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", strings.Join(a.Command, " "))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// Its own process group, so that what the shell started goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if outer.Err() != nil {
		return pod.Event{}, context.Cause(outer)
	}
	e := pod.Event{Output: &pod.Output{Code: cmd.ProcessState.ExitCode(), Stdout: string(stdout.kept), Stderr: string(stderr.kept)}}
	_, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		e.Failure = &pod.Failure{Reason: reasonTimeout, Message: fmt.Sprintf("the command ran for more than %s, and was killed", a.Timeout)}
	case err != nil && !exited:
		e.Failure = &pod.Failure{Reason: reasonExec, Message: err.Error()}
	}
	return e, nil
}

// firstBytes keeps the first bytes that are written to it, and takes the rest.
type firstBytes struct {
	limit int
	kept  []byte
}

func (f *firstBytes) Write(p []byte) (int, error) {
	f.kept = append(f.kept, p[:min(len(p), f.limit-len(f.kept))]...)
	return len(p), nil
}

// read reads a container's log, or a file in it.
func (c *container) read(_ context.Context, a pod.Action) (pod.Event, error) {
	if a.Read == nil {
		return pod.Event{}, errors.New("nothing to read is named")
	}
	if a.Read.File != "" {
		return c.readFile(a.Read.File)
	}
	instance := c.newest()
	if a.Read.Previous {
		instance--
	}
	c.flushLog()
	lines, err := rundir.ReadLog(c.logPath(instance), a.Read.Tail)
	if errors.Is(err, os.ErrNotExist) {
		return pod.Event{Content: &pod.Content{Missing: true}}, nil
	}
	if err != nil {
		return pod.Event{}, err
	}
	text := textOf(lines)
	return pod.Event{Content: &pod.Content{Data: text[max(0, len(text)-maxContent):], Size: int64(len(text))}}, nil
}

// readFile reads through the main process's root, as a process of the container would: no symbolic link leads out.
func (c *container) readFile(name string) (pod.Event, error) {
	made, err := c.running()
	if err != nil {
		return failed(reasonNotFound, err), nil
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", made.PID()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed(reasonNotFound, fmt.Errorf("open the root of container %s: %w", c.spec().Name, err)), nil
	}
	defer unix.Close(root)
	// Not blocking: a named pipe must not hold us up.
	fd, err := unix.Openat2(root, filepath.Clean("/"+name), &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return pod.Event{Content: &pod.Content{Missing: true}}, nil
	}
	if err != nil {
		return failed(reasonNotFound, fmt.Errorf("open %s in container %s: %w", name, c.spec().Name, err)), nil
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pod.Event{}, fmt.Errorf("stat %s in container %s: %w", name, c.spec().Name, err)
	}
	content := &pod.Content{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Size: st.Size}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		content.Dir = true
	case unix.S_IFREG:
		data, err := io.ReadAll(io.LimitReader(f, maxContent))
		if err != nil {
			return failed(reasonNotFound, fmt.Errorf("read %s in container %s: %w", name, c.spec().Name, err)), nil
		}
		content.Data = string(data)
	}
	return pod.Event{Content: content}, nil
}

// request sends traffic from the container's place: its namespace, its cgroup, its user.
func (c *container) request(ctx context.Context, a pod.Action) (pod.Event, error) {
	if _, err := c.running(); err != nil {
		return failed(reasonNotFound, err), nil
	}
	if err := c.pod.track(ctx, c.spec().Name); err != nil {
		return pod.Event{}, err
	}
	from := request.Place{Netns: c.pod.pins.Net}
	uid, gid := c.identity()
	from.UID, from.GID = &uid, &gid
	if mount, err := flows.CgroupMount(); err == nil {
		from.Cgroup = filepath.Join(mount, c.pod.host.cfg.Site.cgroup(c.pod.id, c.spec().Name))
	}
	for name, text := range map[string]*string{fileResolv: &from.ResolvConf, fileHosts: &from.Hosts} {
		data, err := os.ReadFile(filepath.Join(c.pod.host.cfg.Site.files(c.pod.id), name))
		if err != nil {
			return pod.Event{}, fmt.Errorf("read the pod's files: %w", err)
		}
		*text = string(data)
	}
	return send(ctx, from, a)
}

// requestFromHost sends traffic from the machine itself, as a client outside the pod.
func (h *Host) requestFromHost(ctx context.Context, a pod.Action) (pod.Event, error) {
	return send(ctx, request.Place{}, a)
}

func send(ctx context.Context, from request.Place, a pod.Action) (pod.Event, error) {
	r := a.Request
	if r == nil {
		return pod.Event{}, errors.New("no request is given")
	}
	for own, asked := range map[**int]*int64{&from.UID: r.UID, &from.GID: r.GID} {
		if asked != nil {
			id := int(*asked)
			*own = &id
		}
	}
	if a.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.Timeout)
		defer cancel()
	}
	out := request.Request{
		Protocol: request.Protocol(r.Protocol), URL: r.URL, Method: r.Method, Header: r.Header, Body: r.Body,
		Address: r.Address, Send: r.Send, Expect: r.Expect,
	}
	for name, values := range r.Header {
		if strings.EqualFold(name, "Host") && len(values) > 0 {
			out.Host = values[0]
		}
	}
	got, err := request.Do(ctx, from, out)
	if err != nil {
		return pod.Event{}, err
	}
	return pod.Event{Response: &pod.Response{
		Error: string(got.Error), Detail: got.Detail, Status: got.Status, Header: got.Header, Body: string(got.Body),
		Local: got.Local, Remote: got.Remote, Elapsed: got.Elapsed,
	}}, nil
}
