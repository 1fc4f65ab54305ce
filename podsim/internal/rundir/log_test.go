//go:build linux

package rundir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 6000, time.UTC)

// A writer writes a log, and knows what a reader of it has to see.
type writer struct {
	*Log
	at      time.Time // of the last line and of the rotations
	lines   []Line
	partial map[Stream]Line
	ends    map[Line]time.Time // when the last record of each was written
}

func newWriter(t testing.TB, path string, r Rotation) *writer {
	t.Helper()
	l, err := r.create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{Log: l, at: noon, partial: map[Stream]Line{}, ends: map[Line]time.Time{}}
	l.files.now = func() time.Time { return w.at }
	return w
}

func (w *writer) write(stream Stream, partial bool, text string) {
	w.at = w.at.Add(time.Millisecond)
	w.Write(Line{w.at, stream, partial, text})
	l, begun := w.partial[stream]
	if !begun {
		l = Line{Time: w.at, Stream: stream}
	}
	l.Text += text
	l.Partial = partial
	w.ends[l] = w.at
	if w.partial[stream] = l; !partial {
		w.lines = append(w.lines, l)
		delete(w.partial, stream)
	}
}

// written is what there is to read.
func (w *writer) written() []Line {
	var rest []Line
	for _, l := range w.partial {
		rest = append(rest, l)
	}
	slices.SortFunc(rest, func(a, b Line) int { return a.Time.Compare(b.Time) })
	return slices.Concat(w.lines, rest)
}

// last are of all lines the n with the latest ends.
func (w *writer) last(n int) []Line {
	byEnd := w.written()
	slices.SortFunc(byEnd, func(a, b Line) int { return w.ends[b].Compare(w.ends[a]) })
	byEnd = byEnd[:min(n, len(byEnd))]
	return slices.DeleteFunc(w.written(), func(l Line) bool { return !slices.Contains(byEnd, l) })
}

// rotateNow fills the file and rotates it.
func (w *writer) rotateNow() {
	w.Flush()
	w.at = w.at.Add(time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rotate()
}

// tidied waits until the files are as they are to be.
func (w *writer) tidied() { w.files.joined.Wait() }

func (w *writer) close(t testing.TB) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func readAll(r *LogReader) ([]Line, error) {
	var lines []Line
	for {
		l, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return lines, r.Close()
		}
		if err != nil {
			return lines, errors.Join(err, r.Close())
		}
		lines = append(lines, l)
	}
}

func listed(t testing.TB, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestALogKeepsLinesStreamsAndTheirOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "0.log")
	l, err := CreateLog(path)
	if err != nil {
		t.Fatal(err)
	}
	at := noon
	long := strings.Repeat("x", 16<<10)
	for _, line := range []Line{
		{at, Stdout, false, "one"},
		{at, Stdout, true, long},
		{at, Stderr, false, "bad line  with spaces "},
		{at, Stdout, false, "end"},
		{at, Stdout, false, ""},
		{at, Stderr, true, "no newline"},
	} {
		l.Write(line)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	l.Write(Line{at, Stdout, false, "after the end"})
	text := read(t, path)
	if first, _, _ := strings.Cut(string(text), "\n"); first != "2026-01-02T12:00:00.000006000Z stdout F one" {
		t.Errorf("the first record is %q", first)
	}
	if err := os.WriteFile(path, append(text, "2026-01-02T12:00:00Z stdout F tor"...), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLog(path, 0)
	want := []Line{{at, Stdout, false, "one"}, {at, Stderr, false, "bad line  with spaces "}, {at, Stdout, false, long + "end"},
		{at, Stdout, false, ""}, {at, Stderr, true, "no newline"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d lines, %v; want %d, a line in pieces joined and a torn record left out", len(got), err, len(want))
	}
	if last, err := ReadLog(path, 2); err != nil || !slices.Equal(last, want[3:]) {
		t.Errorf("the last two lines are %v, %v", last, err)
	}
	if _, err := ReadLog(path+"x", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a log that is not there: %v, want fs.ErrNotExist", err)
	}
}

// Whoever reads the file need not wait for more lines to come.
func TestALineIsInTheFileAtOnceOrAfterThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "0.log")
		w := newWriter(t, path, Rotation{})
		defer w.close(t)
		sees := func(what string, want ...string) {
			t.Helper()
			lines, err := ReadLog(path, 0)
			var got []string
			for _, l := range lines {
				got = append(got, l.Text)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s the file has %q, %v; want %q", what, got, err, want)
			}
		}
		w.write(Stdout, false, "a")
		sees("after a pause", "a")
		w.write(Stdout, false, "b")
		w.write(Stdout, false, "c")
		sees("at once", "a")
		<-time.After(logPause + 1)
		sees("after the pause that a began", "a", "b", "c")
		w.write(Stdout, false, "d")
		w.Flush()
		sees("after a flush", "a", "b", "c", "d")
		<-time.After(2*logPause + 1)
		w.write(Stdout, false, "e")
		sees("after another pause", "a", "b", "c", "d", "e")
		long := strings.Repeat("x", logPiece)
		w.write(Stdout, false, long)
		sees("with more than is kept back", "a", "b", "c", "d", "e", long)
	})
}

func TestMS04RotatedFilesArePackedAndTheOldestGo(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "3.log")
	w := newWriter(t, path, Rotation{MaxSize: 1000, MaxFiles: 4})
	for i := range 6 {
		for range 10 { // 10 records of 141 bytes
			w.write(Stdout, false, fmt.Sprint(i)+strings.Repeat("x", 100))
			w.Flush()
		}
		w.at = w.at.Add(time.Second)
		w.tidied()
	}
	want := []string{"3.log", "3.log.20260102-120003.gz", "3.log.20260102-120004.gz", "3.log.20260102-120005"}
	if got := listed(t, path); !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	got, err := ReadLog(path, 0)
	if all := w.written(); err != nil || len(got) < 30 || !slices.Equal(got, all[len(all)-len(got):]) {
		t.Errorf("%d lines, %v; want the last of all that were written, those of three files at least", len(got), err)
	}
	w.close(t)
}

// Stamps count seconds, as the kubelet's do, and order the files.
func TestStampsOrderTheFilesWhateverTheClockDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w := newWriter(t, path, Rotation{MaxFiles: 10})
	defer w.close(t)
	rotate := func(at time.Time) {
		w.write(Stdout, false, at.Format(time.RFC3339Nano))
		w.Flush()
		w.at = at
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rotate()
	}
	rotate(noon)
	rotate(noon.Add(time.Millisecond)) // in the same second: the file goes on
	rotate(noon.Add(-time.Hour))
	rotate(noon.Add(-time.Hour))
	w.tidied()
	want := []string{"0.log", "0.log.20260102-120000.gz", "0.log.20260102-120001.gz", "0.log.20260102-120002"}
	if got := listed(t, path); !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if got, err := ReadLog(path, 0); err != nil || !slices.Equal(got, w.written()) {
		t.Errorf("read %v, %v; want %v", got, err, w.written())
	}
}

func TestALogThatCannotBeRotatedGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w := newWriter(t, path, Rotation{})
	w.write(Stdout, false, "a")
	w.path = filepath.Join(filepath.Dir(path), "nowhere", "0.log")
	w.rotateNow()
	w.write(Stdout, false, "b")
	w.path = path
	w.rotateNow()
	w.write(Stdout, false, "c")
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("Close: %v, want why the log was not rotated", err)
	}
	if got, want := listed(t, path), []string{"0.log", "0.log.20260102-120002"}; !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if got, err := ReadLog(path, 0); err != nil || !slices.Equal(got, w.written()) {
		t.Errorf("read %v, %v; want %v", got, err, w.written())
	}
}

// A full disk costs the lines that do not fit, and no more.
func TestALogGoesOnAfterAnErrorWithinARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	l, err := CreateLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Write(Line{noon, Stdout, false, "before"})
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Flush()
	good := l.file
	l.file = full
	l.Write(Line{noon, Stdout, false, "lost"})
	l.Flush()
	l.file, l.torn = good, true
	if _, err := good.WriteString(noon.Format(logTime) + " stdout F los"); err != nil {
		t.Fatal(err)
	}
	l.Write(Line{noon, Stdout, false, "after"})
	if err := errors.Join(full.Close(), l.Close()); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Close: %v, want what the write met", err)
	}
	want := []Line{{noon, Stdout, false, "before"}, {noon, Stdout, false, "los"}, {noon, Stdout, false, "after"}}
	if got, err := ReadLog(path, 0); err != nil || !slices.Equal(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
}

func TestIN12LogsOfTheLastTwoInstancesAreKept(t *testing.T) {
	r, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 12 {
		l, err := r.CreateLog("p", "app", i)
		if err != nil {
			t.Fatal(err)
		}
		l.Write(Line{noon, Stdout, false, fmt.Sprint(i)})
		l.mu.Lock()
		l.rotate()
		l.mu.Unlock()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names := listed(t, r.LogPath("p", "app", 0))
	for i, name := range names {
		names[i], _, _ = strings.Cut(name, ".")
	}
	if want := []string{"10", "10", "11", "11"}; !slices.Equal(names, want) {
		t.Errorf("logs of the instances %q are kept, with their rotated files; want %q", names, want)
	}
}
