package rundir

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Rotation bounds what a log takes on disk, as the kubelet's options of these names do (MS-04). The zero value is the
// kubelet's defaults.
type Rotation struct {
	MaxSize  int64 // containerLogMaxSize: bytes at which a file is rotated; 10 MiB if zero
	MaxFiles int   // containerLogMaxFiles: how many files a log has at most, with the one that is written; 5 if zero
}

func (r Rotation) withDefaults() Rotation {
	if r.MaxSize == 0 {
		r.MaxSize = 10 << 20
	}
	if r.MaxFiles == 0 {
		r.MaxFiles = 5
	}
	return r
}

// The names of a log's files, as the kubelet's: <log> is written, <log>.<stamp> was last, and the ones before are
// <log>.<stamp>.gz. Their order is that of the stamps.
const (
	stampForm  = "20060102-150405"
	gzipSuffix = ".gz"
	tmpSuffix  = ".tmp"
)

// A rotator renames a log's full files, packs them and takes the oldest away. It packs on a goroutine of its own, so
// that the container does not wait for it.
//
// A reader that follows may rely on this: a file under its rotated name is written no more; its packed form has its
// modification time to the nanosecond, and is there before the file goes; files go in their order.
type rotator struct {
	path   string
	limits Rotation
	last   string           // the newest stamp given; empty: to be looked up
	now    func() time.Time // nil: time.Now

	mu      sync.Mutex
	untidy  bool            // there is something to do
	tidying bool            // tidy runs
	ctx     context.Context //nolint:containedctx // of tidy; ended by close
	cancel  context.CancelFunc
	joined  sync.WaitGroup
	err     error // of tidy
}

// rotate gives the file that is written its rotated name. The caller then creates the next one, or undoes it. A nil
// undo says that it was not done: stamps count seconds, and this one's is taken.
func (r *rotator) rotate() (undo func() error, err error) {
	if r.last == "" {
		names, err := rotatedNames(r.path)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			r.last = stampOf(r.path, names[len(names)-1])
		}
	}
	now := time.Now
	if r.now != nil {
		now = r.now
	}
	stamp := now().UTC().Format(stampForm)
	switch {
	case stamp == r.last:
		return nil, nil
	case stamp < r.last: // the clock went back; the order must not
		last, err := time.Parse(stampForm, r.last)
		if err != nil {
			return nil, fmt.Errorf("rotate log: %w", err)
		}
		stamp = last.Add(time.Second).Format(stampForm)
	}
	rotated := r.path + "." + stamp
	if err := os.Rename(r.path, rotated); err != nil {
		return nil, err
	}
	r.last = stamp
	return func() error { return os.Rename(rotated, r.path) }, nil
}

// rotatedNames lists a log's rotated files, the oldest first: paths. One that is being packed may be there in both
// forms; the packed one is listed.
func rotatedNames(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries { // by name
		name := filepath.Join(filepath.Dir(path), e.Name())
		if stampOf(path, name) == "" {
			continue
		}
		if n := len(names); n > 0 && names[n-1]+gzipSuffix == name {
			names = names[:n-1]
		}
		names = append(names, name)
	}
	return names, nil
}

// stampOf is the stamp in the name of a log's rotated file, empty for any other.
func stampOf(path, name string) string {
	stamp, ok := strings.CutPrefix(name, path+".")
	stamp = strings.TrimSuffix(stamp, gzipSuffix)
	if _, err := time.Parse(stampForm, stamp); !ok || err != nil {
		return ""
	}
	return stamp
}

// tidyUp sees to it that no more files are there than may be, and that all rotated ones but the newest are packed. It
// does not wait for it.
func (r *rotator) tidyUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel == nil {
		r.ctx, r.cancel = context.WithCancel(context.Background())
	}
	r.untidy = true
	if !r.tidying {
		r.tidying = true
		ctx := r.ctx
		r.joined.Go(func() { r.tidy(ctx) })
	}
}

// tidy works until there is nothing to do.
func (r *rotator) tidy(ctx context.Context) {
	for r.take() {
		err := r.tidyOnce(ctx)
		if err != nil && ctx.Err() == nil {
			r.mu.Lock()
			r.err = errors.Join(r.err, err)
			r.mu.Unlock()
		}
	}
}

// take reports whether there is something to do. If not, the caller ends.
func (r *rotator) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tidying = r.untidy && r.err == nil
	r.untidy = false
	return r.tidying
}

func (r *rotator) tidyOnce(ctx context.Context) error {
	for {
		names, err := rotatedNames(r.path)
		if err != nil {
			return err
		}
		excess := max(0, len(names)+1-max(r.limits.MaxFiles, 2))
		for _, name := range names[:excess] {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
		names = names[excess:]
		i := slices.IndexFunc(names, func(name string) bool { return !strings.HasSuffix(name, gzipSuffix) })
		if i < 0 || i == len(names)-1 {
			return nil
		}
		if err := pack(ctx, names[i]); err != nil {
			return err
		}
	}
}

// close ends the tidying. A file that is being packed stays as it was.
func (r *rotator) close() error {
	r.mu.Lock()
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	r.joined.Wait()
	return r.err
}

// pack replaces a file by its packed form.
func pack(ctx context.Context, name string) (err error) {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	tmp := name + tmpSuffix
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode())
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(z, untilDone{ctx, in})
		err = errors.Join(err, z.Close())
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = os.Chtimes(tmp, info.ModTime(), info.ModTime())
	}
	if err == nil {
		err = os.Rename(tmp, name+gzipSuffix)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Remove(name)
}

// untilDone reads until the context is done.
type untilDone struct {
	ctx context.Context //nolint:containedctx // of one io.Copy
	in  io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.in.Read(p)
}

// removeLogs removes the logs, with their rotated files, of instances that came before one, in the directory of their
// container.
func removeLogs(dir string, before int) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old logs: %w", err)
	}
	for _, e := range entries {
		number, _, isLog := strings.Cut(e.Name(), ".log")
		if n, err := strconv.Atoi(number); !isLog || err != nil || n >= before {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove old logs: %w", err)
		}
	}
	return nil
}
