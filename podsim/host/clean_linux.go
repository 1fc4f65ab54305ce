package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
)

// List finds the site's runs: those that live, and what dead ones left, wherever it is. A directory deleted by hand
// hides nothing. The oldest is first; runs of which only pieces are known come last.
func List(ctx context.Context, c Config) ([]RunInfo, error) {
	c = c.withDefaults()
	entries, err := rundir.List(c.Site.StateDir)
	if err != nil {
		return nil, err
	}
	var runs []RunInfo
	index := make(map[string]int)
	for _, e := range entries {
		index[e.ID] = len(runs)
		runs = append(runs, infoOf(e))
	}
	pieces, err := pieces(ctx, c)
	for _, p := range pieces {
		i, known := index[p.run]
		if !known {
			i = len(runs)
			index[p.run] = i
			runs = append(runs, RunInfo{ID: p.run})
		}
		runs[i].Pieces = append(runs[i].Pieces, p.what)
	}
	return runs, err
}

func infoOf(e rundir.Entry) RunInfo {
	info := RunInfo{ID: e.ID, Alive: e.Alive, Created: e.Created, Command: e.Command}
	for _, p := range e.Pods {
		info.Pods = append(info.Pods, p.Namespace+"/"+p.Name)
	}
	return info
}

// A piece is one thing that a run has somewhere.
type piece struct{ run, what string }

// pieces lists what runs have outside their directories, in all the places where an ID can survive.
func pieces(ctx context.Context, c Config) ([]piece, error) {
	var out []piece
	var errs []error
	add := func(id, what string) {
		if len(id) >= rundir.IDLength && rundir.ValidID(id[:rundir.IDLength]) && ofRun(id[:rundir.IDLength], id) {
			out = append(out, piece{id[:rundir.IDLength], what})
		}
	}
	left, err := netns.Network{StateDir: c.Site.StateDir}.Leftovers(c.Site.run(""))
	errs = append(errs, err)
	for _, l := range left {
		// A link lives and dies with its namespace, whose pin is a mount; and it may be another site's.
		if l.Kind != "link" {
			add(l.ID, l.Kind+" "+l.Name)
		}
	}
	for _, name := range c.Site.cgroupNames() {
		add(name, "cgroup "+c.Site.podCgroup(name))
	}
	dirs, err := os.ReadDir(c.Site.run(""))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, d := range dirs {
		add(d.Name(), "directory "+c.Site.run(d.Name()))
	}
	sockets, err := os.ReadDir(filepath.Dir(c.Site.Socket("")))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, s := range sockets {
		add(s.Name(), "socket "+c.Site.Socket(s.Name()))
	}
	containers, err := containerPieces(ctx, c)
	errs = append(errs, err)
	return append(out, containers...), errors.Join(errs...)
}

// containerPieces asks the private containerd, if there ever was one. One that is the user's own may hold containers of
// other sites: there only what the runs' records name is known.
func containerPieces(ctx context.Context, c Config) (out []piece, err error) {
	if c.Containerd != "" {
		return nil, nil
	}
	if _, err := os.Stat(filepath.Join(c.Site.StateDir, "containerd")); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	runtime, err := ctrd.Open(ctx, c.runtime())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	left, err := runtime.Leftovers(ctx, "")
	for _, l := range left {
		out = append(out, piece{l.Run, "container " + l.ID})
	}
	return out, err
}

// Clean takes away the named runs, or all dead ones if none is named, and returns the IDs of those it took away. A
// run whose process lives is left alone; to name one is an error. Nobody else's containerd is stopped.
func Clean(ctx context.Context, c Config, ids ...string) (cleaned []string, err error) {
	c = c.withDefaults()
	runs, err := List(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(runs, func(r RunInfo) bool { return r.ID == id }) {
			return nil, fmt.Errorf("clean %s: %w", id, ErrNoRun)
		}
	}
	if len(ids) == 0 {
		for _, r := range runs {
			if !r.Alive {
				ids = append(ids, r.ID)
			}
		}
	}
	var errs []error
	for _, id := range ids {
		err := clean(ctx, c, id)
		if err == nil {
			cleaned = append(cleaned, id)
		}
		errs = append(errs, err)
	}
	if c.Containerd == "" {
		// Where other runs live, containerd is theirs, and goes with the last of them.
		if err := ctrd.Stop(ctx, c.runtime()); !errors.Is(err, ctrd.ErrInUse) {
			errs = append(errs, err)
		}
	}
	return cleaned, errors.Join(errs...)
}

// clean reaps one dead run by its names.
func clean(ctx context.Context, c Config, id string) (err error) {
	dir, entry, err := rundir.Adopt(c.Site.StateDir, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if entry.Record.Containerd != "" {
		c.Containerd = entry.Record.Containerd
	}
	shared := netns.Network{StateDir: c.Site.StateDir}
	r := reaper{site: c.Site, cni: shared.CNI(c.Bundle, netns.HostPluginDir), shared: &shared}
	switch r.runtime, err = ctrd.Open(ctx, c.runtime()); {
	case err == nil:
		defer func() { err = errors.Join(err, r.runtime.Close()) }()
	case c.Containerd != "":
		r.unasked = endUnasked(c, dir, err)
	default:
		return fmt.Errorf("clean run %s: %w", id, err)
	}
	if r.attachments, err = attachmentsOf(entry.Record); err != nil {
		return err
	}
	if !entry.Whole {
		if r.attachments, err = r.guessAttachments(ctx, id); err != nil {
			return err
		}
	}
	return r.run(ctx, dir)
}

// endUnasked ends the shims of a run whose containerd, one of the user's own, does not answer. What needs no containerd is
// reaped; the error says what becomes of the rest, for which the run's record stays.
func endUnasked(c Config, dir *rundir.Run, why error) error {
	return errors.Join(fmt.Errorf("%w\n(nothing of the run runs any more; start that containerd and run podsim clean again, or, if it is gone for good, rm -r %s)",
		why, dir.Dir), ctrd.EndShims(c.runtime(), dir.ID))
}

// guessAttachments finds a run's attachments without its record, from the addresses that they hold on podsim's own
// network.
func (r reaper) guessAttachments(ctx context.Context, run string) ([]netns.Attachment, error) {
	left, err := r.shared.Leftovers("")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, l := range left {
		if l.Kind == "reservation" && strings.HasPrefix(l.ID, run) && ofRun(run, l.ID) && !slices.Contains(ids, l.ID) {
			ids = append(ids, l.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	bridge, err := r.shared.Join(ctx, run) // left again by the reap
	if err != nil {
		return nil, err
	}
	var out []netns.Attachment
	for _, id := range ids {
		out = append(out, netns.Attachment{Conf: bridge.Conf, ContainerID: id, IfName: "eth0", NetNS: netns.PinsIn(r.site.pod(id)).Net})
	}
	return out, nil
}
