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

// Read reads a timeline's file. A last line without its newline is what a killed run leaves: it is left out and
// torn is true. Any other damage is an error that names the line.
func Read(r io.Reader) (h Header, v View, torn bool, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var records []Record
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return h, v, false, fmt.Errorf("read timeline: %w", err)
		}
		if err == io.EOF {
			if n == 1 {
				return h, v, false, fmt.Errorf("read timeline: line 1: %w", ErrVersion)
			}
			return h, View{records}, len(bytes.TrimSpace(line)) > 0, nil
		}
		if n == 1 {
			if err := json.Unmarshal(line, &h); err != nil || h.Version != Version {
				return h, v, false, fmt.Errorf("read timeline: line 1: %w", ErrVersion)
			}
			continue
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return h, v, false, fmt.Errorf("read timeline: line %d: %w", n, err)
		}
		if rec.Seq != len(records)+1 {
			return h, v, false, fmt.Errorf("read timeline: line %d: record %d where %d was due", n, rec.Seq, len(records)+1)
		}
		records = append(records, rec)
	}
}
