package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestShipperFollowsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	r := start(t, "shipper", "--follow", path, "--prefix", "> ", "--poll", "1ms")
	write := func(text string, flags int) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|flags, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("one\ntwo\nthr", os.O_CREATE) // it was not there at the start
	r.out.wait(t, `> one\n> two\n`)
	write("ee\n", os.O_APPEND)
	r.out.wait(t, `> three\n`)
	write("cut\n", os.O_TRUNC)
	r.out.wait(t, `> cut\n`)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("replaced\nleft over", os.O_CREATE)
	r.out.wait(t, `> replaced\n`)
	r.signals <- syscall.SIGTERM
	if code := r.exit(t); code != 0 {
		t.Errorf("TERM ended it with %d; want 0", code)
	}
	if got, want := r.out.String(), "> one\n> two\n> three\n> cut\n> replaced\n> left over\n"; got != want {
		t.Errorf("it shipped:\n%swant:\n%s", got, want)
	}
}

func TestShipperShipsTheLastLinesAtTERM(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	r := start(t, "shipper", "--follow", path, "--prefix", "", "--poll", "1h")
	if err := os.WriteFile(path, []byte("late\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGTERM
	r.exit(t)
	if got := r.out.String(); got != "late\n" {
		t.Errorf("it shipped %q; want the line that came before TERM", got)
	}
}
