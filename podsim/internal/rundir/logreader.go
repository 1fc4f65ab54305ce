package rundir

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxJoined bounds a line that is joined from pieces, in bytes; what is longer comes in pieces of about this.
const maxJoined = 1 << 20

// LogOptions say what to read of a log.
type LogOptions struct {
	// Tail is how many lines to read, from the end. Nil: all.
	Tail *int
	// Until makes the reader follow the log: it waits for more until the channel is closed or the log is removed, and then
	// reads what is there. Nil: it reads what is there.
	Until <-chan struct{}
	// Idle is called before each wait, by a caller who writes what it has got only then. May be nil.
	Idle func() error
}

// A LogReader reads the lines of one container instance's log, from all its files, while it may be written, rotated and
// packed. No line is lost or doubled, unless the log is rotated away before a slow reader comes to it. Pieces of a line
// are joined, and the line has the time of the first. One that is still partial either is very long, and goes on in the
// next of its stream, or is the end of an output without a newline. A record that is not of CRI's form, such as a torn
// last one, is left out.
type LogReader struct {
	path    string
	options LogOptions
	files   []*logFile // what is to be read: the first is, the last is the one that is written
	in      *bufio.Reader
	torn    []byte // the beginning of a record whose end is not written
	lines   joiner

	watch   *logWatch
	rotated bool // the file had been rotated when its end was reached: nothing is added
	over    bool // Until was closed
}

// OpenLog opens a log. One that does not exist is fs.ErrNotExist. The caller closes it.
func OpenLog(path string, o LogOptions) (*LogReader, error) {
	r := &LogReader{path: path, options: o, in: bufio.NewReaderSize(nil, 64<<10)}
	var err error
	if r.files, err = openLogFiles(path); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	if o.Tail != nil {
		r.lines.skip, err = r.seek(*o.Tail)
	}
	if err == nil {
		err = r.begin()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read log: %w", err), r.Close())
	}
	return r, nil
}

// Close lets go of the log's files.
func (r *LogReader) Close() error {
	err := closeAll(r.files)
	r.files = nil
	if r.watch != nil {
		err = errors.Join(err, r.watch.close())
		r.watch = nil
	}
	return err
}

// Next returns the next line. At the end its error is io.EOF; where the reader follows and ctx ends first, ctx's cause.
func (r *LogReader) Next(ctx context.Context) (Line, error) {
	for {
		record, err := r.record()
		if err == nil {
			if line, ok := r.lines.add(record); ok {
				return line, nil
			}
			continue
		}
		more := false
		switch {
		case !errors.Is(err, io.EOF):
		case len(r.files) > 1:
			more, err = true, r.advance()
		default:
			more, err = r.more(ctx)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return Line{}, err
		case err != nil:
			return Line{}, fmt.Errorf("read log: %w", err)
		case !more:
			return r.lines.rest()
		}
	}
}

// record returns the next whole record of the file, valid until the next call, or io.EOF.
func (r *LogReader) record() ([]byte, error) {
	for {
		data, err := r.in.ReadSlice('\n')
		switch {
		case err == nil && len(r.torn) == 0:
			return data[:len(data)-1], nil
		case err == nil:
			record := append(r.torn, data[:len(data)-1]...)
			r.torn = nil
			return record, nil
		}
		r.torn = append(r.torn, data...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// advance goes on with the next file.
func (r *LogReader) advance() error {
	err := r.files[0].file.Close()
	r.files = r.files[1:]
	return errors.Join(err, r.begin())
}

func (r *LogReader) begin() error {
	r.torn = nil
	in, err := r.files[0].read()
	r.in.Reset(in)
	return err
}

// more reports whether there may be more than what was read, and where the reader follows waits for it.
func (r *LogReader) more(ctx context.Context) (bool, error) {
	if r.options.Until == nil {
		return false, nil
	}
	if r.rotated {
		return r.reopen()
	}
	info, err := os.Stat(r.path)
	switch {
	case err == nil && !os.SameFile(info, r.files[0].info):
		r.rotated = true // between the end that was read and the rotation something may have been written
		return true, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	case err != nil && removed(r.path):
		return false, nil
	case r.over:
		return false, nil
	case r.watch == nil:
		r.watch, err = watchLog(filepath.Dir(r.path)) // there may be more already
		return true, err
	}
	if r.options.Idle != nil {
		if err := r.options.Idle(); err != nil {
			return false, err
		}
	}
	select {
	case _, ok := <-r.watch.changed:
		if !ok {
			return false, r.watch.err
		}
	case <-r.options.Until:
		r.over = true
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	return true, nil
}

// removed reports whether no file is left of a log.
func removed(path string) bool {
	_, err := logNames(path)
	return errors.Is(err, fs.ErrNotExist)
}

// reopen goes on with the file after one that was rotated.
func (r *LogReader) reopen() (bool, error) {
	files, err := openLogFiles(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // the run was removed
	}
	if err != nil {
		return false, err
	}
	done := 0
	for i, f := range files {
		same, err := r.files[0].became(f)
		if err != nil {
			return false, errors.Join(err, closeAll(files))
		}
		if same {
			done = i + 1
		}
	}
	if done == len(files) {
		return false, closeAll(files) // what was newer has been removed meanwhile
	}
	// Where ours is not among them it was taken away: all of them are newer.
	read := append(files[:done:done], r.files...)
	r.files, r.rotated = files[done:], false
	return true, errors.Join(closeAll(read), r.begin())
}

// ReadLog reads a log's last lines, all of them for tail 0; see LogReader. A log that does not exist is fs.ErrNotExist.
func ReadLog(path string, tail int) ([]Line, error) {
	var o LogOptions
	if tail > 0 {
		o.Tail = &tail
	}
	r, err := OpenLog(path, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var lines []Line
	for {
		l, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
}

// A joiner makes lines of records.
type joiner struct {
	begun [2]begunLine // by stream
	skip  int          // so many records end no line that is wanted
}

// A begunLine is what was read of a line in pieces.
type begunLine struct {
	stream Stream
	time   time.Time
	text   []byte
	wanted bool // it is, if it ends here
}

// add takes a record, and returns the line that it ends, if any.
func (j *joiner) add(record []byte) (Line, bool) {
	wanted := j.skip == 0
	if !wanted {
		j.skip--
	}
	p, ok := parseRecord(record)
	if !ok {
		return Line{}, false
	}
	b := &j.begun[0]
	if p.Stream == Stderr {
		b = &j.begun[1]
	}
	if len(b.text) == 0 {
		b.stream, b.time = p.Stream, p.Time
	}
	if p.Partial && (!wanted || len(b.text)+len(p.text) < maxJoined) {
		b.text, b.wanted = append(b.text, p.text...), wanted
		return Line{}, false
	}
	line := Line{Time: b.time, Stream: p.Stream, Partial: p.Partial, Text: string(append(b.text, p.text...))}
	b.text = b.text[:0]
	return line, wanted
}

// rest returns the lines whose ends have not come, the older first, and then io.EOF.
func (j *joiner) rest() (Line, error) {
	var oldest *begunLine
	for i := range j.begun {
		if b := &j.begun[i]; len(b.text) > 0 && b.wanted && (oldest == nil || b.time.Before(oldest.time)) {
			oldest = b
		}
	}
	if oldest == nil {
		return Line{}, io.EOF
	}
	line := Line{Time: oldest.time, Stream: oldest.stream, Partial: true, Text: string(oldest.text)}
	oldest.text = nil
	return line, nil
}

// A record is one line of a log's file.
type record struct {
	Time    time.Time
	Stream  Stream
	Partial bool
	text    []byte
}

func parseRecord(b []byte) (record, bool) {
	at, rest, _ := bytes.Cut(b, []byte{' '})
	stream, rest, _ := bytes.Cut(rest, []byte{' '})
	tag, text, whole := bytes.Cut(rest, []byte{' '})
	t, err := time.Parse(time.RFC3339Nano, string(at))
	r := record{Time: t, Stream: Stdout, Partial: string(tag) == "P", text: text}
	if string(stream) == string(Stderr) {
		r.Stream = Stderr
	}
	return r, whole && err == nil && string(stream) == string(r.Stream)
}
