package rundir

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LogPath is the log of one instance of a container, in a run's directory. Its rotated files are beside it.
func LogPath(dir, pod, container string, instance int) string {
	return filepath.Join(dir, logsDir, pod, container, fmt.Sprintf("%d.log", instance))
}

// A logFile is one open file of a log. Open it stays whole, whatever becomes of its name.
type logFile struct {
	file  *os.File
	info  fs.FileInfo
	start int64  // where to begin to read
	text  []byte // of a packed file, where it was unpacked as a whole
}

func openLogFile(name string) (*logFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &logFile{file: f, info: info}, nil
}

// openLogFiles opens all of a log's files, the oldest first; the last is the one that is written. A log without any is
// fs.ErrNotExist.
func openLogFiles(path string) ([]*logFile, error) {
	for {
		names, err := logNames(path)
		if err != nil {
			return nil, err
		}
		files, err := openAll(names)
		if err == nil {
			var now []string
			if now, err = logNames(path); slices.Equal(now, names) {
				// Every rotation adds a name: there was none.
				return files, nil
			}
			err = errors.Join(err, closeAll(files))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// logNames are the paths of a log's files, the oldest first.
func logNames(path string) ([]string, error) {
	names, err := rotatedNames(path)
	if err != nil {
		return nil, err
	}
	switch _, err := os.Stat(path); {
	case err == nil:
		names = append(names, path)
	case !errors.Is(err, fs.ErrNotExist) || len(names) == 0:
		return nil, err
	}
	return names, nil
}

func openAll(names []string) ([]*logFile, error) {
	var files []*logFile
	for _, name := range names {
		f, err := openLogFile(name)
		if err != nil {
			return nil, errors.Join(err, closeAll(files))
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*logFile) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}

func (f *logFile) packed() bool { return strings.HasSuffix(f.file.Name(), gzipSuffix) }

// became reports whether other is what the rotation made of this file: the file itself, or its packed form, which has
// its time.
func (f *logFile) became(other *logFile) (bool, error) {
	info, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(info, other.info) || other.packed() && info.ModTime().Equal(other.info.ModTime()), nil
}

// read reads from start on. What a file grows by is read too.
func (f *logFile) read() (io.Reader, error) {
	switch {
	case !f.packed():
		_, err := f.file.Seek(f.start, io.SeekStart)
		return f.file, err
	case f.text != nil:
		return io.NewSectionReader(f, f.start, int64(len(f.text))), nil
	}
	return gzip.NewReader(f.file)
}

// ReadAt reads a text that was unpacked, or the file.
func (f *logFile) ReadAt(p []byte, off int64) (int, error) {
	if f.text == nil {
		return f.file.ReadAt(p, off)
	}
	if off >= int64(len(f.text)) {
		return 0, io.EOF
	}
	n := copy(p, f.text[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// size is how much there is for ReadAt. A packed file is unpacked for it.
func (f *logFile) size() (int64, error) {
	if !f.packed() {
		info, err := f.file.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	z, err := gzip.NewReader(f.file)
	if err != nil {
		return 0, err
	}
	if f.text, err = io.ReadAll(z); err != nil {
		return 0, err
	}
	return int64(len(f.text)), nil
}
