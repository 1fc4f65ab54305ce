package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// findings is what one look at the pod finds to be done (ST-02): the content of a sync, before back-off is asked.
type findings struct {
	stops  []string // to be stopped, for a probe that failed or an image that was changed
	starts []string // to be started, the stopped ones among them; ephemeral containers first, then init containers
	resets []string // to be taken away, before anything else is done (RA-01)
	end    bool     // the pod is at its end: stop what is left, start nothing
}

// look finds what is to be done, with nobody working on the pod.
//
// Like the kubelet, it first asks whether the pod has finished, and then how far initialisation has come. So when the
// last main finishes while the last sidecar is down and another one runs, that sidecar is started once more before the
// pod ends: it gates the mains (SC-17) before anybody asks whether there is one left to start (SC-20).
func look(p *corev1.Pod, s *Status) findings {
	if finished(p, s) {
		return findings{end: true}
	}
	if resets := s.resets(p); len(resets) > 0 && !s.initFailed(p) {
		return findings{resets: resets}
	}
	f := findings{}
	for i := range p.Spec.EphemeralContainers { // EC-03
		if spec := ephemeral(p, i); s.seen(spec.Name).State == 0 {
			f.starts = append(f.starts, spec.Name)
		}
	}
	if initialized := f.lookAtInit(p, s); f.end || !initialized {
		return f
	}
	keep, due := 0, 0
	for i := range p.Spec.Containers {
		spec := &p.Spec.Containers[i]
		c := s.seen(spec.Name)
		switch {
		case !c.Running():
			if c.State != StateExited || s.restarts(p, spec, c.Exit.Code) {
				f.starts = append(f.starts, spec.Name)
				due++
			}
		case stopCause(spec, RoleMain, c) != 0:
			f.stops = append(f.stops, spec.Name)
			if changed(spec, c) || s.restartsWhenKilled(p, spec) {
				f.starts = append(f.starts, spec.Name)
				due++
			}
		default:
			keep++
		}
	}
	if keep == 0 && due == 0 && !f.mayRestart(p) { // SC-20, TM-18
		return findings{end: true}
	}
	return f
}

// mayRestart reports whether a container that is to be stopped has rules, which are asked once it has ended: only
// then is it known whether the pod is at its end (RP-07).
func (f *findings) mayRestart(p *corev1.Pod) bool {
	return slices.ContainsFunc(f.stops, func(name string) bool { return len(containerOf(p, name).RestartPolicyRules) > 0 })
}

// finished reports whether every main has ended for good and no sidecar runs: the pod's phase is final (PH-04, PH-05).
func finished(p *corev1.Pod, s *Status) bool {
	for i := range p.Spec.Containers {
		spec := &p.Spec.Containers[i]
		if c := s.seen(spec.Name); c.State != StateExited || s.restarts(p, spec, c.Exit.Code) {
			return false
		}
	}
	for i := range p.Spec.InitContainers {
		spec := &p.Spec.InitContainers[i]
		if st := s.seen(spec.Name).State; initRole(spec) == RoleSidecar && (st == 0 || st == StateRunning) {
			return false
		}
	}
	return true
}

// lookAtInit finds what init containers need, and reports whether initialisation is complete. It goes through them
// from the last to the first: the last one that has been started tells how far initialisation has come, and those
// before it were done with at some time; sidecars among them are kept running.
func (f *findings) lookAtInit(p *corev1.Pod, s *Status) (initialized bool) {
	inits := p.Spec.InitContainers
	if len(inits) == 0 {
		return true
	}
	initialized = mainExists(p, s) // SC-17: mains that have all ended do not count
	passed := initialized
	for i := len(inits) - 1; i >= 0; i-- {
		spec, c := &inits[i], s.seen(inits[i].Name)
		sidecar := initRole(spec) == RoleSidecar
		switch {
		case c.State == 0:
			if passed && sidecar { // SC-18
				f.starts = append(f.starts, spec.Name)
			}
			continue
		case passed && !sidecar: // IN-04
			continue
		}
		if f.lookAtOne(p, s, spec, c); f.end {
			return false
		}
		switch {
		case !complete(spec, c):
		case i == len(inits)-1:
			initialized = true // SC-21
		case !passed:
			f.starts = append(f.starts, inits[i+1].Name) // IN-01, SC-02
		}
		passed = true
	}
	if !passed {
		f.starts = append(f.starts, inits[0].Name)
	}
	slices.SortStableFunc(f.starts, func(a, b string) int { return initIndex(p, a) - initIndex(p, b) })
	slices.Reverse(f.stops)
	return initialized
}

// lookAtOne finds what an init container needs that has been created.
func (f *findings) lookAtOne(p *corev1.Pod, s *Status, spec *corev1.Container, c *ContainerStatus) {
	sidecar := initRole(spec) == RoleSidecar
	switch {
	case c.State == StateCreated: // ST-12
		f.starts = append(f.starts, spec.Name)
	case c.Running():
		if stopCause(spec, initRole(spec), c) != 0 { // SC-10, SC-12, SC-16
			f.stops = append(f.stops, spec.Name)
			f.starts = append(f.starts, spec.Name)
		}
	case sidecar: // SC-07
		f.starts = append(f.starts, spec.Name)
	case c.Exit.Code != 0 && !s.restarts(p, spec, c.Exit.Code): // IN-02
		*f = findings{end: true}
	case c.Exit.Code != 0: // IN-03
		f.starts = append(f.starts, spec.Name)
	}
}

// mainExists reports whether any main container is created or running.
func mainExists(p *corev1.Pod, s *Status) bool {
	for i := range p.Spec.Containers {
		if st := s.seen(p.Spec.Containers[i].Name).State; st == StateCreated || st == StateRunning {
			return true
		}
	}
	return false
}

// complete reports whether the containers after an init container may start: a sidecar runs and its startup probe,
// if it has one, has succeeded (SC-02, SC-03); a regular one has ended with code 0 (IN-01).
func complete(spec *corev1.Container, c *ContainerStatus) bool {
	if initRole(spec) == RoleSidecar {
		return c.Running() && (spec.StartupProbe == nil || c.probed[ProbeStartup].Result == Success)
	}
	return c.exitedZero()
}
