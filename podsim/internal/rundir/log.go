package rundir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Stream names which of a process's outputs a line came from.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// logTime is CRI's form of a record's time.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// How a Log writes lines that come fast: about logPiece bytes at a time, and so often that no line waits longer than
// logPause.
const (
	logPiece = 64 << 10
	logPause = 5 * time.Millisecond
)

// A Line is one line of a container's output, without its newline, or a piece of one.
type Line struct {
	Time   time.Time
	Stream Stream
	// Partial says that the line does not end here: it goes on in the next Line of its stream, or the output ended
	// without a newline. A LogReader joins pieces; see there what is left partial.
	Partial bool
	Text    string
}

// A Log writes one container instance's output in CRI's format (MS-03): time, stream, F or P (full or partial line),
// text. It rotates the file as the kubelet does (MS-04).
//
// A line after a pause is in the file when Write returns. Lines that follow one another closely are written together:
// each is in the file after logPause, and when Flush or Close returns.
type Log struct {
	path  string
	files rotator

	mu      sync.Mutex
	file    *os.File // nil: closed
	size    int64    // of file
	buf     []byte
	pause   *time.Timer // what comes before it fires waits in buf
	pausing bool
	torn    bool  // the file may end within a record
	err     error // the first

	time     time.Time // of the last record: lines that were read at once have the same
	timeText []byte
}

// CreateLog creates a log's file and the directories above it. A file that is there already is continued.
func CreateLog(path string) (*Log, error) { return Rotation{}.create(path) }

func (r Rotation) create(path string) (*Log, error) {
	l := &Log{path: path, files: rotator{path: path, limits: r.withDefaults()}}
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = l.open()
	}
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends a line. It never fails, as whoever copies a container's output must go on: a full disk does not block
// the container, it only costs lines. Close tells.
func (l *Log) Write(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	l.append(line)
	if !l.pausing || len(l.buf) >= logPiece {
		l.flush()
	}
	if l.pausing {
		return
	}
	l.pausing = true
	if l.pause == nil {
		l.pause = time.AfterFunc(logPause, l.paused)
	} else {
		l.pause.Reset(logPause)
	}
}

// append puts a record into the buffer.
func (l *Log) append(line Line) {
	if l.timeText == nil || !line.Time.Equal(l.time) {
		l.time, l.timeText = line.Time, line.Time.UTC().AppendFormat(l.timeText[:0], logTime)
	}
	tag := " F "
	if line.Partial {
		tag = " P "
	}
	l.buf = append(l.buf, l.timeText...)
	l.buf = append(l.buf, ' ')
	l.buf = append(l.buf, line.Stream...)
	l.buf = append(l.buf, tag...)
	l.buf = append(l.buf, line.Text...)
	l.buf = append(l.buf, '\n')
}

// paused writes what has come meanwhile. If nothing has, the next line is written at once.
func (l *Log) paused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pausing = false
	if l.file != nil && len(l.buf) > 0 {
		l.flush()
		l.pausing = true
		l.pause.Reset(logPause)
	}
}

// Flush returns when every line that Write was given is in the file.
func (l *Log) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.flush()
	}
}

// flush writes the buffer, and rotates a file that is full. The caller holds mu.
func (l *Log) flush() {
	if len(l.buf) == 0 {
		return
	}
	if l.torn { // end the record that an error cut: a reader leaves it out
		if _, err := l.file.Write([]byte{'\n'}); err != nil {
			l.note(err)
			l.buf = l.buf[:0]
			return
		}
		l.torn = false
	}
	n, err := l.file.Write(l.buf)
	l.size += int64(n)
	l.torn = err != nil && n > 0
	l.note(err)
	l.buf = l.buf[:0]
	if l.size >= l.files.limits.MaxSize && !l.torn {
		l.rotate()
	}
}

// rotate begins a new file. If it cannot be had, the old one goes on.
func (l *Log) rotate() {
	old := l.file
	undo, err := l.files.rotate()
	if err != nil || undo == nil {
		l.note(err)
		return
	}
	if err := l.open(); err != nil {
		l.note(errors.Join(err, undo()))
		return
	}
	l.note(old.Close())
	l.files.tidyUp()
}

func (l *Log) note(err error) {
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write log: %w", err)
	}
}

// Close writes what is left and closes the file. Its error is the first that any write met. It is idempotent.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	l.flush()
	if l.pause != nil {
		l.pause.Stop()
	}
	l.note(l.file.Close())
	l.file = nil
	return errors.Join(l.err, l.files.close())
}
