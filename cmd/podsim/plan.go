package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios/report"
)

// A rehearsed pod is deleted when it has been ready for planStay, or planPatience after its beginning if it never is;
// the rehearsal ends at planHorizon whatever happens.
const (
	planStay     = 5 * time.Second
	planPatience = 10 * time.Minute
	planHorizon  = time.Hour
)

func newPlan() *cobra.Command {
	var sel manifest.Select
	var k kubeletFlags
	cmd := &cobra.Command{
		Use:   "plan POD.yaml",
		Short: "Rehearse a pod's start and stop in virtual time; no root",
		Long: `Rehearse a pod's start and stop in virtual time, by the same planner as a real run: who starts when, and who waits for
whom. Containers behave well: images are there, init containers end after a second, probes succeed, TERM ends the others.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			kubelet, err := k.read()
			if err != nil {
				return err
			}
			return plan(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], sel, kubelet)
		},
	}
	cmd.Flags().StringVar(&sel.Name, "name", "", "of several pods in the file, the one of this name")
	cmd.Flags().StringVar(&sel.Kind, "kind", "", "of several pods in the file, the one of this kind")
	k.add(cmd, "events")
	return cmd
}

func plan(out, errOut io.Writer, file string, sel manifest.Select, kubelet pod.Kubelet) error {
	_, p, err := readPod(errOut, file, sel, manifest.Options{Kubelet: kubelet})
	if err != nil {
		return err
	}
	begin := time.Unix(0, 0).UTC()
	stop := pod.Ask{Action: pod.Action{Op: pod.OpDelete, Pod: p.Name, Why: "the rehearsal's stop"}, After: planStay, Ready: true, Latest: planPatience}
	events, status, err := pod.Rehearse(p, pod.Script{Kubelet: kubelet}, begin, planHorizon, stop)
	if err != nil {
		return err
	}
	live := report.NewLive(out, report.Style{}, []*corev1.Pod{p})
	var log timeline.Log
	var s pod.Status
	var waits []pod.Wait
	width := nameWidth(p)
	for _, e := range events {
		live.Record(log.Append(rehearsed(e)))
		if s, err = s.Apply(e); err != nil {
			return err
		}
		waits = sayWaits(out, width, waits, pod.Next(p, s, e.Time).Waiting, e.Time.Sub(begin))
	}
	last := log.View().At(log.View().Len()).Time
	fmt.Fprintf(out, "\npod %s: %s after %s\n", p.Name, status.PodStatus(p, last).Phase, last.Sub(begin))
	return nil
}

// rehearsed is an event without what only a real run knows: addresses and process IDs.
func rehearsed(e pod.Event) pod.Event {
	if e.Network != nil {
		e.Network = &pod.Network{}
	}
	if e.Instance != nil {
		made := *e.Instance
		made.PID = 0
		e.Instance = &made
	}
	return e
}

// sayWaits prints who waits for what that did not before.
func sayWaits(out io.Writer, width int, before, now []pod.Wait, at time.Duration) []pod.Wait {
	known := make(map[pod.Wait]bool, len(before))
	for _, w := range before {
		known[w] = true
	}
	for _, w := range now {
		if !known[w] {
			fmt.Fprintf(out, "%8.3fs  %-*s  %s\n", at.Seconds(), width, w.Container, w.For)
		}
	}
	return now
}
