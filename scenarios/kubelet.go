package scenarios

import (
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"go.yaml.in/yaml/v3"
)

// kubelet is the kubelet that the options describe, to be changed by whoever reads one of them.
func (l *loader) kubelet() *pod.Kubelet {
	if l.out.Options.Kubelet == nil {
		l.out.Options.Kubelet = &pod.Kubelet{}
	}
	return l.out.Options.Kubelet
}

// profile reads whose kubelet it is: a release, or a mapping of it with feature gates.
func (l *loader) profile(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		l.release(n)
		return
	}
	l.mapping(n, "profile", fields{
		"kubernetes":   l.release,
		"featureGates": l.featureGates,
	}, nil)
}

func (l *loader) release(n *yaml.Node) {
	if s, ok := l.scalar(n, "a release of Kubernetes such as \""+pod.DefaultVersion.String()+"\""); ok {
		if err := l.kubelet().Version.UnmarshalText([]byte(s)); err != nil {
			l.errorf(n, "%v", err)
		}
	}
}

func (l *loader) featureGates(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.errorf(n, "featureGates must be a mapping of gates to true or false, not a %s", diag.KindName(n))
		return
	}
	var candidates []string
	for _, g := range pod.Gates() {
		candidates = append(candidates, g.String())
	}
	k := l.kubelet()
	k.Gates = map[pod.Gate]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		var g pod.Gate
		if g.UnmarshalText([]byte(key.Value)) != nil {
			l.suggest(key, key.Value, candidates, "podsim does not know the feature gate %q; podsim/pod/GATES.md lists those that decide something here", key.Value)
			continue
		}
		k.Gates[g] = l.boolean(value)
	}
}

// clock reads how fast the kubelet's time passes.
func (l *loader) clock(n *yaml.Node) {
	k := l.kubelet()
	l.mapping(n, "clock", fields{
		"backoff": func(v *yaml.Node) {
			s, ok := l.scalar(v, "real, off or xN for N times as fast")
			if ok && k.Pace.UnmarshalText([]byte(s)) != nil {
				l.errorf(v, "unknown pace of back-offs %q: want real, off or xN for N times as fast", v.Value)
			}
		},
		"maxBackoff": func(v *yaml.Node) { k.MaxBackOff = l.duration(v) },
		"probeTicks": func(v *yaml.Node) {
			words := make([]string, 0, len(pod.TicksValues()))
			for _, t := range pod.TicksValues() {
				words = append(words, t.String())
			}
			if s := l.word(v, "origin of probe ticks", words...); s != "" {
				_ = k.Ticks.UnmarshalText([]byte(s)) // it is one of TicksValues
			}
		},
		"timing": func(v *yaml.Node) {
			k.Poll, k.Pause = 0, 0
			switch l.word(v, "timing", "events", "steps", "kubelet") {
			case "steps":
				k.Pause = pod.KubeletPause
			case "kubelet":
				k.Poll, k.Pause = pod.KubeletPoll, pod.KubeletPause
			}
		},
	}, nil)
}

// checkKubelet reports what cannot be together, where it is written.
func (l *loader) checkKubelet(options *yaml.Node) {
	k := l.out.Options.Kubelet
	if k == nil {
		return
	}
	err := k.Check()
	if err == nil {
		return
	}
	path := []string{"profile", "featureGates"}
	without := *k
	if without.MaxBackOff = 0; without.Check() == nil {
		path = []string{"clock", "maxBackoff"}
	}
	at := options
	for _, key := range path {
		if _, v := diag.Lookup(at, key); v != nil {
			at = v
		}
	}
	l.errorf(at, "%v", err)
}
