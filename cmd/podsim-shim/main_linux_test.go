package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	shimapi "github.com/containerd/containerd/api/runtime/task/v2"
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
