package rundir

import "bytes"

const (
	// tailBlock is how much is read at once from a file's end.
	tailBlock = 64 << 10
	// tailReach is how far before the last lines the beginnings of those are looked for that are in pieces, in bytes.
	tailReach = 1 << 20
)

// A tail finds where the last lines of a log begin, from its end.
type tail struct {
	files []*logFile
	i     int    // which of them is read
	at    int64  // where buf begins in it
	buf   []byte // whole records that have not been looked at
	fresh bool   // buf may end within a record
}

// seek makes the reader begin where the last n lines do: those with the latest last records. A line in pieces may begin
// before others that are not among them: no line ends in the first skip records.
func (r *LogReader) seek(n int) (skip int, err error) {
	t := tail{files: r.files, i: len(r.files)}
	if err := t.enter(); err != nil {
		return 0, err
	}
	if err := t.trim(); err != nil {
		return 0, err
	}
	start, first := t.place()
	passed, reach := 0, 0      // records and bytes since start
	begun := map[Stream]bool{} // of the stream's oldest line that is taken more may come
	seen := map[Stream]bool{}
	for n > 0 || (begun[Stdout] || begun[Stderr]) && reach < tailReach {
		record, err := t.previous()
		if err != nil {
			return 0, err
		}
		if record == nil {
			break
		}
		passed++
		reach += len(record)
		l, ok := parseRecord(record)
		if !ok {
			continue
		}
		ends := !l.Partial || !seen[l.Stream] // also the last piece that there is ends a line
		seen[l.Stream] = true
		switch {
		case ends && n > 0:
			n--
			begun[l.Stream] = true
			skip = 0
		case ends:
			begun[l.Stream] = false
			continue
		case !begun[l.Stream]:
			continue
		case n == 0:
			skip += passed
		}
		start, first = t.place()
		passed, reach = 0, 0
	}
	if err := closeAll(r.files[:first]); err != nil {
		return 0, err
	}
	r.files = r.files[first:]
	r.files[0].start = start
	return skip, nil
}

// place is where the record begins that previous returned last: where in which file.
func (t *tail) place() (offset int64, file int) { return t.at + int64(len(t.buf)), t.i }

// enter goes to the end of the file before.
func (t *tail) enter() (err error) {
	t.i--
	t.buf, t.fresh = nil, true
	t.at, err = t.files[t.i].size()
	return err
}

// previous is the record before the one that it returned last, nil if there is none.
func (t *tail) previous() ([]byte, error) {
	for {
		if err := t.trim(); err != nil {
			return nil, err
		}
		if n := len(t.buf); n > 0 {
			begin := bytes.LastIndexByte(t.buf[:n-1], '\n') + 1
			if begin > 0 || t.at == 0 {
				record := t.buf[begin : n-1]
				t.buf = t.buf[:begin]
				return record, nil
			}
		}
		var err error
		switch {
		case t.at > 0:
			err = t.more()
		case t.i == 0:
			return nil, nil
		default:
			err = t.enter()
		}
		if err != nil {
			return nil, err
		}
	}
}

// trim leaves out a torn record at a file's end.
func (t *tail) trim() error {
	for t.fresh {
		end := bytes.LastIndexByte(t.buf, '\n') + 1
		t.fresh = end == 0 && t.at > 0
		t.buf = t.buf[:end]
		if t.fresh {
			if err := t.more(); err != nil {
				return err
			}
		}
	}
	return nil
}

// more puts the block before buf in front of it.
func (t *tail) more() error {
	block := min(t.at, tailBlock)
	buf := make([]byte, block, block+int64(len(t.buf)))
	if _, err := t.files[t.i].ReadAt(buf, t.at-block); err != nil {
		return err
	}
	t.at -= block
	t.buf = append(buf, t.buf...)
	return nil
}
