package host

import (
	"context"
	"sync"
)

// A stage is something that is made once and waited for by whatever needs it: a pod's volumes, its namespaces, its
// network. An attempt that failed may be followed by another; a stage that was made stays made.
type stage struct {
	mu   sync.Mutex
	made bool
	err  error         // of the last attempt, nil before the first
	turn chan struct{} // closed at the end of the attempt that runs or is to come
}

func newStage() *stage { return &stage{turn: make(chan struct{})} }

// do makes the stage with f, unless it is made already. The caller sees to it that only one do runs at a time.
func (s *stage) do(f func() error) error {
	s.mu.Lock()
	if s.made {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made, s.err = err == nil, err
	close(s.turn)
	if err != nil {
		s.turn = make(chan struct{})
	}
	return err
}

// wait returns nil when the stage is made, and else the last attempt's error; before the first has ended it waits for
// that, or for ctx's end.
func (s *stage) wait(ctx context.Context) error {
	s.mu.Lock()
	made, err, turn := s.made, s.err, s.turn
	s.mu.Unlock()
	if made || err != nil {
		return err
	}
	select {
	case <-turn:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.made {
			return nil
		}
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isMade reports whether the stage is made.
func (s *stage) isMade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}
