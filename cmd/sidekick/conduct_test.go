package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Each conduct, in virtual time: when the process ends, with what, and what its work was told.
func TestConduct(t *testing.T) {
	never := time.Duration(0)
	tests := []struct {
		name    string
		conduct *conduct
		term    time.Duration // when TERM comes; never if 0
		end     time.Duration
		code    int
		started bool  // the work began
		cause   error // what the work was told
	}{
		{"TERM ends it at once with 0", &conduct{}, time.Second, time.Second, 0, true, errTerm},
		{"TERM ends it with its own code", &conduct{termCode: 3}, time.Second, time.Second, 3, true, errTerm},
		{"it goes on for a while after TERM", &conduct{termDelay: 5 * time.Second}, time.Second, 6 * time.Second, 0, true, errTerm},
		{"it dies by itself", &conduct{exitAfter: 4 * time.Second, exitCode: 9}, never, 4 * time.Second, 9, true, errCrash},
		{"its own death may be a success", &conduct{exitAfter: 4 * time.Second}, never, 4 * time.Second, 0, true, errCrash},
		{"a start that is delayed delays its death", &conduct{startDelay: time.Second, exitAfter: time.Second, exitCode: 1}, never, 2 * time.Second, 1, true, errCrash},
		{"TERM before the work has begun", &conduct{startDelay: time.Minute, termCode: 4}, time.Second, time.Second, 4, false, errTerm},
		{"TERM is ignored", &conduct{ignoreTerm: true, exitAfter: time.Hour, exitCode: 2}, time.Second, time.Hour, 2, true, errCrash},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal, 1)
				if tt.term > 0 {
					time.AfterFunc(tt.term, func() { signals <- syscall.SIGTERM })
				}
				p := &process{out: io.Discard, err: io.Discard, signals: func() <-chan os.Signal { return signals }}
				begin, started := time.Now(), false
				var cause error
				err := tt.conduct.run(t.Context(), p, func(ctx context.Context) error {
					started = true
					<-ctx.Done()
					cause = context.Cause(ctx)
					return nil
				})
				code, _ := errors.AsType[exit](err)
				if spent := time.Since(begin); spent != tt.end || int(code) != tt.code {
					t.Errorf("it ended after %v with %d; want %v with %d", spent, code, tt.end, tt.code)
				}
				if started != tt.started || started && !errors.Is(cause, tt.cause) {
					t.Errorf("the work began: %v, and was told %v; want %v, %v", started, cause, tt.started, tt.cause)
				}
			})
		})
	}
}

func TestFailFirst(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	for i, want := range []int{5, 5, 0, 0} {
		if _, code := once(t, "init", "--fail-first", "2", "--count-file", count, "--exit-code", "5", "--write", count+".done=x"); code != want {
			t.Errorf("start %d ended with %d; want %d", i+1, code, want)
		}
		_, err := os.Stat(count + ".done")
		if done := err == nil; done != (i >= 2) {
			t.Errorf("after start %d the work is done: %v", i+1, done)
		}
	}
	if _, code := once(t, "init", "--fail-first", "2"); code != 1 {
		t.Errorf("--fail-first without a file ended with %d; want 1", code)
	}
	if err := os.WriteFile(count, []byte("many"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, code := once(t, "init", "--fail-first", "2", "--count-file", count); code != 1 {
		t.Errorf("a count that is no number ended it with %d; want 1", code)
	}
}
