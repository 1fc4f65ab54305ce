package main

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// An order says which pairs of a pod's events cannot be concurrent.
type order struct {
	roles map[string]role
	turn  map[string]int // a container's place among those that are started one after the other (IN-01, SC-02)
	last  map[string]int // the last instance of each container
	stop  map[string]int // the instance of each container that was killed last; -1: none
}

// orderOf makes the order of a pod, whose events were so on one side. Without a pod, containers are not ordered among
// each other.
func orderOf(p *corev1.Pod, list []Event) *order {
	o := &order{roles: rolesOf(p), turn: map[string]int{}, last: map[string]int{}, stop: map[string]int{}}
	if p != nil {
		for i := range p.Spec.InitContainers {
			o.turn[p.Spec.InitContainers[i].Name] = i
		}
		for i := range p.Spec.Containers {
			o.turn[p.Spec.Containers[i].Name] = len(p.Spec.InitContainers) + i
		}
	}
	for _, e := range list {
		o.last[e.Container] = max(o.last[e.Container], e.Instance)
		if _, known := o.stop[e.Container]; !known {
			o.stop[e.Container] = -1
		}
		if e.What == Killing {
			o.stop[e.Container] = e.Instance
		}
	}
	return o
}

// forced says why two events cannot be concurrent, whichever comes first; empty if they can be.
func (o *order) forced(a, b Event) string {
	if a.Container == b.Container {
		if a.What.OfPod() {
			return ofPod(a, b)
		}
		return ofContainer(a, b)
	}
	for _, rule := range []func(a, b Event) string{o.turns, o.mains, o.ending, o.reported} {
		for _, why := range []string{rule(a, b), rule(b, a)} {
			if why != "" {
				return why
			}
		}
	}
	return ""
}

// ofContainer relates two events of one container: its life is a chain. What its status tells comes as it may beside
// what the kubelet does, but for the start and the end of the instance; so do probes, but for the killing that they cause.
func ofContainer(a, b Event) string {
	const chain = "the events of one container are a chain"
	if b.What.backbone() {
		a, b = b, a
	}
	switch {
	case a.What.backbone() && b.What.backbone(), a.What.flag() && b.What.flag():
		return chain
	case a.What.backbone() && a.Instance == b.Instance && b.What != NotReady && (a.What == Started || a.What == Exited && b.What.flag()):
		return chain
	case a.What == Killing && a.Instance == b.Instance && b.What == Unhealthy && b.Detail != "readiness":
		return "a container is killed because its probe failed (PB-13, PB-14)"
	}
	return ""
}

// ofPod relates two events of the pod: its phases, one condition's changes, and the conditions of which one needs the
// other.
func ofPod(a, b Event) string {
	kindA, isA, _ := strings.Cut(a.Detail, "=")
	kindB, isB, _ := strings.Cut(b.Detail, "=")
	switch {
	case a.What != b.What:
		return ""
	case a.What == Phase:
		return "a pod's phases are a chain (PH-01)"
	case kindA == kindB:
		return "a condition's changes are a chain"
	case isA == string(corev1.ConditionTrue) && isB == isA && needed[kindA] && needed[kindB]:
		return "a condition is not true before those that it needs (PH-12)"
	}
	return ""
}

// needed are the conditions of which one needs the other. All but Ready stay true.
var needed = map[string]bool{string(corev1.PodReadyToStartContainers): true, string(corev1.PodInitialized): true, string(corev1.PodReady): true}

// turns relates what completes an init container, as first, to the first start of a container whose turn comes after it.
func (o *order) turns(done, next Event) string {
	ta, knownA := o.turn[done.Container]
	tb, knownB := o.turn[next.Container]
	if !knownA || !knownB || ta >= tb || !next.What.starts() || next.Instance > 0 {
		return ""
	}
	switch o.roles[done.Container] {
	case roleInit:
		if done.What == Exited || done.What.starts() {
			return "an init container ends before the next container is started (IN-01)"
		}
	case roleSidecar:
		if done.Instance == 0 && (done.What == StartedFlag || done.What.starts()) {
			return "a sidecar has started before the next container is started (SC-02)"
		}
	}
	return ""
}

// mains relates the first starts of main containers: one sync starts them in the spec's order.
func (o *order) mains(a, b Event) string {
	if o.roles[a.Container] == roleMain && o.roles[b.Container] == roleMain && a.Instance == 0 && b.Instance == 0 && a.What.starts() && b.What.starts() {
		return "one sync starts the containers one after the other (ST-05)"
	}
	return ""
}

// ending relates the ends of the last instances where the pod is stopped: mains, then sidecars, the last one first.
func (o *order) ending(first, then Event) string {
	if o.roles[then.Container] != roleSidecar || o.last[first.Container] != first.Instance || o.last[then.Container] != then.Instance ||
		first.What != Exited || o.stop[then.Container] != then.Instance {
		return ""
	}
	killed := o.stop[first.Container] == first.Instance
	switch o.roles[first.Container] {
	case roleMain:
		if then.What == Exited || then.What == Killing && !killed {
			return "a sidecar is stopped after the main containers have ended (TM-03, TM-18)"
		}
	case roleSidecar:
		if then.What == Exited && killed && o.turn[first.Container] > o.turn[then.Container] {
			return "sidecars are stopped in reverse order (TM-03)"
		}
	}
	return ""
}

// reported relates what is reported of the pod to what it is reported for.
func (o *order) reported(of, is Event) string {
	if !is.What.OfPod() || of.What.OfPod() {
		return ""
	}
	last := o.last[of.Container] == of.Instance
	switch is.Detail {
	case string(corev1.PodSucceeded), string(corev1.PodFailed):
		if of.What == Exited && last {
			return "a pod is not over before its containers have ended (PH-04, PH-05)"
		}
	case string(corev1.PodInitialized) + "=True":
		if of.What == Exited && last && o.roles[of.Container] == roleInit || of.What == StartedFlag && of.Instance == 0 && o.roles[of.Container] == roleSidecar {
			return "a pod is initialised by its init containers (PH-08)"
		}
	case string(corev1.PodReady) + "=True", string(corev1.ContainersReady) + "=True":
		if of.What == Ready && of.Instance == 0 {
			return "a pod is ready when its containers are (PH-09)"
		}
	}
	return ""
}
