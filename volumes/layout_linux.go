package volumes

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// dataLink names the version in force, newLink the one that is about to be.
const (
	dataLink = "..data"
	newLink  = "..data_tmp"
)

// A layout is a Files volume on disk (VO-05). A version is complete before ..data names it, and ..data changes by
// one rename, so that a reader who opens a file sees one version or the other.
type layout struct {
	dir   string
	group *int64
}

// write brings the volume to show exactly the files, from any state that an interrupted write has left.
func (l layout) write(ctx context.Context, files tree) error {
	current, err := l.current()
	if err != nil {
		return err
	}
	if current == "" || !l.shows(current, files) {
		if current, err = l.newVersion(ctx, files); err != nil {
			return err
		}
	}
	if err := l.link(files); err != nil {
		return err
	}
	return l.prune(ctx, current, files)
}

// current returns the name of the version in force, "" for none.
func (l layout) current() (string, error) {
	name, err := os.Readlink(filepath.Join(l.dir, dataLink))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return name, err
}

// shows reports whether a version holds just the files. One that cannot be read does not.
func (l layout) shows(version string, files tree) bool {
	root, seen := filepath.Join(l.dir, version), 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		want, ok := files[rel]
		info, err := d.Info()
		if err != nil || !ok || info.Mode() != l.fileMode(want) {
			return errors.Join(err, fs.ErrInvalid)
		}
		data, err := os.ReadFile(p)
		if err != nil || !bytes.Equal(data, want.Data) {
			return errors.Join(err, fs.ErrInvalid)
		}
		seen++
		return nil
	})
	return err == nil && seen == len(files)
}

// newVersion writes the files into a directory of their own and puts it in force. What fails leaves nothing.
func (l layout) newVersion(ctx context.Context, files tree) (string, error) {
	root, err := os.MkdirTemp(l.dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return "", err
	}
	version := filepath.Base(root)
	if err = l.fill(root, files); err == nil {
		err = l.publish(version)
	}
	if err != nil {
		return "", errors.Join(err, removeTree(context.WithoutCancel(ctx), root))
	}
	return version, nil
}

// fill writes the files below root.
func (l layout) fill(root string, files tree) error {
	if err := l.dress(root); err != nil {
		return err
	}
	made := map[string]bool{".": true}
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := l.makeDirs(root, path.Dir(p), made); err != nil {
			return err
		}
		if err := l.writeFile(filepath.Join(root, p), files[p]); err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes dir and its parents below root; made are those that are there.
func (l layout) makeDirs(root, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := l.makeDirs(root, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	full := filepath.Join(root, dir)
	if err := os.Mkdir(full, 0o755); err != nil {
		return err
	}
	return l.dress(full)
}

// dress gives a directory the mode and group it is to have.
func (l layout) dress(dir string) error {
	if err := own(dir, l.group); err != nil {
		return err
	}
	mode := fs.FileMode(0o755)
	if l.group != nil {
		mode |= fs.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

func (l layout) writeFile(name string, f File) error {
	if err := os.WriteFile(name, f.Data, 0o600); err != nil {
		return err
	}
	if err := own(name, l.group); err != nil {
		return err
	}
	return os.Chmod(name, l.fileMode(f))
}

// fileMode is a file's mode in the volume: the group that owns the volume can read all of it.
func (l layout) fileMode(f File) fs.FileMode {
	if l.group != nil {
		return f.Mode | 0o440
	}
	return f.Mode
}

// publish puts a version in force.
func (l layout) publish(version string) error {
	next := filepath.Join(l.dir, newLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(version, next); err != nil {
		return err
	}
	if err := own(next, l.group); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(l.dir, dataLink))
}

// link makes the names that containers see.
func (l layout) link(files tree) error {
	for name := range files.tops() {
		at := filepath.Join(l.dir, name)
		err := os.Symlink(dataLink+"/"+name, at)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := own(at, l.group); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the names that are no more, other versions, and what an interrupted write has left.
func (l layout) prune(ctx context.Context, current string, files tree) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	keep, errs := files.tops(), []error(nil)
	for _, e := range entries {
		switch name := e.Name(); {
		case keep[name] || name == dataLink || name == current:
		case e.IsDir() && strings.HasPrefix(name, ".."):
			errs = append(errs, removeTree(ctx, filepath.Join(l.dir, name)))
		default:
			errs = append(errs, os.Remove(filepath.Join(l.dir, name)))
		}
	}
	return errors.Join(errs...)
}
