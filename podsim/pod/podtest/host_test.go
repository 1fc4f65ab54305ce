package podtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

func scripted() *Host {
	p := new(corev1.Pod)
	p.Name, p.Namespace = "web", "default"
	for _, name := range []string{"runs", "fails", "stubborn", "missing"} {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: name + ":1"})
	}
	exec := &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: exec}
	never := pod.Failure{Reason: "ErrImageNeverPull"}
	return &Host{Pods: []*corev1.Pod{p}, Scripts: map[string]pod.Script{"web": {Containers: map[string]pod.Behaviour{
		"runs":     {Lives: []pod.Life{{StopTime: 50 * time.Millisecond, PreStop: pod.HookRun{Hangs: true}}}},
		"fails":    {Lives: []pod.Life{{Ends: true, After: 100 * time.Millisecond, Code: 3}}},
		"stubborn": {Lives: []pod.Life{{IgnoresTerm: true}}},
		"missing":  {PullFailures: []pod.Failure{never, never}},
	}}}}
}

func TestTheScriptedHostConforms(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := scripted()
				Check(t, c, Fixture{Host: h, Pod: h.Pods[0], Runs: "runs", Fails: "fails", Stubborn: "stubborn", Missing: "missing", Left: h.Left})
			})
		})
	}
}

func TestAFaultIsAnErrorOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, broken := scripted(), errors.New("the daemon is gone")
		h.Faults = []Fault{{Op: pod.OpPull, Container: "runs", Skip: 1, Err: broken}}
		for i, want := range []error{nil, broken, broken} {
			_, err := h.Do(t.Context(), pod.Action{Op: pod.OpPull, Pod: "web", Container: "runs"})
			if !errors.Is(err, want) {
				t.Errorf("pull number %d: got error %v, want %v", i+1, err, want)
			}
		}
		if _, err := h.Do(t.Context(), pod.Action{Op: pod.OpPull, Pod: "web", Container: "fails"}); err != nil {
			t.Errorf("pull of another container: %v, want none of its faults", err)
		}
	})
}

func TestAFaultWithoutAnErrorHangsUntilItIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := scripted()
		h.Faults = []Fault{{Op: pod.OpSetUp}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		_, err := h.Do(ctx, pod.Action{Op: pod.OpSetUp, Pod: "web"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Hour {
			t.Errorf("got error %v after %s, want the context's own after an hour", err, time.Since(begin))
		}
	})
}

func TestAHookInsideAContainerEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := scripted()
		f := Fixture{Host: h, Pod: h.Pods[0]}
		well(t, f, pod.Action{Op: pod.OpSetUp})
		start(t, f, "runs", 0)
		var e pod.Event
		var err error
		hook := make(chan struct{})
		go func() {
			defer close(hook)
			e, err = h.Do(t.Context(), pod.Action{Op: pod.OpHook, Pod: "web", Container: "runs", Hook: pod.HookPreStop})
		}()
		synctest.Wait()
		signal(t, f, "runs", "KILL")
		<-hook
		if err != nil || e.Failure == nil {
			t.Errorf("the hook hangs, and its container was killed: got %+v, %v, want a failure of the hook", e, err)
		}
	})
}

func TestWhatNoScriptCoversIsAnError(t *testing.T) {
	h := scripted()
	if _, err := h.Do(t.Context(), pod.Action{Op: pod.OpExec, Pod: "web", Container: "runs"}); err == nil {
		t.Error("exec without Other: got no error")
	}
	if _, err := h.Do(t.Context(), pod.Action{Op: pod.OpPull, Pod: "db", Container: "runs"}); err == nil {
		t.Error("pull in a pod that the host does not have: got no error")
	}
	if got := h.Calls(); len(got) != 2 || got[0].Op != pod.OpExec {
		t.Errorf("Calls: got %v, want the two that were made", got)
	}
}

func TestAReapThatFailsLeavesThingsBehind(t *testing.T) {
	h := scripted()
	h.ReapErr = errors.New("the mount is busy")
	well(t, Fixture{Host: h, Pod: h.Pods[0]}, pod.Action{Op: pod.OpSetUp})
	if err := h.Reap(t.Context()); !errors.Is(err, h.ReapErr) {
		t.Errorf("Reap: got %v, want %v", err, h.ReapErr)
	}
	if left := h.Left(); !slices.Equal(left, []string{"network web"}) || h.Reaps() != 1 {
		t.Errorf("after a reap that failed: left %v, reaps %d, want the network and 1", left, h.Reaps())
	}
}
