//go:build linux

package rundir

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// IDLength is the length of every run's ID.
const IDLength = 7

// letters are those of an ID; the first is never a digit, so that an ID is a DNS label and a link's name.
const letters = "abcdefghijklmnopqrstuvwxyz0123456789"

// A Run is a run's directory, owned by this process until Close or Remove.
type Run struct {
	ID   string
	Dir  string
	lock *os.File
}

// Create makes a directory for a new run below state and locks it. The run has no record yet: nothing may be made
// in its name before Commit.
func Create(state string) (*Run, error) {
	runs := runsDir(state)
	if err := os.MkdirAll(runs, 0o711); err != nil {
		return nil, fmt.Errorf("make a run's directory: %w", err)
	}
	for {
		id := newID()
		dir := filepath.Join(runs, id)
		err := os.Mkdir(dir, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("make a run's directory: %w", err)
		}
		r := &Run{ID: id, Dir: dir}
		r.lock, err = lock(dir, os.O_CREATE, unix.LOCK_EX)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !r.holds() {
			// Between the two somebody took the directory for a dead run's, and it away.
			_ = r.Close()
			continue
		}
		if err == nil {
			err = r.sign()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock run %s: %w", id, err), r.Close(), os.RemoveAll(dir))
		}
		return r, nil
	}
}

// holds reports whether the lock that was taken is the one in the directory, and not that of a removed one.
func (r *Run) holds() bool {
	mine, err := r.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(r.Dir, lockFile))
	return err == nil && os.SameFile(mine, there)
}

// sign writes this process's number into the lock. Whether a run lives is only ever the lock's word; the number tells
// when it is worth while to ask again.
func (r *Run) sign() error {
	_, err := r.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func newID() string {
	var b [IDLength]byte
	rand.Read(b[:])
	for i, c := range b {
		n := len(letters)
		if i == 0 {
			n = 26
		}
		b[i] = letters[int(c)%n]
	}
	return string(b[:])
}

// Commit writes the record; when it returns the record is on disk, and the run may have its first effect.
func (r *Run) Commit(rec Record) error {
	rec.ID = r.ID
	if err := writeRecord(r.Dir, rec); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.Dir))
}

// Timeline creates the timeline's file. The caller closes it.
func (r *Run) Timeline() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(r.Dir, timelineFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create timeline: %w", err)
	}
	return f, nil
}

// LogPath is the log of one instance of a container.
func (r *Run) LogPath(pod, container string, instance int) string {
	return LogPath(r.Dir, pod, container, instance)
}

// CreateLog creates the log of one instance of a container. The one of the instance before stays, older ones go, as
// with the kubelet (MS-03, IN-12).
func (r *Run) CreateLog(pod, container string, instance int) (*Log, error) {
	path := r.LogPath(pod, container, instance)
	if err := removeLogs(filepath.Dir(path), instance-1); err != nil {
		return nil, err
	}
	return CreateLog(path)
}

// Remove takes the directory away, with the record: the last step of a reap. It is idempotent. The lock is let go
// only after the directory is gone, so that nobody sees a dead run in between.
func (r *Run) Remove() error {
	err := removeDir(r.Dir)
	return errors.Join(err, r.Close())
}

// removeDir removes the record last but for the lock: a removal that is broken off leaves a run that can still be found and
// reaped, and until the record is gone the run counts as alive.
func removeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != recordFile && e.Name() != lockFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(dir, recordFile))
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("remove run's directory: %w", err)
	}
	return nil
}

// Close lets go of the lock and leaves the directory: from now on the run counts as dead. It is idempotent.
func (r *Run) Close() error {
	if r.lock == nil {
		return nil
	}
	err := r.lock.Close()
	r.lock = nil
	return err
}

// An Entry is one run found below a state directory.
type Entry struct {
	Record
	Dir   string
	Alive bool // its process holds the lock
	Whole bool // its record was read; otherwise only the ID is known
}

// List finds the runs below state, the oldest first.
func List(state string) ([]Entry, error) {
	dirs, err := os.ReadDir(runsDir(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var out []Entry
	for _, d := range dirs {
		if !d.IsDir() || !ValidID(d.Name()) {
			continue
		}
		e := Entry{Dir: filepath.Join(runsDir(state), d.Name())}
		e.Record, e.Whole = readRecord(e.Dir)
		if e.Alive, err = alive(e.Dir); err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
		if e.Whole && !e.Alive {
			if _, whole := readRecord(e.Dir); !whole {
				continue // it was just removed
			}
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// Adopt locks a dead run's directory in order to reap it; its record may be in parts. A run whose process lives is
// ErrAlive. A run without a directory, known only by what it left elsewhere, is adopted too: the directory is made,
// so that two processes do not reap it at once.
func Adopt(state, id string) (*Run, Entry, error) {
	if !ValidID(id) {
		return nil, Entry{}, fmt.Errorf("%q is not a run's ID: `podsim ps` lists them", id)
	}
	dir := filepath.Join(runsDir(state), id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Entry{}, fmt.Errorf("adopt run %s: %w", id, err)
	}
	if live, err := alive(dir); err != nil || live {
		return nil, Entry{}, fmt.Errorf("adopt run %s: %w", id, cmp.Or(err, ErrAlive))
	}
	held, err := lock(dir, os.O_CREATE, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return nil, Entry{}, fmt.Errorf("adopt run %s: %w", id, err)
	}
	r := &Run{ID: id, Dir: dir, lock: held}
	if err := r.sign(); err != nil {
		return nil, Entry{}, errors.Join(fmt.Errorf("adopt run %s: %w", id, err), r.Close())
	}
	e := Entry{Dir: dir}
	e.Record, e.Whole = readRecord(dir)
	return r, e, nil
}

// ErrAlive says that a run's process lives.
var ErrAlive = errors.New("its process is running")

// ValidID reports whether s has the form of an ID.
func ValidID(s string) bool {
	return len(s) == IDLength && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, letters) == ""
}

func runsDir(state string) string { return filepath.Join(state, "runs") }

// alive reports whether a run's process holds its lock. It asks with a shared lock, let go at once: those who ask do
// not stand in each other's way, and Create waits for them.
//
// A process that is killed while it starts a program leaves a child that holds the lock until the program is in its
// place. So when the one that took the lock is gone, the lock is given a moment to go too.
func alive(dir string) (bool, error) {
	for deadline := time.Now().Add(childPatience); ; <-time.After(time.Millisecond) {
		f, err := lock(dir, 0, unix.LOCK_SH|unix.LOCK_NB)
		switch {
		case err == nil:
			return false, f.Close()
		case errors.Is(err, ErrAlive) && (ownerLives(dir) || time.Now().After(deadline)):
			return true, nil
		case errors.Is(err, fs.ErrNotExist): // it is being removed, or was never locked
			return false, nil
		case !errors.Is(err, ErrAlive):
			return false, err
		}
	}
}

// childPatience is far longer than a child takes to become another program.
const childPatience = time.Second

// ownerLives reports whether there is a process of the number that is in the lock, or the lock does not say.
func ownerLives(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil {
		return true
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return err != nil || pid <= 0 || !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// lock opens and flocks the lock file in dir, or says ErrAlive. The file descriptor closes on exec: a child does not
// keep the lock.
func lock(dir string, create, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|create, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrAlive
	}
	return nil, errors.Join(err, f.Close())
}
