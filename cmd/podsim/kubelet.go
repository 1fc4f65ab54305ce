package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/pod"
)

// kubeletFlags say which kubelet a pod is run by.
type kubeletFlags struct {
	version, backOff, ticks, timing string
	maxBackOff                      time.Duration
	gates                           []string
}

// add adds the flags to a command, with the timing that it has by default.
func (k *kubeletFlags) add(cmd *cobra.Command, timing string) {
	f := cmd.Flags()
	f.StringVar(&k.version, "kube-version", pod.DefaultVersion.String(), fmt.Sprintf("behave as Kubernetes of this release: %s to %s", pod.FirstVersion, pod.LastVersion))
	f.StringSliceVar(&k.gates, "feature-gates", nil, "turn feature gates on or off: GATE=true,GATE=false")
	f.StringVar(&k.backOff, "backoff", "real", "how fast back-offs pass: real, xN for N times as fast, or off")
	f.DurationVar(&k.maxBackOff, "max-backoff", 0, "the kubelet's crashLoopBackOff.maxContainerRestartPeriod (default the release's)")
	f.StringVar(&k.ticks, "probe-ticks", "start", "count the ticks of probes from the container's start, or from the pod's sync as a real kubelet does")
	f.StringVar(&k.timing, "timing", timing, "act on events at once (events), but leave a kubelet's pause between starts (steps), and look at ends once a second as a real kubelet does (kubelet)")
}

// read is the kubelet that the flags describe.
func (k *kubeletFlags) read() (pod.Kubelet, error) {
	var out pod.Kubelet
	bad := func(flag string, err error) (pod.Kubelet, error) {
		return out, &exit{exitUsage, fmt.Errorf("--%s: %w", flag, err)}
	}
	if err := out.Version.UnmarshalText([]byte(k.version)); err != nil {
		return bad("kube-version", err)
	}
	if err := out.Pace.UnmarshalText([]byte(k.backOff)); err != nil {
		return bad("backoff", err)
	}
	if err := out.Ticks.UnmarshalText([]byte(k.ticks)); err != nil {
		return bad("probe-ticks", err)
	}
	switch k.timing {
	case "events":
	case "steps":
		out.Pause = pod.KubeletPause
	case "kubelet":
		out.Poll, out.Pause = pod.KubeletPoll, pod.KubeletPause
	default:
		return bad("timing", fmt.Errorf("%q is none of events, steps and kubelet", k.timing))
	}
	out.MaxBackOff = k.maxBackOff
	for _, g := range k.gates {
		name, value, _ := strings.Cut(g, "=")
		on, err := strconv.ParseBool(value)
		var gate pod.Gate
		if err == nil {
			err = gate.UnmarshalText([]byte(name))
		}
		if err != nil {
			return bad("feature-gates", fmt.Errorf("%q: %w", g, err))
		}
		if out.Gates == nil {
			out.Gates = map[pod.Gate]bool{}
		}
		out.Gates[gate] = on
	}
	if err := out.Check(); err != nil {
		return out, &exit{exitUsage, err}
	}
	return out, nil
}
