package timeline

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// A file may be read while it is written, whatever its pieces are.
func TestAReaderReadsWhatIsWrittenSoFar(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file, Header{ID: "abc"})
	var want []Record
	for r := range recorded(t).All() {
		w.Record(r)
		want = append(want, r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	_, all, _, err := Read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var written bytes.Buffer
		r := NewReader(&written)
		var got []Record
		for left := whole; len(left) > 0; {
			n := rapid.IntRange(1, len(left)).Draw(rt, "bytes")
			written.Write(left[:n])
			left = left[n:]
			for {
				rec, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					rt.Fatal(err)
				}
				got = append(got, rec)
			}
			if lines := bytes.Count(whole[:len(whole)-len(left)], []byte("\n")); len(got) != max(0, lines-1) {
				rt.Fatalf("%d records were read of %d whole lines", len(got), lines)
			}
		}
		if h, err := r.Header(); err != nil || h.ID != "abc" {
			rt.Fatalf("header %+v, %v", h, err)
		}
		if len(got) != len(want) || !reflect.DeepEqual(Of(got), all) {
			rt.Fatalf("read %d records in pieces, which differ from the %d of the whole", len(got), len(want))
		}
	})
}

func TestAReaderNamesADamagedLineEachTime(t *testing.T) {
	r := NewReader(bytes.NewReader([]byte("no timeline\n")))
	for range 2 {
		if _, err := r.Next(); err == nil {
			t.Fatal("a file that is no timeline was read")
		}
	}
}
