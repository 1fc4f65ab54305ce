package volumes

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ErrUnsupported is what the methods of a Set return where there are no Linux mounts.
var ErrUnsupported = errors.New("volumes need Linux: run podsim in a Linux machine")

// A Set is the volumes of one owner, materialised in one directory.
//
// It is a description: it holds no state and may be copied and made anew from the same values. SetUp, Bind and
// TearDown are each idempotent. Calls for different volumes may run at once, calls for one volume may not, and
// nothing may run beside TearDown.
type Set struct {
	// Dir is an absolute path that the Set has to itself: SetUp makes it, TearDown removes it with all that is in it.
	// It is not a mount point. Volumes on disk take their space from its file system.
	Dir string
	// Volumes are the volumes by name. A name is one component of a path and does not begin with a dot.
	Volumes map[string]Volume
}

// newPrefix begins the name of a volume's root while it is made; subDir is where subPaths are held. No volume's
// name begins with a dot.
const (
	newPrefix = ".new-"
	subDir    = ".sub"
)

// Path returns where the named volume is on this machine: its directory in Dir, or the HostPath. To read from a
// volume that containers write to, use os.OpenInRoot: there may be symlinks in it.
func (s Set) Path(name string) string {
	if h := s.Volumes[name].HostPath; h != nil {
		return h.Path
	}
	return filepath.Join(s.Dir, name)
}

// volume returns the named volume, checked.
func (s Set) volume(name string) (Volume, error) {
	v, ok := s.Volumes[name]
	switch {
	case !ok:
		return v, errors.New("there is no such volume in the set")
	case !isName(name):
		return v, errors.New("a volume's name is one path component that does not begin with a dot")
	}
	return v, v.check()
}

func (s Set) checkDir() error {
	if !filepath.IsAbs(s.Dir) || filepath.Clean(s.Dir) == "/" {
		return fmt.Errorf("directory %q: a set of volumes needs a directory of its own, by its absolute path", s.Dir)
	}
	return nil
}

// isName reports whether s can be a name in Dir that is none of ours.
func isName(s string) bool {
	return s != "" && s[0] != '.' && len(s) <= maxName-len(newPrefix) && !strings.ContainsAny(s, "/\x00")
}
