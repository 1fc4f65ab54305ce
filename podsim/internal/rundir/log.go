package rundir

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// A Line is one line of a container's output, without its newline, or a piece of one.
type Line struct {
	Time    time.Time
	Stream  Stream
	Partial bool // the line goes on in the next Line of its stream; ReadLog joins them
	Text    string
}

// A Log writes one container instance's output in CRI's format: time, stream, F or P (full or partial line), text.
type Log struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first
}

// CreateLog creates a log's file and the directories above it.
func CreateLog(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	return &Log{file: f}, nil
}

// Write appends a line. It never fails, as whoever copies a container's output must go on: a full disk does not block
// the container. Close tells.
func (l *Log) Write(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.err != nil {
		return
	}
	tag := "F"
	if line.Partial {
		tag = "P"
	}
	if _, err := fmt.Fprintf(l.file, "%s %s %s %s\n", line.Time.UTC().Format(logTime), line.Stream, tag, line.Text); err != nil {
		l.err = fmt.Errorf("write log: %w", err)
	}
}

// Close closes the file. Its error is the first that any write met. It is idempotent.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.err, l.file.Close())
	l.file = nil
	return err
}

// ReadLog reads a log's last lines, all of them for tail 0. A log that does not exist is fs.ErrNotExist. A record
// that is not of CRI's form, such as a torn last one, is left out.
func ReadLog(path string, tail int) ([]Line, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	var lines []Line
	partial := make(map[Stream]string)
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<10)
	for in.Scan() {
		l, ok := parseRecord(in.Text())
		if !ok {
			continue
		}
		if l.Partial {
			partial[l.Stream] += l.Text
			continue
		}
		l.Text = partial[l.Stream] + l.Text
		delete(partial, l.Stream)
		lines = append(lines, l)
		if tail > 0 && len(lines) > 2*tail {
			lines = append(lines[:0], lines[len(lines)-tail:]...)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	if tail > 0 && len(lines) > tail {
		lines = lines[len(lines)-tail:]
	}
	return lines, nil
}

func parseRecord(s string) (Line, bool) {
	at, rest, _ := strings.Cut(s, " ")
	stream, rest, _ := strings.Cut(rest, " ")
	tag, text, whole := strings.Cut(rest, " ")
	t, err := time.Parse(logTime, at)
	return Line{Time: t, Stream: Stream(stream), Partial: tag == "P", Text: text}, whole && err == nil
}
