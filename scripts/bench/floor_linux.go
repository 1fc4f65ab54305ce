package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
)

// floor measures runc by itself: n containers at once, in namespaces that a process holds ready.
func (b *bench) floor(ctx context.Context, n int) (times *Times, err error) {
	holder := exec.Command(filepath.Join(b.bin, "sidekick"), "run")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("make the namespaces: %w", err)
	}
	defer func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	}()
	f := &floor{runc: filepath.Join(b.bin, "runc"), dir: filepath.Join(b.dir, fmt.Sprintf("floor-%d", n))}
	for i := range n {
		if err := f.prepare(i, filepath.Join(b.bin, "sidekick"), holder.Process.Pid); err != nil {
			return nil, err
		}
	}
	var starts, stops []time.Duration
	for range b.rounds + 1 { // the first one warms the caches
		start, stop, err := f.round(ctx)
		if err != nil {
			return nil, err
		}
		starts, stops = append(starts, start), append(stops, stop)
	}
	return &Times{Start: median(starts[1:]), Stop: median(stops[1:])}, nil
}

// A floor is a set of prepared OCI bundles.
type floor struct {
	runc, dir  string
	containers []string
}

// prepare writes the bundle of one container: a root with the program and nothing else.
func (f *floor) prepare(i int, program string, holder int) error {
	id := fmt.Sprintf("podsim-bench-%d-%d", os.Getpid(), i)
	bundle := filepath.Join(f.dir, id)
	for _, d := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(bundle, "rootfs", d), 0o755); err != nil {
			return err
		}
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundle, "rootfs", "sidekick"), binary, 0o755); err != nil {
		return err
	}
	config, err := json.Marshal(floorSpec(id, holder))
	if err != nil {
		return err
	}
	f.containers = append(f.containers, id)
	return os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o644)
}

func floorSpec(id string, holder int) *specs.Spec {
	ns := func(kind specs.LinuxNamespaceType, file string) specs.LinuxNamespace {
		return specs.LinuxNamespace{Type: kind, Path: "/proc/" + strconv.Itoa(holder) + "/ns/" + file}
	}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{Args: []string{"/sidekick", "run"}, Cwd: "/", NoNewPrivileges: true},
		Root:    &specs.Root{Path: "rootfs", Readonly: true},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
		},
		Linux: &specs.Linux{CgroupsPath: "/" + id, Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
			ns(specs.NetworkNamespace, "net"), ns(specs.IPCNamespace, "ipc"), ns(specs.UTSNamespace, "uts"),
		}},
	}
}

// round starts all containers at once, and then stops them all at once.
func (f *floor) round(ctx context.Context) (start, stop time.Duration, err error) {
	begin := time.Now()
	err = f.each(ctx, func(ctx context.Context, id string) error {
		if err := f.do(ctx, "create", "--bundle", filepath.Join(f.dir, id), id); err != nil {
			return err
		}
		return f.do(ctx, "start", id)
	})
	start = time.Since(begin)
	settle()
	// What was begun is ended also when something failed or the user is impatient.
	begin = time.Now()
	err = errors.Join(err, f.each(context.WithoutCancel(ctx), f.stop))
	return start, time.Since(begin), err
}

// stop asks a container to end, waits for that, and deletes it.
func (f *floor) stop(ctx context.Context, id string) error {
	pid, err := os.ReadFile(filepath.Join(f.dir, id, "pid"))
	if err != nil {
		return f.do(ctx, "delete", "--force", id)
	}
	number, err := strconv.Atoi(string(pid))
	if err != nil {
		return err
	}
	if err := f.do(ctx, "kill", id, "TERM"); err != nil {
		return err
	}
	if err := ended(number, 10*time.Second); err != nil {
		return err
	}
	return f.do(ctx, "delete", id)
}

func (f *floor) each(ctx context.Context, do func(context.Context, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, id := range f.containers {
		g.Go(func() error { return do(ctx, id) })
	}
	return g.Wait()
}

// do runs runc. Its output is a file's: a pipe would be held open by the container.
func (f *floor) do(ctx context.Context, verb string, args ...string) error {
	id := args[len(args)-1]
	if verb == "kill" {
		id = args[0]
	}
	if verb == "create" {
		args = append([]string{"--pid-file", filepath.Join(f.dir, id, "pid")}, args...)
	}
	log := filepath.Join(f.dir, id, "log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, f.runc, append([]string{"--root", filepath.Join(f.dir, "state"), verb}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("runc %s: %w: %s", verb, err, text)
	}
	return nil
}
