package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/internal/rundir"
)

// Watch tells each, one call at a time, of every pod that is there, as ADDED, and from then on of every change, until ctx
// ends or each returns an error, which Watch then returns. An empty name is every pod's, an empty namespace every
// namespace's. A pod whose supervisor dies is shown once more, as lost.
func Watch(ctx context.Context, site host.Site, namespace, name string, each func(Event) error) error {
	site = site.Resolved()
	ctx, cancel := context.WithCancel(ctx)
	w := &lookout{site: site, namespace: namespace, name: name, events: make(chan Event), seen: map[string]bool{}, lost: map[string]Found{}}
	defer w.following.Wait()
	defer cancel()
	names, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch for pods: %w", err)
	}
	defer names.Close()
	if err := w.look(ctx, names); err != nil {
		return err
	}
	for {
		select {
		case e := <-w.events:
			if err := each(e); err != nil {
				return err
			}
		case <-names.Events:
			if err := w.look(ctx, names); err != nil {
				return err
			}
		case err := <-names.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch for pods: %w", err)
			}
			if err := w.look(ctx, names); err != nil { // some changes were not told: look at everything
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A lookout looks for pods and follows each of them.
type lookout struct {
	site            host.Site
	namespace, name string
	events          chan Event
	following       sync.WaitGroup

	seen map[string]bool // runs that are or were followed

	mu   sync.Mutex
	lost map[string]Found // by run, those of a dead supervisor that are still there
}

// look follows the pods that are new, and tells of lost ones that are no more.
func (w *lookout) look(ctx context.Context, names *fsnotify.Watcher) error {
	dir := rundir.ClaimsDir(w.site.StateDir)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("watch for pods: %w", err)
	}
	if err := names.Add(dir); err != nil {
		return fmt.Errorf("watch for pods: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("watch for pods: %w", err)
	}
	for _, e := range entries {
		_ = names.Add(filepath.Join(dir, e.Name())) // one that has just gone has nothing to tell
	}
	claims, err := rundir.Claims(w.site.StateDir)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, c := range claims {
		there[c.Run] = true
		if w.seen[c.Run] || w.namespace != "" && c.Namespace != w.namespace || w.name != "" && c.Name != w.name {
			continue
		}
		w.seen[c.Run] = true
		w.following.Go(func() { w.follow(ctx, c) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for run, f := range w.lost {
		if !there[run] {
			delete(w.lost, run)
			w.following.Go(func() { w.tell(ctx, Event{Deleted, f.Pod}) })
		}
	}
	return nil
}

func (w *lookout) tell(ctx context.Context, e Event) {
	select {
	case w.events <- e:
	case <-ctx.Done():
	}
}

// follow tells of one pod until it is deleted, or lost.
func (w *lookout) follow(ctx context.Context, c rundir.Claim) {
	kind := Added
	var last *corev1.Pod
	for ctx.Err() == nil {
		f, err := find(ctx, w.site, c)
		if err != nil { // it is gone
			if last != nil {
				w.tell(ctx, Event{Deleted, last})
			}
			return
		}
		last = f.Pod
		if f.Lost {
			w.mu.Lock()
			w.lost[c.Run] = f
			w.mu.Unlock()
			w.tell(ctx, Event{kind, f.Pod})
			return
		}
		if w.stream(ctx, f) {
			return
		}
		kind = Modified
	}
}

// stream tells what a supervisor tells, and reports whether it has told of the end.
func (w *lookout) stream(ctx context.Context, f Found) (ended bool) {
	r, err := f.open(ctx, http.MethodGet, "/watch", nil)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	for in := json.NewDecoder(r.Body); ; {
		var e Event
		if in.Decode(&e) != nil {
			return false
		}
		w.tell(ctx, e)
		if e.Type == Deleted {
			return true
		}
	}
}
