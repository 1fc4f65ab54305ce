package flows

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A cgroup is a cgroup2 directory as nftables names it: the kernel's id, which is the inode's number, and the depth
// below the root of the hierarchy.
type cgroup struct {
	id    uint64
	level uint32
}

var errNoCgroup2 = errors.New("it is not in a cgroup v2 hierarchy (mount one: mount -t cgroup2 none /sys/fs/cgroup/unified)")

// openCgroup looks dir up, an absolute path below a cgroup2 mount.
func openCgroup(dir string) (cgroup, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return cgroup{}, fmt.Errorf("look up cgroup %s: %w", dir, err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return cgroup{}, fmt.Errorf("look up cgroup %s: %w", dir, errNoCgroup2)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return cgroup{}, fmt.Errorf("look up cgroup %s: %w", dir, err)
	}
	g := cgroup{id: st.Ino}
	for at := filepath.Clean(dir); at != "/"; g.level++ {
		at = filepath.Dir(at)
		var parent unix.Stat_t
		if err := unix.Stat(at, &parent); err != nil {
			return cgroup{}, fmt.Errorf("look up cgroup %s: %w", dir, err)
		}
		if parent.Dev != st.Dev {
			break
		}
	}
	if g.level == 0 {
		return cgroup{}, fmt.Errorf("look up cgroup %s: it is the root of the hierarchy: every process is in it", dir)
	}
	return g, nil
}

// CgroupMount returns where the host's cgroup v2 hierarchy is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified on
// a hybrid host. A host without one is an error that says how to mount it.
func CgroupMount() (string, error) {
	for _, usual := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(usual, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return usual, nil
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return "", fmt.Errorf("find the cgroup v2 hierarchy: %w", err)
	}
	for _, m := range mounts {
		if _, err := os.Stat(m.Mountpoint); err == nil {
			return m.Mountpoint, nil
		}
	}
	return "", errors.New("find the cgroup v2 hierarchy: none is mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)")
}
