package rundir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
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

// maxLine is CRI's bound on a record's content, in bytes; a longer line becomes several partial records.
const maxLine = 16 << 10

// logTime is CRI's form of a record's time.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// A Log writes one container instance's output in CRI's format: time, stream, F or P (full or partial line), text.
// Its two streams may be written to at once.
type Log struct {
	mu   sync.Mutex
	file *os.File
	now  func() time.Time
	// Line, if not nil, is told of each whole line, without its newline, under the log's lock; of one longer than CRI's
	// 16 KiB, of its last piece.
	Line func(at time.Time, s Stream, line string)
	part map[Stream][]byte
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
	return &Log{file: f, now: time.Now, part: make(map[Stream][]byte)}, nil
}

// Stream returns the writer of one stream.
func (l *Log) Stream(s Stream) io.Writer { return streamWriter{l, s} }

type streamWriter struct {
	log    *Log
	stream Stream
}

// Write never fails, so that whoever copies a container's output goes on: a full disk must not block the container.
func (w streamWriter) Write(p []byte) (int, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if err := w.log.write(w.stream, p); err != nil && w.log.err == nil {
		w.log.err = fmt.Errorf("write log: %w", err)
	}
	return len(p), nil
}

// write takes what came and writes the lines that are whole now.
func (l *Log) write(s Stream, p []byte) error {
	data := append(l.part[s], p...)
	var err error
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		err = errors.Join(err, l.line(s, data[:i]))
		data = data[i+1:]
	}
	for len(data) >= maxLine {
		err = errors.Join(err, l.record(l.now(), s, "P", data[:maxLine]))
		data = data[maxLine:]
	}
	l.part[s] = append(l.part[s][:0:0], data...)
	return err
}

func (l *Log) line(s Stream, text []byte) error {
	at := l.now()
	if l.Line != nil {
		l.Line(at, s, string(bytes.TrimSuffix(text, []byte("\r"))))
	}
	var err error
	for len(text) > maxLine {
		err = errors.Join(err, l.record(at, s, "P", text[:maxLine]))
		text = text[maxLine:]
	}
	return errors.Join(err, l.record(at, s, "F", text))
}

func (l *Log) record(at time.Time, s Stream, tag string, text []byte) error {
	_, err := fmt.Fprintf(l.file, "%s %s %s %s\n", at.UTC().Format(logTime), s, tag, text)
	return err
}

// Close writes what is left without a newline, and closes the file. Its error is the first that any write met. It is
// idempotent.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	var err error
	for s, text := range l.part {
		if len(text) > 0 {
			err = errors.Join(err, l.line(s, text))
		}
	}
	err = errors.Join(l.err, err, l.file.Close())
	l.file = nil
	return err
}

// A Line is one whole line of a log.
type Line struct {
	Time   time.Time
	Stream Stream
	Text   string
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
	defer f.Close() //nolint:errcheck // only read from
	var lines []Line
	partial := make(map[Stream]string)
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<10)
	for in.Scan() {
		l, tag, ok := parseRecord(in.Text())
		if !ok {
			continue
		}
		if tag == "P" {
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

func parseRecord(s string) (l Line, tag string, ok bool) {
	at, rest, ok := strings.Cut(s, " ")
	if !ok {
		return l, "", false
	}
	stream, rest, ok := strings.Cut(rest, " ")
	if !ok {
		return l, "", false
	}
	tag, text, ok := strings.Cut(rest, " ")
	t, err := time.Parse(logTime, at)
	return Line{Time: t, Stream: Stream(stream), Text: text}, tag, ok && err == nil
}
