//go:build linux

package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Claim is a pod's name, held by the run that is the pod: <state>/pods/<namespace>/<name>, with the run's ID in it.
// It is there from the run's record on until its reap.
type Claim struct{ Namespace, Name, Run string }

// A ClaimedError says that a name is another run's.
type ClaimedError struct{ Claim }

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("pods %q already exists in namespace %s (run %s)", e.Name, e.Namespace, e.Run)
}

// ClaimsDir is the directory of claims, for those who watch for new ones: it holds one directory for each namespace.
func ClaimsDir(state string) string { return filepath.Join(state, "pods") }

// Claim takes a pod's name for the run. A name that is taken is a *ClaimedError; that of a run that is no more is free.
func (r *Run) Claim(namespace, name string) error {
	state := filepath.Dir(filepath.Dir(r.Dir))
	path := filepath.Join(ClaimsDir(state), namespace, name)
	return claiming(state, func() error {
		if held, err := os.ReadFile(path); err == nil {
			id := strings.TrimSpace(string(held))
			if _, err := os.Lstat(filepath.Join(runsDir(state), id)); err == nil && ValidID(id) {
				return &ClaimedError{Claim{namespace, name, id}}
			}
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return fmt.Errorf("claim the name of pod %s: %w", name, err)
		}
		// As a whole: who watches the directory reads it as soon as it is there.
		temp := filepath.Join(ClaimsDir(state), "."+r.ID)
		if err := errors.Join(os.WriteFile(temp, []byte(r.ID+"\n"), 0o600), os.Rename(temp, path)); err != nil {
			return fmt.Errorf("claim the name of pod %s: %w", name, err)
		}
		return nil
	})
}

// Unclaim gives back the names that a run holds. It is idempotent.
func Unclaim(state, id string) error {
	if _, err := os.Lstat(ClaimsDir(state)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return claiming(state, func() error {
		claims, err := Claims(state)
		for _, c := range claims {
			if c.Run == id {
				dir := filepath.Join(ClaimsDir(state), c.Namespace)
				err = errors.Join(err, os.Remove(filepath.Join(dir, c.Name)))
				_ = os.Remove(dir) // unless another name is in it
			}
		}
		if err != nil {
			return fmt.Errorf("give back the names of run %s: %w", id, err)
		}
		return nil
	})
}

// Claims lists the names that are held, by namespace and name.
func Claims(state string) ([]Claim, error) {
	namespaces, err := os.ReadDir(ClaimsDir(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var out []Claim
	for _, ns := range namespaces {
		names, err := os.ReadDir(filepath.Join(ClaimsDir(state), ns.Name()))
		if err != nil || strings.HasPrefix(ns.Name(), ".") { // one that has just gone, or none
			continue
		}
		for _, n := range names {
			text, err := os.ReadFile(filepath.Join(ClaimsDir(state), ns.Name(), n.Name()))
			if id := strings.TrimSpace(string(text)); err == nil && ValidID(id) {
				out = append(out, Claim{ns.Name(), n.Name(), id})
			}
		}
	}
	return out, nil
}

// claiming does f while no other process changes the claims.
func claiming(state string, f func() error) (err error) {
	dir := filepath.Join(ClaimsDir(state), ".lock") // no namespace has a dot
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("lock the names of pods: %w", err)
	}
	held, err := lock(dir, os.O_CREATE, unix.LOCK_EX)
	if err != nil {
		return fmt.Errorf("lock the names of pods: %w", err)
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	return f()
}

// DirOf is the directory of a run.
func DirOf(state, id string) string { return filepath.Join(runsDir(state), id) }

// Alive reports whether a run's process holds its lock.
func Alive(state, id string) (bool, error) { return alive(DirOf(state, id)) }

// OpenTimeline opens the timeline of the run whose directory is dir, for reading. The caller closes it.
func OpenTimeline(dir string) (*os.File, error) { return os.Open(filepath.Join(dir, timelineFile)) }
