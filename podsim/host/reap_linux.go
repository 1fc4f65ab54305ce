package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/volumes"
)

// A reaper takes runs away, by the names of what they may have made. It needs nothing of the process that made it:
// a run's own end, podsim clean and the recovery after a crash are the same reaper. Every step is idempotent, and
// none keeps the next from being tried.
type reaper struct {
	site        Site
	runtime     *ctrd.Client
	unasked     error // why runtime is nil, where containers were to be removed
	cni         netns.CNI
	attachments []netns.Attachment
	shared      *netns.Network // nil: the run is no member of it
}

func (h *Host) reaper() reaper {
	r := reaper{site: h.cfg.Site, runtime: h.runtime, cni: h.network.cni}
	if !h.network.left {
		r.shared = h.network.shared
	}
	if h.network.none || len(h.network.conf) == 0 { // without a network, or ended before it had one
		return r
	}
	for i := range h.cfg.Pods {
		r.attachments = append(r.attachments, h.attachment(podID(h.id, i)))
	}
	return r
}

// Reap takes away all that the run made. See the driver's Host.
func (h *Host) Reap(ctx context.Context) error {
	h.end()
	var errs []error
	if h.world != nil {
		errs = append(errs, h.world.close())
	}
	r := h.reaper()
	down := make(map[string]bool)
	for _, p := range h.pods {
		errs = append(errs, p.ledger.close())
		errs = append(errs, h.lasting(ctx, func() error { return p.removeContainers(ctx) }))
		down[p.id] = p.down
	}
	// What was torn down in the run's own time is gone; the rest is reaped by name.
	r.attachments = slices.DeleteFunc(r.attachments, func(a netns.Attachment) bool { return down[a.ContainerID] })
	if h.world != nil && !h.network.none {
		r.attachments = append(r.attachments, h.attachment(worldID(h.id)))
	}
	return errors.Join(append(errs, r.run(ctx, h.dir))...)
}

// run takes a whole run away, its record last.
func (r reaper) run(ctx context.Context, dir *rundir.Run) error {
	var errs []error
	if r.runtime != nil {
		errs = append(errs, r.runtime.RemoveRun(ctx, dir.ID))
	}
	ids := r.podsOf(dir.ID)
	errs = append(errs, r.leave(ctx, dir.ID, ids...))
	for _, id := range ids {
		errs = append(errs, r.pod(ctx, id))
	}
	errs = append(errs, removeEmpty(r.site.run(dir.ID)), removeEmpty(r.site.Socket(dir.ID)), rundir.Unclaim(r.site.StateDir, dir.ID), r.unasked)
	r.site.removeCgroupRoot()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("reap run %s: %w", dir.ID, err)
	}
	return dir.Remove()
}

// podsOf are the IDs of a run's pods and its world, by every place where one may have left something.
func (r reaper) podsOf(run string) []string {
	var ids []string
	add := func(name string) {
		if name != run && ofRun(run, name) && !slices.Contains(ids, name) {
			ids = append(ids, name)
		}
	}
	for _, a := range r.attachments {
		add(a.ContainerID)
	}
	entries, err := os.ReadDir(r.site.run(run))
	if err == nil {
		for _, e := range entries {
			add(e.Name())
		}
	}
	for _, name := range r.site.cgroupNames() {
		add(name)
	}
	return ids
}

// leave detaches pods from the network and ends the run's membership in it, side by side: both wait for the kernel.
func (r reaper) leave(ctx context.Context, run string, ids ...string) error {
	detach := func(ctx context.Context) error { return r.detach(ctx, ids...) }
	if r.shared == nil {
		return detach(ctx)
	}
	return r.shared.Leave(ctx, run, detach)
}

func (r reaper) detach(ctx context.Context, ids ...string) error {
	var all errgroup.Group
	for _, a := range r.attachments {
		if slices.Contains(ids, a.ContainerID) {
			all.Go(func() error { return r.cni.Detach(ctx, a) })
		}
	}
	return all.Wait()
}

// pod takes away what a pod, or the world, has beside its containers and its network.
func (r reaper) pod(ctx context.Context, id string) error {
	var errs []error
	errs = append(errs, netns.PinsIn(r.site.pod(id)).Remove())
	errs = append(errs, volumes.Set{Dir: r.site.volumes(id)}.TearDown(ctx))
	errs = append(errs, ctrd.RemoveCgroup(ctx, r.site.podCgroup(id)))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("pod %s: %w", id, err)
	}
	// No mount is left below it: what remains are our own files.
	if err := os.RemoveAll(r.site.files(id)); err != nil {
		return fmt.Errorf("pod %s: remove its files: %w", id, err)
	}
	return removeEmpty(r.site.pod(id))
}

// removeEmpty removes a file, or a directory that should be empty by now. What is in it after all is an error, and stays.
func removeEmpty(dir string) error {
	err := os.Remove(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// cgroupNames are the names below our cgroup, in any hierarchy.
func (s Site) cgroupNames() []string {
	dirs, err := ctrd.CgroupDirs(s.cgroupRoot())
	if err != nil {
		return nil
	}
	var names []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// removeCgroupRoot removes our cgroup where the last run has left it. Another run's is in the way of that, and no error.
func (s Site) removeCgroupRoot() {
	dirs, err := ctrd.CgroupDirs(s.cgroupRoot())
	if err != nil {
		return
	}
	for _, dir := range dirs {
		_ = unix.Rmdir(dir)
	}
}

// attachmentsOf reads a record's attachments. Those of a record that is not there, or is of a run that had none, are none.
func attachmentsOf(rec rundir.Record) ([]netns.Attachment, error) {
	if len(rec.Attachments) == 0 {
		return nil, nil
	}
	var out []netns.Attachment
	if err := json.Unmarshal(rec.Attachments, &out); err != nil {
		return nil, fmt.Errorf("read the attachments of run %s: %w", rec.ID, err)
	}
	return out, nil
}
