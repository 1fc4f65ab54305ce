//go:build linux

package rundir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// drawLines writes lines and pieces of lines, sometimes rotates, and sometimes waits.
func drawLines(rt *rapid.T, w *writer, wait func()) {
	for range rapid.IntRange(0, 60).Draw(rt, "steps") {
		switch rapid.IntRange(0, 9).Draw(rt, "step") {
		case 0:
			w.rotateNow()
		case 1:
			w.Flush()
		case 2:
			wait()
		case 3:
			w.tidied()
		default:
			stream := rapid.SampledFrom([]Stream{Stdout, Stderr}).Draw(rt, "stream")
			partial := rapid.IntRange(0, 3).Draw(rt, "piece") == 0
			text := rapid.StringMatching(`[a-z \t%]{0,20}`).Draw(rt, "text")
			if long := rapid.SampledFrom([]int{0, 0, 0, 0, 1000, 16 << 10}).Draw(rt, "long"); partial || long > 0 {
				text += "." + strings.Repeat("-", long)
			}
			w.write(stream, partial, text)
		}
	}
}

func TestAFollowerSeesWhatWasWritten(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, fmt.Sprint(time.Now().UnixNano()), "0.log")
		w := newWriter(t, path, Rotation{MaxFiles: 1000})
		until := make(chan struct{})
		type seen struct {
			lines []Line
			err   error
		}
		result := make(chan seen, 1)
		r, err := OpenLog(path, LogOptions{Until: until})
		if err != nil {
			rt.Fatal(err)
		}
		go func() {
			lines, err := readAll(r)
			result <- seen{lines, err}
		}()
		drawLines(rt, w, func() {})
		err = w.Close()
		close(until)
		got := <-result
		if diff := cmp.Diff(w.written(), got.lines, cmpopts.EquateEmpty()); err != nil || got.err != nil || diff != "" {
			rt.Fatalf("%v, %v; written (-) and read (+):\n%s", err, got.err, diff)
		}
		if lines, err := ReadLog(path, 0); err != nil || !slices.Equal(lines, w.written()) {
			rt.Fatalf("one who reads afterwards: %d lines, %v; want %d", len(lines), err, len(w.written()))
		}
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			rt.Fatal(err)
		}
	})
}

// A follower that keeps up sees all, however few files are kept.
func TestAFollowerThatKeepsUpLosesNothingToTheRotation(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "0.log")
	w := newWriter(t, path, Rotation{MaxFiles: 2})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := OpenLog(path, LogOptions{Until: make(chan struct{})})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 50 {
		w.write(Stdout, false, fmt.Sprint(i))
		w.rotateNow()
		w.write(Stderr, false, fmt.Sprint(i))
		w.Flush()
		for _, want := range w.written()[2*i:] {
			if got, err := r.Next(ctx); err != nil || got != want {
				t.Fatalf("read %v, %v; want %v", got, err, want)
			}
		}
	}
	w.close(t)
}

// One that does not keep up goes on with what there still is.
func TestASlowFollowerGoesOnWithTheOldestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w := newWriter(t, path, Rotation{MaxFiles: 3})
	until := make(chan struct{})
	close(until)
	r, err := OpenLog(path, LogOptions{Until: until})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		w.write(Stdout, false, fmt.Sprint(i))
		w.rotateNow()
		w.tidied()
	}
	w.write(Stdout, false, "6")
	w.close(t)
	lines, err := readAll(r)
	all := w.written()
	if want := slices.Concat(all[:1], all[4:]); err != nil || !slices.Equal(lines, want) {
		t.Errorf("read %v, %v; want %v", lines, err, want)
	}
}

func TestTheLastLinesOfALog(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, fmt.Sprint(time.Now().UnixNano()), "0.log")
		w := newWriter(t, path, Rotation{MaxFiles: 1000})
		drawLines(rt, w, w.tidied)
		if err := w.Close(); err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "torn") {
			if err := appendTo(path, "2026-01-02T12:00:00Z stdout F tor"); err != nil {
				rt.Fatal(err)
			}
		}
		n := rapid.IntRange(0, len(w.written())+2).Draw(rt, "n")
		r, err := OpenLog(path, LogOptions{Tail: &n})
		if err != nil {
			rt.Fatal(err)
		}
		got, err := readAll(r)
		if diff := cmp.Diff(w.last(n), got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			rt.Fatalf("the last %d lines: %v; want (-), got (+):\n%s", n, err, diff)
		}
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			rt.Fatal(err)
		}
	})
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Records end and begin everywhere about the borders of the blocks that are read from the end.
func TestTheLastLinesAtTheBordersOfBlocks(t *testing.T) {
	for shift := -3; shift <= 3; shift++ {
		path := filepath.Join(t.TempDir(), "0.log")
		w := newWriter(t, path, Rotation{})
		w.write(Stdout, false, "first")
		w.write(Stdout, false, "second")
		w.Flush()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		record := int(info.Size())/2 - len("x") // without the text
		for left := tailBlock + shift; left > 0; {
			n := min(left, 16<<10) - record
			w.write(Stdout, false, strings.Repeat("x", max(n, 0)))
			left -= n + record
		}
		w.close(t)
		all := w.written()
		for n := range len(all) + 1 {
			r, err := OpenLog(path, LogOptions{Tail: &n})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(r); err != nil || !slices.Equal(got, all[len(all)-n:]) {
				t.Errorf("with %d bytes the last %d lines are %d, %v", tailBlock+shift, n, len(got), err)
			}
		}
	}
}

func TestAFollowerWaitsForTheEndOfARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("2026-01-02T12:00:00Z stdout F be"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	waits := make(chan struct{}, 1)
	r, err := OpenLog(path, LogOptions{Until: make(chan struct{}), Idle: func() error {
		waits <- struct{}{}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		<-waits
		if err := appendTo(path, "gin\n"); err != nil {
			t.Error(err)
		}
	}()
	if l, err := r.Next(ctx); err != nil || l.Text != "begin" {
		t.Errorf("read %v, %v; want the whole record", l, err)
	}
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context ended: %v", err)
	}
}

func TestAFollowerEndsWhenTheLogIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app", "0.log")
	w := newWriter(t, path, Rotation{})
	w.write(Stdout, false, "last words")
	r, err := OpenLog(path, LogOptions{Until: make(chan struct{}), Idle: func() error {
		return os.RemoveAll(filepath.Dir(path))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if lines, err := readAll(r); err != nil || !slices.Equal(lines, w.written()) {
		t.Errorf("read %v, %v; want %v", lines, err, w.written())
	}
	w.close(t)
}

func TestALineThatNeverEndsComesInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w := newWriter(t, path, Rotation{})
	piece := strings.Repeat("x", 16<<10)
	for range 3 * maxJoined / len(piece) {
		w.Write(Line{noon, Stdout, true, piece})
	}
	w.Write(Line{noon, Stdout, false, "end"})
	w.close(t)
	lines, err := ReadLog(path, 0)
	if err != nil || len(lines) != 4 || !lines[0].Partial || lines[3].Partial || lines[3].Text != "end" {
		t.Fatalf("%d lines, %v; want three long pieces and the end", len(lines), err)
	}
	all := ""
	for _, l := range lines {
		all += l.Text
	}
	if len(all) != 3*maxJoined+len("end") {
		t.Errorf("%d bytes were read", len(all))
	}
}

// A tail reads the end of a big file only.
func BenchmarkTail(b *testing.B) {
	path := filepath.Join(b.TempDir(), "0.log")
	w := newWriter(b, path, Rotation{MaxSize: 1 << 30})
	for range 100_000 {
		w.Write(Line{noon, Stdout, false, strings.Repeat("x", 60)})
	}
	w.close(b)
	for _, n := range []int{10, 0} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if lines, err := ReadLog(path, n); err != nil || len(lines) == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

// Lines as they come from a container that prints as fast as it can, and from one that prints a line at a time.
func BenchmarkLogWrite(b *testing.B) {
	line := Line{Stream: Stdout, Text: strings.Repeat("x", 60)}
	l, err := CreateLog(filepath.Join(b.TempDir(), "0.log"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(100)
	for b.Loop() {
		line.Time = time.Now()
		l.Write(line)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
