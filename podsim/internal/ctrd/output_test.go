//go:build linux

package ctrd

import (
	"slices"
	"strings"
	"testing"
)

func TestOutputIsCutIntoLinesAsItComes(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	var got transcript
	l := newLines(got.add)
	l.take(false, []byte("one\ntw"))
	l.take(true, []byte("bad\n\n"))
	l.take(false, []byte("o\n"+long+"yz\nthe e"))
	l.take(false, []byte("nd"))
	l.flush()
	l.flush()
	want := []string{"one", "!bad", "!", "two", long + "…", "yz", "the end…"} // no newline came after the end
	if lines := got.all(); !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}
