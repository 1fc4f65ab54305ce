package main

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// ending is the exit code that tells how a pod ended, and why, unless it ended well.
func ending(p *corev1.Pod, v timeline.View) error {
	var s pod.Status
	interrupted := false
	logs := make(map[string][]string)
	for r := range v.All() {
		if r.Action.Pod != p.Name {
			continue
		}
		next, err := s.Apply(r.Event)
		if err != nil {
			return err
		}
		s = next
		interrupted = interrupted || r.Action.Op == pod.OpDelete
		if r.Exit != nil {
			logs[r.Action.Container] = r.Exit.LastLog
		}
	}
	if v.Len() == 0 {
		return errors.New("the run ended before it began")
	}
	switch status := s.PodStatus(p, v.At(v.Len()).Time); {
	case interrupted:
		return &exit{exitInterrupted, nil}
	case status.Phase == corev1.PodSucceeded:
		return nil
	default:
		return &exit{exitFailed, fmt.Errorf("pod %s ended: %s%s%s", p.Name, status.Phase, ownCause(status), causes(status, logs))}
	}
}

// ownCause is the pod's own reason, where it has one besides its containers'.
func ownCause(s corev1.PodStatus) string {
	if s.Reason == "" {
		return ""
	}
	return strings.TrimSuffix(": "+s.Reason+": "+s.Message, ": ")
}

// causes are the containers that did not end well, a line each, with the last lines of their logs.
func causes(status corev1.PodStatus, logs map[string][]string) string {
	var b strings.Builder
	for _, list := range [][]corev1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses} {
		for _, c := range list {
			t := c.State.Terminated
			if t == nil || t.ExitCode == 0 {
				continue
			}
			fmt.Fprintf(&b, "\n  %s: %s, exit code %d", c.Name, t.Reason, t.ExitCode)
			lines := logs[c.Name]
			if m := strings.TrimSpace(t.Message); m != "" && m != strings.TrimSpace(strings.Join(lines, "\n")) {
				fmt.Fprintf(&b, ": %s", strings.ReplaceAll(m, "\n", "\n      "))
			}
			for _, l := range lines {
				fmt.Fprintf(&b, "\n    | %s", l)
			}
		}
	}
	return b.String()
}
