package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What an API server fills in for a probe (PB-01).
const (
	defaultPeriod   = 10
	defaultTimeout  = 1
	defaultFailures = 3
)

// probeOf returns one of a container's probes, nil if it has none of that kind.
func probeOf(c *corev1.Container, k ProbeKind) *corev1.Probe {
	switch k {
	case ProbeStartup:
		return c.StartupProbe
	case ProbeLiveness:
		return c.LivenessProbe
	case ProbeReadiness:
		return c.ReadinessProbe
	}
	return nil
}

// probesOf lists which probes a container has.
func probesOf(c *corev1.Container) (kinds []ProbeKind) {
	for k := ProbeStartup; k <= ProbeReadiness; k++ {
		if probeOf(c, k) != nil {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// probes makes the attempts that are due.
func (n *planner) probes() {
	if n.s.end.reason != 0 && n.s.initFailed(n.p) {
		return // PB-29: the pod has failed already
	}
	for spec := range containersOf(n.p) {
		c := n.s.find(spec.Name)
		if c == nil || c.settled.IsZero() || RoleOf(n.p, spec.Name) == RoleInit {
			continue
		}
		for k := ProbeStartup; k <= ProbeReadiness; k++ {
			if p := probeOf(spec, k); p != nil && n.probeable(c, k) {
				n.probe(c, k, p)
			}
		}
	}
}

// probeable reports whether a container is probed at all at present.
func (n *planner) probeable(c *ContainerStatus, k ProbeKind) bool {
	switch {
	case !c.Running(), c.probed[k].onHold:
		return false
	case k == ProbeReadiness:
		return c.Started // PB-11
	case n.s.Deleting() && RoleOf(n.p, c.Name) == RoleMain: // TM-16, TM-17
		return false
	}
	return k == ProbeStartup || c.Started
}

// probe makes the next attempt of a probe, or has the planner woken when it is due.
func (n *planner) probe(c *ContainerStatus, k ProbeKind, p *corev1.Probe) {
	if n.s.flying(func(a *Action) bool {
		return a.Op == OpProbe && a.Probe == k && a.Container == c.Name && a.Instance == c.Instance
	}) != nil {
		return
	}
	from, due := n.s.probeDue(c, k, p)
	if n.now.Before(due) {
		n.wakeAt(due)
		return
	}
	n.do(Action{Op: OpProbe, Container: c.Name, Instance: c.Instance, Probe: k,
		Timeout:   seconds(p.TimeoutSeconds, defaultTimeout),
		Successes: int(max(1, p.SuccessThreshold)), Failures: int(positive(p.FailureThreshold, defaultFailures))},
		"every %s from %s", seconds(p.PeriodSeconds, defaultPeriod), clock(from))
}

// probeOrigin is a tick of a probe from which all others are counted. With TicksStart it is the first at which an
// attempt is made, with TicksSync that of the prober's own clock: when it was made, at the pod's first sync, or, for
// readiness, when it was last triggered by hand (PB-22).
func (s *Status) probeOrigin(c *ContainerStatus, k ProbeKind, earliest time.Time) time.Time {
	switch {
	case s.options().Ticks != TicksSync:
		return earliest
	case k == ProbeReadiness:
		return c.StartedSince
	}
	return s.setUp.at
}

// probeEarliest is the first moment at which a kubelet could make an attempt of a probe. That is initialDelaySeconds after the container's start (PB-18), but not before the sync that started it is over (LH-01)
// nor, for liveness and readiness, before it is Started (PB-11; for readiness see PB-22).
func probeEarliest(c *ContainerStatus, k ProbeKind, p *corev1.Probe) time.Time {
	origin := c.StartedAt.Add(time.Duration(max(0, p.InitialDelaySeconds)) * time.Second)
	from := c.settled
	if k != ProbeStartup {
		from = c.StartedSince
	}
	if from.After(origin) {
		return from
	}
	return origin
}

// probeDue is when the next attempt is due, and what its tick is counted from: at the tick after the one at which the last attempt began. An attempt
// that outlasts its period is followed by the next one at once, and ticks beyond that are lost, as a Ticker's are.
func (s *Status) probeDue(c *ContainerStatus, k ProbeKind, p *corev1.Probe) (origin, due time.Time) {
	earliest, begun := probeEarliest(c, k, p), c.probed[k].begun
	origin = s.probeOrigin(c, k, earliest)
	period := seconds(p.PeriodSeconds, defaultPeriod)
	if begun.Before(earliest) {
		return origin, origin.Add((earliest.Sub(origin) + period - 1).Truncate(period))
	}
	return origin, origin.Add(begun.Sub(origin).Truncate(period) + period)
}

func seconds(n int32, otherwise int32) time.Duration {
	return time.Duration(positive(n, otherwise)) * time.Second
}

func positive(n int32, otherwise int32) int32 {
	if n > 0 {
		return n
	}
	return otherwise
}
