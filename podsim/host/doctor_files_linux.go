package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// standing is the path, or the nearest of its parents that is there.
func standing(path string) string {
	for {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// noexec reports whether the file system of a path is mounted so that no program runs from it.
func noexec(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}

// findState looks whether podsim can write where it keeps its images and records.
func findState(dir string) Finding {
	return findWritable(Finding{Name: "state directory", Detail: dir}, dir, "--state-dir")
}

func findWritable(f Finding, dir, option string) Finding {
	there := standing(dir)
	info, err := os.Stat(there)
	if err == nil && !info.IsDir() {
		f.Level, f.Fix = Broken, fmt.Sprintf("rm %s, or name another directory with %s", there, option)
		f.Detail = fmt.Sprintf("%s is no directory", there)
		return f
	}
	if err == nil {
		err = unix.Access(there, unix.W_OK|unix.X_OK)
	}
	switch {
	case errors.Is(err, unix.EROFS):
		f.Level, f.Fix = Broken, fmt.Sprintf("name a directory that can be written with %s, or mount -o remount,rw the file system", option)
		f.Detail = fmt.Sprintf("%s is on a file system that is mounted read-only", dir)
	case err != nil && os.Geteuid() != 0:
		f.Level, f.Detail, f.Fix = Weaker, fmt.Sprintf("%s cannot be looked at by uid %d", dir, os.Geteuid()), "sudo podsim doctor"
	case err != nil:
		f.Level, f.Fix = Broken, "name another directory with "+option
		f.Detail = fmt.Sprintf("%s cannot be written: %v", dir, err)
	}
	return f
}

// lowDisk is the free space under which a run is likely to end with a full disk, and fullDisk the one under which it
// cannot begin, in bytes.
const (
	lowDisk  = 1 << 30
	fullDisk = 16 << 20
)

func findDisk(stateDir string) Finding {
	f := Finding{Name: "disk"}
	var st unix.Statfs_t
	if err := unix.Statfs(standing(stateDir), &st); err != nil {
		f.Level, f.Fix = Weaker, "sudo podsim doctor, or name another place with --state-dir"
		f.Detail = fmt.Sprintf("%s: %v", stateDir, err)
		return f
	}
	free := st.Bavail * uint64(st.Bsize)
	f.Detail = fmt.Sprintf("%.1f GiB free for %s", float64(free)/(1<<30), stateDir)
	switch {
	case free < fullDisk:
		f.Level, f.Detail = Broken, fmt.Sprintf("full: %d KiB are free for %s", free>>10, stateDir)
	case st.Files > 0 && st.Ffree == 0:
		f.Level, f.Detail = Broken, fmt.Sprintf("full: no inode is free for %s", stateDir)
	case free < lowDisk:
		f.Level = Weaker
	}
	if f.Level != OK {
		f.Fix = "free some, or name another place with --state-dir"
	}
	return f
}

// findOverlay makes an overlay of directories beside the images, and drops it without having mounted it anywhere.
func findOverlay(stateDir string) Finding {
	f := Finding{Name: "overlayfs", Detail: "works in " + stateDir}
	if os.Geteuid() != 0 {
		f.Level, f.Detail, f.Fix = Weaker, "cannot be tried without root", "sudo podsim doctor"
		return f
	}
	err := tryOverlay(standing(stateDir))
	if err == nil || errors.Is(err, unix.ENOSYS) { // before Linux 5.2 it cannot be tried so
		return f
	}
	f.Level, f.Fix = Weaker, "modprobe overlay; where podsim runs in a container, give it a volume: --state-dir on a file system of the machine's"
	f.Detail = fmt.Sprintf("does not work in %s (%v): images are copied for every container instead, which is slow", stateDir, err)
	if noexec(standing(stateDir)) {
		f.Level, f.Fix = Broken, "name another place with --state-dir, or mount -o remount,exec the file system"
		f.Detail = fmt.Sprintf("does not work in %s (%v), and from copies on a file system that is mounted noexec nothing runs", stateDir, err)
	}
	return f
}

func tryOverlay(dir string) (err error) {
	dir, err = os.MkdirTemp(dir, "podsim-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open overlay: %w", err)
	}
	defer unix.Close(fs)
	for _, part := range []string{"lower", "upper", "work"} {
		path := filepath.Join(dir, part)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := unix.FsconfigSetString(fs, part+"dir", path); err != nil {
			return fmt.Errorf("set overlay's %sdir: %w", part, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("make an overlay: %w", err)
	}
	return nil
}

// maxRunDir is how long the run directory's path may be: containerd bounds that of its shims' sockets, two levels below.
const maxRunDir = 42 - len("/containerd/s")

func findRunDir(s Site) Finding {
	f := Finding{Name: "run directory", Detail: s.RunDir}
	if len(s.RunDir) > maxRunDir {
		f.Level, f.Fix = Broken, "name a shorter directory with --run-dir"
		f.Detail = fmt.Sprintf("%s is too long for the sockets below it, by %d characters", s.RunDir, len(s.RunDir)-maxRunDir)
		return f
	}
	return findWritable(f, s.RunDir, "--run-dir")
}

// lowFiles is a limit on open files that a pod of a dozen containers comes near to: containerd, its shim and podsim
// hold some ten a container, and a server in the pod one a connection.
const lowFiles = 4096

// findFiles looks at the limit on open files that podsim hands on.
func findFiles() Finding {
	f := Finding{Name: "open files"}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		f.Level, f.Detail = Weaker, "their limit cannot be read: "+err.Error()
		return f
	}
	f.Detail = fmt.Sprintf("up to %d a process", l.Max)
	if l.Max < lowFiles {
		f.Level, f.Fix = Weaker, "ulimit -Hn 1048576; docker run --ulimit nofile=1048576 ... (podman the same); in a systemd unit, LimitNOFILE=1048576"
		f.Detail = fmt.Sprintf("a process may have only %d, containers too: large pods and busy servers meet \"too many open files\"", l.Max)
	}
	return f
}

// procSys is where the kernel has its settings.
const procSys = "/proc/sys"

// inotifyLimits are what programs that follow files need, each the kernel's own default.
var inotifyLimits = []struct {
	name  string
	least int
	set   int
}{
	{"max_user_instances", 128, 1024},
	{"max_user_watches", 8192, 524288},
}

// findInotify looks for limits on watching files that containerd's shims, one a container, and log shippers run into.
func findInotify(sys string) Finding {
	f := Finding{Name: "inotify", Detail: "as many instances and watches as usual"}
	var low, fix []string
	for _, l := range inotifyLimits {
		text, err := os.ReadFile(filepath.Join(sys, "fs/inotify", l.name))
		if err != nil {
			f.Level, f.Detail = Weaker, fmt.Sprintf("%v: programs in pods cannot watch files", err)
			return f
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n < l.least {
			low = append(low, fmt.Sprintf("fs.inotify.%s is %d", l.name, n))
			fix = append(fix, fmt.Sprintf("fs.inotify.%s=%d", l.name, l.set))
		}
	}
	if len(low) > 0 {
		f.Level, f.Fix = Weaker, "sysctl -w "+strings.Join(fix, " ")
		f.Detail = strings.Join(low, ", ") + ": programs that watch files, log shippers above all, fail"
	}
	return f
}
