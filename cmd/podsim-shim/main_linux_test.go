package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	shimapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

func TestTheAnswerIsContainerdsMessage(t *testing.T) {
	now := time.Unix(1700000000, 12345)
	var r shimapi.DeleteResponse
	if err := proto.Unmarshal(answer(now), &r); err != nil {
		t.Fatal(err)
	}
	if r.ExitStatus != 137 || !r.ExitedAt.AsTime().Equal(now) || r.Pid != 0 {
		t.Errorf("containerd reads %v, want status 137 at %v", &r, now)
	}
}

func TestTheNameIsContainerdsMessage(t *testing.T) {
	var info types.RuntimeInfo
	if err := proto.Unmarshal(name(), &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != "io.containerd.runc.v2" || len(info.Annotations) != 0 {
		t.Errorf("containerd reads %v", &info)
	}
}

func TestOnlyInformationAskedForWithoutOptionsIsAnswered(t *testing.T) {
	stdin, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(unix.Dup3(stdin, 0, 0), unix.Close(stdin)); err != nil {
			t.Error(err)
		}
	}()
	for _, options := range []string{"", "options"} {
		f := filepath.Join(t.TempDir(), "stdin")
		if err := os.WriteFile(f, []byte(options), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(f, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Dup3(fd, 0, 0), unix.Close(fd)); err != nil {
			t.Fatal(err)
		}
		if got, err := asksForNothing([]string{"-info"}); err != nil || got != (options == "") {
			t.Errorf("with the options %q: %v, %v", options, got, err)
		}
		if left, err := restOfStdin(); err != nil || string(left) != options {
			t.Errorf("the shim would read %q, %v; want %q", left, err, options)
		}
	}
	for _, other := range [][]string{nil, {"-v"}, {"-info", "start"}, {"start"}} {
		if got, _ := asksForNothing(other); got {
			t.Errorf("%q was taken for a question that asks for nothing", other)
		}
	}
}

func restOfStdin() ([]byte, error) {
	fd, err := unix.Dup(0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "stdin")
	defer f.Close()
	return io.ReadAll(f)
}

func TestOnlyARequestToCleanUpIsRead(t *testing.T) {
	whole := []string{"-namespace", "podsim", "-address", "/c.sock", "-publish-binary", "/containerd", "-id", "a", "-bundle", "/b", "delete"}
	if c, ok := read(whole); !ok || c != (cleanup{"podsim", "a", "/b"}) {
		t.Errorf("read %+v, %v", c, ok)
	}
	if c, ok := read(append([]string{"-debug"}, whole...)); !ok || c.id != "a" {
		t.Errorf("with -debug: read %+v, %v", c, ok)
	}
	for _, other := range [][]string{nil, {"-info"}, {"-v"}, {"delete"}, append(whole[:10:10], "start"), whole[2:], {"-namespace", "podsim", "-id", "a", "-address", "x"}} {
		if c, ok := read(other); ok {
			t.Errorf("%q was taken for a request to clean up: %+v", other, c)
		}
	}
}

func TestAContainerIsCleanedUpWhenRuncForgotItAndNothingIsMounted(t *testing.T) {
	dir := t.TempDir()
	c := cleanup{"podsim", "a", filepath.Join(dir, "bundle")}
	state := filepath.Join(dir, "runc", "podsim", "a")
	for _, d := range []string{filepath.Join(c.bundle, "rootfs"), state} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if c.cleanedUp() {
		t.Error("without options: nobody knows where runc's state is, yet it is cleaned up")
	}
	if err := os.WriteFile(filepath.Join(c.bundle, "options.json"), []byte(`{"binary_name":"/runc","root":"`+filepath.Join(dir, "runc")+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.cleanedUp() {
		t.Error("runc knows it, yet it is cleaned up")
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if !c.cleanedUp() {
		t.Error("runc forgot it and nothing is mounted, yet it is not cleaned up")
	}
	if err := os.Remove(filepath.Join(c.bundle, "rootfs")); err != nil {
		t.Fatal(err)
	}
	if !c.cleanedUp() {
		t.Error("without a root it is not cleaned up")
	}
}
