package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for an event that must come.
const patience = 20 * time.Second

// A transcript collects what a program prints and lets a test wait for a line.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait returns the first match of a pattern, and its groups, once it has been printed.
func (s *transcript) wait(t *testing.T, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	re := regexp.MustCompile(pattern)
	for {
		s.mu.Lock()
		match, more := re.FindStringSubmatch(s.text.String()), s.more
		s.mu.Unlock()
		if match != nil {
			return match
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("%q was never printed; what was:\n%s", pattern, s)
		}
	}
}

// A running is a mode that runs inside the test.
type running struct {
	out     *transcript
	signals chan os.Signal
	code    chan int
}

// start runs a command line inside the test. If the test does not stop it, its end does.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{out: newTranscript(), signals: make(chan os.Signal, 2), code: make(chan int, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{in: strings.NewReader(""), out: r.out, err: r.out, environ: []string{"B=2", "A=1"},
		signals: func() <-chan os.Signal { return r.signals }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.code <- run(ctx, p, append([]string{"sidekick"}, args...))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// exit waits for the end and returns the code.
func (r *running) exit(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		t.Fatalf("it never ended; it printed:\n%s", r.out)
		return -1
	}
}

// address waits for the address that the program listens on.
func (r *running) address(t *testing.T) string {
	t.Helper()
	return r.out.wait(t, `listening on (\S+)`)[1]
}

// once runs a command line to its end and returns what it printed and its code.
func once(t *testing.T, args ...string) (string, int) {
	t.Helper()
	r := start(t, args...)
	code := r.exit(t)
	return r.out.String(), code
}
