package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ensure checks that what is at the path is of its type, and makes it where the type says so (VO-16). The wording of
// a mismatch is the kubelet's.
func (h HostPath) ensure() error {
	if h.Type == HostPathUnset {
		return nil
	}
	info, err := os.Stat(h.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	var mode fs.FileMode
	if !missing {
		mode = info.Mode()
	}
	switch h.Type {
	case HostPathDirectoryOrCreate:
		if missing {
			return makeHostDir(h.Path)
		}
		return h.require(mode.IsDir(), "directory")
	case HostPathDirectory:
		return h.require(!missing && mode.IsDir(), "directory")
	case HostPathFileOrCreate:
		if missing {
			return makeHostFile(h.Path)
		}
		return h.require(mode.IsRegular(), "file")
	case HostPathFile:
		return h.require(!missing && mode.IsRegular(), "file")
	case HostPathSocket:
		return h.require(mode&fs.ModeSocket != 0, "socket file")
	case HostPathCharDevice:
		return h.require(mode&fs.ModeCharDevice != 0, "character device")
	case HostPathBlockDevice:
		return h.require(mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0, "block device")
	}
	return fmt.Errorf("%s is an invalid volume type", h.Type)
}

func (h HostPath) require(ok bool, kind string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("hostPath type check failed: %s is not a %s", h.Path, kind)
}

// makeHostDir makes a directory, 0755 whatever the umask, and its parents.
func makeHostDir(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// makeHostFile makes an empty file, 0644 whatever the umask. One that has come up meanwhile is left as it is.
func makeHostFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o644), f.Close())
}
