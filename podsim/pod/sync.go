package pod

import (
	"fmt"
	"slices"
	"time"
)

// A pass is one sync of the pod: what the kubelet's worker does from one look at the pod to the next. Its list is
// made when it begins and walked one container after the other; each container has its turn (ST-04).
//
//	turn to stop:   preStop hook ─► TERM ─► (KILL) ─► exited
//	in a reset:     TERM ─► (KILL) ─► exited ─► remove the instance
//	turn to start:  pull ─► remove the old instance ─► create ─► start ─► postStart hook
//	                └── a step that fails ends the turn; after a failed postStart hook, once the container is stopped
//
// The zero pass stands before the first one, and is over.
type pass struct {
	number int
	active bool // it is not over

	turn     string // whose turn it is
	stopping bool   // it is a turn to stop
	reset    bool   // it is a turn to take away, and so are all of this sync (RA-01)
	stage    Op     // the last step of the turn that ended; 0 before the first
	done     bool   // the last step of a turn to start has succeeded
	failed   bool   // a step has failed

	thenStop []string
	then     []string

	over time.Time // when the one before it was over; of the zero pass, zero
}

// join takes the beginning of a sync's action: of the sync under way, or of the next one.
func (s *pass) join(a Action) error {
	switch {
	case a.Sync == s.number && s.active && a.Container == s.turn:
		return nil
	case a.Sync == s.number && s.active:
		return fmt.Errorf("it is %s's turn", s.turn)
	case a.Sync == s.number+1 && !s.active:
		*s = pass{number: a.Sync, active: true, over: s.over, turn: a.Container, stopping: a.Stop != 0, reset: a.Stop == StopRestartAll, thenStop: a.ThenStop, then: a.Then}
		return nil
	case s.active:
		return fmt.Errorf("sync %d is not over", s.number)
	default:
		return fmt.Errorf("sync %d is over and sync %d is next", s.number, s.number+1)
	}
}

// ended takes the end of a step of the current turn.
func (s *pass) ended(a *Action, failed bool) {
	if !s.active || a.Sync != s.number {
		return
	}
	s.stage = a.Op
	s.failed = s.failed || failed
	s.done = !failed && (a.isPostStart() || a.Op == OpStart && a.Hook == 0)
}

// drop ends the sync where it stands.
func (s *pass) drop(at time.Time) {
	if s.active {
		s.over = at
	}
	*s = pass{number: s.number, over: s.over}
}

// advance gives the turn to the next container while the current one's is over. A container in back-off when its
// turn comes is passed over (BO-03).
func (s *Status) advance(now time.Time) {
	p := &s.sync
	for p.active && s.turnOver() {
		switch {
		case p.reset && p.failed:
			p.drop(now)
		case len(p.thenStop) > 0:
			p.give(p.thenStop[0], true)
			p.thenStop = p.thenStop[1:]
		case len(p.then) > 0:
			next := p.then[0]
			p.then = p.then[1:]
			if c := s.find(next); c != nil && c.heldUntil(now).After(now) {
				continue
			}
			p.give(next, false)
		default:
			p.drop(now)
		}
	}
}

// due reports whether the sync under way is still to start a container, or is about it.
func (s *Status) due(container string) bool {
	p := &s.sync
	return p.active && (p.turn == container && !p.stopping && !p.failed || slices.Contains(p.then, container))
}

// startsNow reports whether a container's start is in flight.
func (s *Status) startsNow(container string) bool {
	return s.flying(func(a *Action) bool { return a.Op == OpStart && a.Container == container }) != nil
}

func (s *pass) give(turn string, stopping bool) {
	s.turn, s.stopping, s.stage, s.done, s.failed = turn, stopping, 0, false, false
}

func (s *Status) turnOver() bool {
	p := &s.sync
	if p.done {
		return true
	}
	if !p.stopping && !p.failed {
		return false
	}
	c := s.seen(p.turn)
	if p.reset {
		return p.failed || c.State == 0
	}
	return c.State != StateRunning && !s.preStopping(c)
}
