package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/fsnotify/fsnotify"

	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// Follow tells each, one call at a time, of what has happened to the pod so far and then of what happens, as records of
// its run. It returns when the run is over and all of it was told, when ctx ends, or when each returns an error, which
// Follow then returns.
func (f Found) Follow(ctx context.Context, each func(timeline.Header, []timeline.Record) error) error {
	file, err := rundir.OpenTimeline(f.Dir)
	if err != nil {
		return fmt.Errorf("follow pod %s: %w", f.Pod.Name, err)
	}
	defer file.Close()
	changes, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("follow pod %s: %w", f.Pod.Name, err)
	}
	defer changes.Close()
	// Of the directory, since a file that is open is not said to be removed.
	if err := changes.Add(f.Dir); err != nil {
		return fmt.Errorf("follow pod %s: %w", f.Pod.Name, err)
	}
	in := timeline.NewReader(file)
	for removed := false; ; {
		over, err := tellRecords(in, each)
		if over || err != nil || removed {
			return err
		}
		removed, err = rewritten(ctx, changes, file.Name())
		if err != nil {
			return err
		}
	}
}

// tellRecords tells of the records that are there, and reports whether the last of them ends the run.
func tellRecords(in *timeline.Reader, each func(timeline.Header, []timeline.Record) error) (over bool, err error) {
	var records []timeline.Record
	for !over {
		r, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
		records = append(records, r)
		over = r.Kind == pod.Noted && r.Note == pod.NoteEnded
	}
	h, err := in.Header()
	if errors.Is(err, io.EOF) || len(records) == 0 {
		return over, nil
	}
	return over, errors.Join(err, each(h, records))
}

// rewritten waits until a file has been changed, and reports whether it was removed.
func rewritten(ctx context.Context, changes *fsnotify.Watcher, name string) (removed bool, err error) {
	for {
		select {
		case e, ok := <-changes.Events:
			switch {
			case !ok:
				return false, fsnotify.ErrClosed
			case filepath.Base(e.Name) == filepath.Base(name):
				return e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename), nil
			case e.Has(fsnotify.Remove) && filepath.Clean(e.Name) == filepath.Dir(name):
				return true, nil
			}
		case err := <-changes.Errors:
			if errors.Is(err, fsnotify.ErrEventOverflow) { // some changes were not told
				err = nil
			}
			return false, err
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
