//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// hierarchies are the mount points of all cgroup hierarchies: one on a v2 host, one for each controller on a v1
// host, and the v2 one besides on a hybrid host.
var hierarchies = sync.OnceValues(func() ([]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var points []string
	for _, m := range mounts {
		points = append(points, m.Mountpoint)
	}
	return points, nil
})

// CgroupDirs returns the directories of a cgroup path, in every hierarchy where it exists.
func CgroupDirs(path string) ([]string, error) {
	points, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, p := range points {
		dir := filepath.Join(p, path)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// oomKills counts the processes of a cgroup that were killed for want of memory. known is false where no hierarchy
// accounts for memory.
func oomKills(path string) (n int, known bool) {
	dirs, err := CgroupDirs(path)
	if err != nil {
		return 0, false
	}
	for _, dir := range dirs {
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue
			}
			known = true
			for line := range strings.Lines(string(data)) {
				if v, ok := strings.CutPrefix(line, "oom_kill "); ok {
					k, _ := strconv.Atoi(strings.TrimSpace(v))
					n = max(n, k)
				}
			}
		}
	}
	return n, known
}

// RemoveCgroup kills what is left in a cgroup and below it, in all hierarchies, and removes it. It is idempotent.
func RemoveCgroup(ctx context.Context, path string) error {
	if filepath.Clean(path) == "/" {
		return errors.New("remove cgroup: the root cannot be removed")
	}
	dirs, err := CgroupDirs(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if err := removeCgroupTree(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// removeCgroupTree tries again until the kernel lets go of the processes that were killed.
func removeCgroupTree(ctx context.Context, root string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := tryRemoveCgroupTree(root)
		if err == nil {
			return nil
		}
		if ctxErr := pauseFor(ctx, pause); ctxErr != nil {
			return errors.Join(err, ctxErr)
		}
	}
}

func tryRemoveCgroupTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		killCgroup(dir)
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("rmdir %s: %w", dir, err)
		}
	}
	return nil
}

func killCgroup(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for field := range strings.FieldsSeq(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
