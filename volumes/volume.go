package volumes

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// A Volume describes one volume. At most one of EmptyDir, HostPath and Files is set; none is an EmptyDir (VO-18).
type Volume struct {
	EmptyDir *EmptyDir
	HostPath *HostPath
	Files    *Files
	// FSGroup is the group that is to own the volume; nil: nobody in particular (VO-03). Directories get its setgid
	// bit; an emptyDir is made writable to it and files readable, as the kubelet does for read-only kinds. It means
	// nothing for a HostPath. Every volume here begins empty, so there is nothing that a change policy (VO-04) could
	// skip.
	FSGroup *int64
}

// An EmptyDir is an empty directory, mode 0777, that lives as long as the Set (VO-01).
type EmptyDir struct {
	// Memory makes it a tmpfs of its own (VO-02).
	Memory bool
	// SizeLimit bounds a tmpfs in bytes, rounded up to pages; 0: half of the machine's memory, the kernel's default.
	// Without Memory it has no effect: the kubelet evicts by it and podsim does not.
	SizeLimit int64
}

// A HostPath is a file or directory of the machine (VO-16).
type HostPath struct {
	Path string // absolute, without ".."
	Type HostPathType
}

// A HostPathType says what must be at a HostPath. Its values are Kubernetes' own.
type HostPathType string

// The types.
const (
	// HostPathUnset checks nothing. If nothing is there when a container is made, Bind makes a directory, 0755, as
	// containerd does for the kubelet.
	HostPathUnset             HostPathType = ""
	HostPathDirectoryOrCreate HostPathType = "DirectoryOrCreate" // 0755, parents too; stays after TearDown
	HostPathDirectory         HostPathType = "Directory"
	HostPathFileOrCreate      HostPathType = "FileOrCreate" // 0644, empty; its directory must exist; stays after TearDown
	HostPathFile              HostPathType = "File"
	HostPathSocket            HostPathType = "Socket"
	HostPathCharDevice        HostPathType = "CharDevice"
	HostPathBlockDevice       HostPathType = "BlockDevice"
)

// Files is a tree of files with known contents: a ConfigMap, a Secret, the downward API, or several projected into
// one. Containers cannot write to it, whatever their mounts say.
type Files struct {
	Files []File
	// Memory keeps them on a tmpfs of their own, off any disk: secrets (VO-06) and projected volumes.
	Memory bool
}

// A File is one file of a Files volume.
type File struct {
	// Path is relative, with slashes. It may not contain "..", begin with "..", be another file's, or lead through one
	// (VO-10). Where a source lets a later entry win, the caller has dropped the earlier one.
	Path string
	// Mode is the permission bits, taken as they are: 0 is no permission at all.
	Mode os.FileMode
	Data []byte
}

// memory reports whether v's root is a tmpfs.
func (v Volume) memory() bool {
	return v.EmptyDir != nil && v.EmptyDir.Memory || v.Files != nil && v.Files.Memory
}

// check reports what is wrong with v apart from the state of the machine.
func (v Volume) check() error {
	kinds := 0
	for _, set := range []bool{v.EmptyDir != nil, v.HostPath != nil, v.Files != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return errors.New("it is of several kinds: set one of EmptyDir, HostPath and Files")
	case v.EmptyDir != nil && v.EmptyDir.SizeLimit < 0:
		return fmt.Errorf("size limit %d is negative", v.EmptyDir.SizeLimit)
	case v.FSGroup != nil && *v.FSGroup < 0:
		return fmt.Errorf("group %d is negative", *v.FSGroup)
	case v.HostPath != nil:
		return v.HostPath.check()
	}
	return nil
}

func (h HostPath) check() error {
	if strings.Contains("/"+h.Path+"/", "/../") {
		return fmt.Errorf("invalid HostPath `%s`: must not contain '..'", h.Path)
	}
	if !path.IsAbs(h.Path) {
		return fmt.Errorf("invalid HostPath `%s`: must be an absolute path", h.Path)
	}
	return nil
}

// A tree is the checked files by their clean paths.
type tree map[string]File

// The longest path and name of a file, in bytes.
const (
	maxPath = 4096
	maxName = 255
)

// tree checks the files' paths and modes.
func (f Files) tree() (tree, error) {
	t := make(tree, len(f.Files))
	for _, file := range f.Files {
		if err := checkPath(file.Path); err != nil {
			return nil, fmt.Errorf("file %q: %w", file.Path, err)
		}
		if file.Mode&^os.ModePerm != 0 {
			return nil, fmt.Errorf("file %q: mode %#o is not between 0 and 0777", file.Path, uint32(file.Mode))
		}
		file.Path = path.Clean(file.Path)
		if _, taken := t[file.Path]; taken {
			return nil, fmt.Errorf("file %q is there twice: give each source a path of its own", file.Path)
		}
		t[file.Path] = file
	}
	for p := range t {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if _, clash := t[dir]; clash {
				return nil, fmt.Errorf("file %q leads through file %q: give each source a path of its own", p, dir)
			}
		}
	}
	return t, nil
}

// tops returns the names in the tree's root.
func (t tree) tops() map[string]bool {
	names := make(map[string]bool, len(t))
	for p := range t {
		top, _, _ := strings.Cut(p, "/")
		names[top] = true
	}
	return names
}

// checkPath holds a file's path to what a volume can show (VO-05). Names that begin with ".." are the layout's own.
func checkPath(p string) error {
	clean := path.Clean(p)
	switch {
	case p == "" || clean == ".":
		return errors.New("a file needs a path")
	case path.IsAbs(p):
		return errors.New("a file's path must be relative")
	case strings.Contains("/"+p+"/", "/../"):
		return errors.New("a file's path must not contain '..'")
	case strings.HasPrefix(clean, ".."):
		return errors.New("a file's path must not start with '..'")
	case len(p) > maxPath:
		return fmt.Errorf("a file's path must not be longer than %d bytes", maxPath)
	case strings.ContainsRune(p, 0):
		return errors.New("a file's path must not contain a NUL byte")
	}
	for name := range strings.SplitSeq(clean, "/") {
		if len(name) > maxName {
			return fmt.Errorf("a name in a file's path must not be longer than %d bytes", maxName)
		}
	}
	return nil
}
