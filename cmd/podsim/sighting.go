package main

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/supervisor"
)

// A sighting is an applied pod as it was seen last, for those who wait for it to change.
type sighting struct {
	mu      sync.Mutex
	newest  *corev1.Pod
	over    bool  // nothing changes any more: it is gone, or nobody runs it
	failure error // of the watch
	changed chan struct{}
}

func newSighting(f supervisor.Found) *sighting {
	s := &sighting{changed: make(chan struct{})}
	s.see(f.Pod, f.Lost)
	return s
}

// see takes a pod as it is now.
func (s *sighting) see(p *corev1.Pod, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = p
	s.over = s.over || over || p.Status.Phase == corev1.PodUnknown
	close(s.changed)
	s.changed = make(chan struct{})
}

// watch sees every change until ctx ends.
func (s *sighting) watch(ctx context.Context, site host.Site) {
	first := s.pod()
	err := supervisor.Watch(ctx, site, first.Namespace, first.Name, func(e supervisor.Event) error {
		if e.Pod.UID == first.UID { // and not another of its name
			s.see(e.Pod, e.Type == supervisor.Deleted)
		}
		return nil
	})
	if ctx.Err() == nil {
		s.mu.Lock()
		s.failure = err
		s.mu.Unlock()
	}
	s.see(s.pod(), true)
}

func (s *sighting) pod() *corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

func (s *sighting) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// await waits until done holds for the pod, and reports whether it does: not where ctx ends first, or the pod changes no
// more.
func (s *sighting) await(ctx context.Context, done func(*corev1.Pod) bool) bool {
	for {
		s.mu.Lock()
		p, over, changed := s.newest, s.over, s.changed
		s.mu.Unlock()
		switch {
		case done(p):
			return true
		case over:
			return false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
