package timeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Writer writes a timeline's file: the header, then each record as one line. It is a Sink. The first error
// sticks: later records are not written, and Err and Flush return it.
type Writer struct {
	out *bufio.Writer
	err error
}

// NewWriter writes the header to w and returns a Writer of its records. The caller closes w, after Flush.
func NewWriter(w io.Writer, h Header) *Writer {
	h.Version = Version
	t := &Writer{out: bufio.NewWriterSize(w, 64<<10)}
	t.line(h)
	return t
}

// Record writes one record to the buffer.
func (w *Writer) Record(r Record) { w.line(r) }

func (w *Writer) line(v any) {
	if w.err != nil {
		return
	}
	line, err := json.Marshal(v)
	if err == nil {
		_, err = w.out.Write(append(line, '\n'))
	}
	if err != nil {
		w.err = fmt.Errorf("write timeline: %w", err)
	}
}

// Flush writes what is buffered. The driver calls it whenever it is about to wait, so that a reader of the file,
// or a run that is killed, is at most one burst of events behind.
func (w *Writer) Flush() error {
	if w.err == nil {
		if err := w.out.Flush(); err != nil {
			w.err = fmt.Errorf("write timeline: %w", err)
		}
	}
	return w.err
}

// ErrVersion says that a file is no timeline, or one of another version.
var ErrVersion = errors.New("not a timeline of version " + Version)

// A Reader reads a timeline's file while it may still be written. It is not safe for concurrent use.
type Reader struct {
	in   *bufio.Reader
	part []byte // of a line whose end has not come
	line int    // how many lines were read
	head Header
}

// NewReader returns a Reader of r, which the caller closes.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 64<<10)} }

// Header returns the header; io.EOF as long as it is not there.
func (r *Reader) Header() (Header, error) {
	if r.head.Version != "" {
		return r.head, nil
	}
	line, err := r.next()
	if err != nil {
		return Header{}, err
	}
	var h Header
	if err := json.Unmarshal(line, &h); err != nil || h.Version != Version {
		return Header{}, fmt.Errorf("read timeline: line 1: %w", ErrVersion)
	}
	r.head = h
	return h, nil
}

// Next returns the next record. It is io.EOF as long as there is no whole one: when more has been written, Next may be
// called again. Damage is an error that names the line.
func (r *Reader) Next() (Record, error) {
	if _, err := r.Header(); err != nil {
		return Record{}, err
	}
	line, err := r.next()
	if err != nil {
		return Record{}, err
	}
	var rec Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return Record{}, fmt.Errorf("read timeline: line %d: %w", r.line, err)
	}
	if due := r.line - 1; rec.Seq != due {
		return Record{}, fmt.Errorf("read timeline: line %d: record %d where %d was due", r.line, rec.Seq, due)
	}
	return rec, nil
}

// next returns the next whole line.
func (r *Reader) next() ([]byte, error) {
	text, err := r.in.ReadBytes('\n')
	if len(r.part) > 0 {
		text = append(r.part, text...)
		r.part = nil
	}
	switch {
	case err == nil:
		r.line++
		return text, nil
	case errors.Is(err, io.EOF):
		r.part = text
		return nil, io.EOF
	}
	return nil, fmt.Errorf("read timeline: %w", err)
}

// Read reads a timeline's file. A last line without its newline is what a killed run leaves: it is left out and
// torn is true. Any other damage is an error that names the line.
func Read(in io.Reader) (h Header, v View, torn bool, err error) {
	r := NewReader(in)
	if h, err = r.Header(); errors.Is(err, io.EOF) {
		return h, v, false, fmt.Errorf("read timeline: line 1: %w", ErrVersion)
	} else if err != nil {
		return h, v, false, err
	}
	var records []Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return h, View{records}, len(bytes.TrimSpace(r.part)) > 0, nil
		}
		if err != nil {
			return h, v, false, err
		}
		records = append(records, rec)
	}
}
