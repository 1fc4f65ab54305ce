//go:build linux

package logs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const records = `2026-01-02T12:00:00.5Z stdout F one
2026-01-02T12:00:01Z stderr P tw
2026-01-02T12:00:02Z stdout F three
2026-01-02T12:00:03Z stderr F o
2026-01-02T12:00:04Z stdout P four
`

func dirWith(t *testing.T, text string) Log {
	t.Helper()
	l := Log{Dir: t.TempDir(), Pod: "x", Container: "app", Instance: 1}
	dir := filepath.Join(l.Dir, "logs", "x", "app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "1.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestALogIsPrintedAsItsOptionsSay(t *testing.T) {
	last := func(n int) *int { return &n }
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"as it was, lines in pieces joined": {Options{}, "one\nthree\ntwo\nfour"},
		"with times": {Options{Timestamps: true}, "2026-01-02T12:00:00.500000000Z one\n2026-01-02T12:00:02.000000000Z three\n" +
			"2026-01-02T12:00:01.000000000Z two\n2026-01-02T12:00:04.000000000Z four"},
		"with a prefix":       {Options{Prefix: "[pod/x/app] ", Tail: last(2)}, "[pod/x/app] two\n[pod/x/app] four"},
		"the last":            {Options{Tail: last(1)}, "four"},
		"none":                {Options{Tail: last(0)}, ""},
		"from a time on":      {Options{Since: time.Date(2026, 1, 2, 12, 0, 2, 0, time.UTC)}, "three\nfour"},
		"of the last the new": {Options{Tail: last(3), Since: time.Date(2026, 1, 2, 12, 0, 3, 0, time.UTC)}, "four"},
		"some bytes":          {Options{LimitBytes: 6}, "one\nth"},
		"a line's bytes":      {Options{LimitBytes: 4}, "one\n"},
		"all bytes":           {Options{LimitBytes: 18}, "one\nthree\ntwo\nfour"},
		"bytes count without prefixes, with times": {Options{LimitBytes: 33, Prefix: "> ", Timestamps: true}, "> 2026-01-02T12:00:00.500000000Z on"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Print(context.Background(), dirWith(t, records), c.options, &out); err != nil || out.String() != c.want {
				t.Errorf("got %q, %v; want %q", out.String(), err, c.want)
			}
		})
	}
}

func TestALogThatIsNotThere(t *testing.T) {
	l := dirWith(t, "")
	l.Instance = 2
	err := Print(context.Background(), l, Options{}, &bytes.Buffer{})
	if _, ok := errors.AsType[*UnavailableError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// A heard is written to and tells what it has.
type heard chan string

func (h heard) Write(p []byte) (int, error) {
	h <- string(p)
	return len(p), nil
}

func TestAFollowedLogIsPrintedAsItComes(t *testing.T) {
	l := dirWith(t, "2026-01-02T12:00:00Z stdout F one\n2026-01-02T12:00:00Z stdout F two\n")
	out, until, done := make(heard), make(chan struct{}), make(chan error, 1)
	go func() { done <- Print(context.Background(), l, Options{Until: until}, out) }()
	if got := <-out; got != "one\ntwo\n" {
		t.Errorf("at first %q is printed", got)
	}
	f, err := os.OpenFile(filepath.Join(l.Dir, "logs", "x", "app", "1.log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("2026-01-02T12:00:00Z stderr F three\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-out; got != "three\n" {
		t.Errorf("then %q is printed", got)
	}
	close(until)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
