package request

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/podsim/podsim/netns"
)

// grace is how long a helper may outlive the request's time, to report that it was up.
const grace = 2 * time.Second

// Do sends a request from a place and waits for what comes back. Failures of the network, and the end of ctx's
// deadline, are in the Response; an error is a request that could not be tried, or ctx cancelled. When Do returns
// the helper has ended. A request that is sent twice is traffic twice.
func Do(ctx context.Context, from Place, r Request) (Response, error) {
	if err := errors.Join(r.validate(), from.validate()); err != nil {
		return Response{}, fmt.Errorf("send request: %w", err)
	}
	var response Response
	var err error
	if from.own() {
		response, err = local(ctx, from, r)
	} else {
		response, err = remote(ctx, from, r)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return Response{}, fmt.Errorf("send request: %w", context.Cause(ctx))
	}
	if err != nil {
		return Response{}, fmt.Errorf("send request: %w", err)
	}
	return response, nil
}

// local sends from this process. Without a resolv.conf and hosts the process's own resolver is used.
func local(ctx context.Context, from Place, r Request) (Response, error) {
	var s sender
	if from.ResolvConf != "" || from.Hosts != "" {
		resolver, err := newResolver(from.ResolvConf, from.Hosts)
		if err != nil {
			return Response{}, err
		}
		s.resolver = &resolver
	}
	return s.send(ctx, r), nil
}

// remote sends from a helper process.
func remote(ctx context.Context, from Place, r Request) (Response, error) {
	t := task{Request: r, ResolvConf: from.ResolvConf, Hosts: from.Hosts, Drop: from.UID != nil || from.GID != nil}
	if from.UID != nil {
		t.UID = *from.UID
	}
	if from.GID != nil {
		t.GID = *from.GID
	}
	began := time.Now()
	helperCtx := ctx
	if deadline, ok := ctx.Deadline(); ok {
		t.Timeout = time.Until(deadline)
		if t.Timeout <= 0 {
			return Response{Error: Timeout, Detail: "no time is left"}, nil
		}
		// The helper itself reports that the time is up; only if it cannot, it is killed. A cancelled ctx kills at once.
		var cancel context.CancelFunc
		helperCtx, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(grace))
		defer cancel()
		defer context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.Canceled) {
				cancel()
			}
		})()
	}
	answer, err := run(helperCtx, from, t)
	if err != nil && errors.Is(helperCtx.Err(), context.DeadlineExceeded) {
		return Response{Error: Timeout, Detail: "the helper process did not answer in time", Elapsed: time.Since(began)}, nil
	}
	if err != nil {
		return Response{}, err
	}
	if answer.Failure != "" {
		return Response{}, errors.New(answer.Failure)
	}
	return answer.Response, nil
}

// run runs a helper process and returns its report.
func run(ctx context.Context, from Place, t task) (report, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Command)
	cmd.Args[0] = "podsim"
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// The pipe stays open until the helper has ended: it ends itself when the pipe does, if this process is killed.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return report{}, err
	}
	defer stdin.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if from.Cgroup != "" {
		group, err := os.Open(from.Cgroup)
		if err != nil {
			return report{}, fmt.Errorf("enter cgroup: %w", err)
		}
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := startIn(from, cmd); err != nil {
		return report{}, err
	}
	wrote := json.NewEncoder(stdin).Encode(t)
	if err := errors.Join(cmd.Wait(), wrote); err != nil {
		return report{}, fmt.Errorf("helper process: %w%s", err, lastLines(stderr.String()))
	}
	var answer report
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		return report{}, fmt.Errorf("helper process: read its answer %q: %w (does main call request.Main?)", stdout.Bytes(), err)
	}
	return answer, nil
}

// startIn starts cmd as a child of a thread in the namespace, so that all of it is there.
func startIn(from Place, cmd *exec.Cmd) error {
	start := cmd.Start
	if from.Netns != "" {
		start = func() error { return netns.Do(from.Netns, cmd.Start) }
	}
	switch err := start(); {
	case err != nil && from.Cgroup != "":
		return fmt.Errorf("start helper process in cgroup %s: %w", from.Cgroup, err)
	case err != nil:
		return fmt.Errorf("start helper process: %w", err)
	}
	return nil
}

func lastLines(stderr string) string {
	stderr = strings.TrimSpace(stderr)
	if stderr == "" {
		return ""
	}
	lines := strings.Split(stderr, "\n")
	return ": " + strings.Join(lines[max(0, len(lines)-5):], "; ")
}
