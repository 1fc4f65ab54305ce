//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// removers is how many containers of a run are removed at a time.
const removers = 8

// A Leftover is a container record in containerd, whoever made it.
type Leftover struct {
	ID, Run, Pod, Name string
	Created            time.Time
}

// Leftovers lists the containers of a run, or of all runs for an empty one, by ID.
func (c *Client) Leftovers(ctx context.Context, run string) ([]Leftover, error) {
	records, err := c.records(ctx, run)
	if err != nil {
		return nil, err
	}
	list := make([]Leftover, 0, len(records))
	for _, r := range records {
		list = append(list, Leftover{ID: r.ID, Run: r.Labels[labelRun], Pod: r.Labels[labelPod], Name: r.Labels[labelContainer], Created: r.CreatedAt})
	}
	slices.SortFunc(list, func(a, b Leftover) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

func (c *Client) records(ctx context.Context, run string) ([]containers.Container, error) {
	filter := fmt.Sprintf("labels.%q", labelRun)
	if run != "" {
		filter = fmt.Sprintf("labels.%q==%q", labelRun, run)
	}
	records, err := c.ctr.ContainerService().List(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", native(err))
	}
	return records, nil
}

// RemoveRun removes all that a run has in containerd, in whatever state it is: processes are killed, and what a dead
// shim or a dead containerd left of them in the runtime's directories, mounts and cgroups goes too. It starts a private
// containerd that is gone, does not stop at an error, and is idempotent.
func (c *Client) RemoveRun(ctx context.Context, run string) error {
	if run == "" {
		return errors.New("remove a run's containers: no run is named")
	}
	if err := c.Revive(ctx); err != nil {
		return fmt.Errorf("remove the containers of run %s: %w", run, err)
	}
	records, err := c.records(ctx, run)
	if err != nil {
		return fmt.Errorf("remove the containers of run %s: %w", run, err)
	}
	errs := make([]error, len(records))
	var group errgroup.Group
	group.SetLimit(removers)
	for i, r := range records {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, removeTimeout)
			defer cancel()
			if err := c.remove(ctx, run, r.ID, r.Labels[labelCgroup]); err != nil {
				errs[i] = fmt.Errorf("remove container %s: %w", r.ID, err)
			}
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errors.Join(errs...), c.settleShims(ctx, run, records), os.RemoveAll(c.pipesOf(run)))
}

// settleShims sees to the ends of a run's shims, when its containers are gone.
func (c *Client) settleShims(ctx context.Context, run string, records []containers.Container) error {
	ahead, err := c.podsAhead(run)
	err = errors.Join(err, c.endOrphans(run), c.removeShimSockets(ctx, run, records, ahead))
	c.reapShims()
	return err
}

// removeShimSockets removes the sockets of a run's shims, which the shims themselves leave behind when they end.
func (c *Client) removeShimSockets(ctx context.Context, run string, records []containers.Container, pods []string) error {
	if c.cfg.External() {
		return nil
	}
	c.mu.Lock()
	pods = slices.AppendSeq(pods, maps.Keys(c.pods[run]))
	delete(c.pods, run)
	c.mu.Unlock()
	for _, r := range records {
		pods = append(pods, r.Labels[labelPod])
	}
	slices.Sort(pods)
	var errs []error
	for _, pod := range slices.Compact(pods) {
		path := c.shimSocket(pod)
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		for answers(path) && pauseFor(ctx, time.Millisecond) == nil {
		}
		cancel()
		errs = append(errs, removeFile(path))
	}
	return errors.Join(errs...)
}

// shimSocket is where the shim of a pod listens, by containerd's own rule.
func (c *Client) shimSocket(pod string) string {
	ctx := namespaces.WithNamespace(context.Background(), Namespace)
	address, err := shim.CreateSocketAddress(ctx, c.cfg.shimSockets(), c.cfg.address(), pod, false)
	if err != nil {
		panic(err) // only for a context without a namespace
	}
	return strings.TrimPrefix(address, "unix://")
}

// remove takes one container away: its processes, what they left, its snapshot, and last the record by which all
// this is found. What is not there is passed over.
func (c *Client) remove(ctx context.Context, run, id, cgroup string) error {
	if err := c.endTask(ctx, id); err != nil {
		return err
	}
	return c.removeEnded(ctx, run, id, cgroup)
}

// removeEnded takes away what a task leaves that is no more.
func (c *Client) removeEnded(ctx context.Context, run, id, cgroup string) error {
	if err := c.sweep(ctx, run, id, cgroup); err != nil {
		return err
	}
	sn, _, err := c.snapshots(ctx)
	if err != nil {
		return err
	}
	if err := sn.Remove(ctx, id); ignoreNotFound(err) != nil {
		return fmt.Errorf("remove its writable layer: %w", native(err))
	}
	if err := c.ctr.ContainerService().Delete(ctx, id); ignoreNotFound(err) != nil {
		return fmt.Errorf("remove its record: %w", native(err))
	}
	return nil
}

// deleteEnded deletes a task all of whose processes have ended; ok is false if it has to be ended first after all.
func (c *Client) deleteEnded(ctx context.Context, id string) (ok bool) {
	_, err := c.tasks().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	return ignoreNotFound(native(err)) == nil
}

// endTask kills a task's processes, waits for the end and deletes the task. The kill comes first: the deletion of one
// that was never started would wait ten seconds for the end of its output.
func (c *Client) endTask(ctx context.Context, id string) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		_, err := c.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(unix.SIGKILL), All: true})
		if err == nil {
			_, err = c.tasks().Wait(ctx, &tasks.WaitRequest{ContainerID: id})
		}
		if err = ignoreNotFound(native(err)); err == nil {
			_, err = c.tasks().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
			if err = ignoreNotFound(native(err)); err == nil {
				return nil
			}
		}
		if errors.Is(err, ErrDaemonGone) {
			return fmt.Errorf("end its task: %w", err)
		}
		// Its shim is dying, or it has ended meanwhile; NotFound is the answer once containerd has seen to it.
		if perr := pauseFor(ctx, pause); perr != nil {
			return fmt.Errorf("end its task: %w", errors.Join(err, perr))
		}
	}
}

// sweep removes what is left of a container beside containerd: nothing, unless a shim was killed.
func (c *Client) sweep(ctx context.Context, run, id, cgroup string) error {
	var errs []error
	if cgroup != "" {
		errs = append(errs, RemoveCgroup(ctx, cgroup))
	}
	errs = append(errs, os.RemoveAll(c.pipeDir(run, id)))
	if !c.cfg.External() {
		errs = append(errs, os.RemoveAll(filepath.Join(c.cfg.runcRoot(), Namespace, id)))
		errs = append(errs, removeBundle(filepath.Join(c.cfg.bundles(), id)))
	}
	return errors.Join(errs...)
}

// removeBundle removes a shim's bundle directory, with the root file system that may still be mounted in it.
func removeBundle(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	rootfs := filepath.Join(dir, "rootfs")
	for {
		err := unix.Unmount(rootfs, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", rootfs, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the shim's bundle: %w", err)
	}
	return nil
}
