//go:build linux

package ctrd

import (
	"os/exec"
	"testing"
	"time"
)

// What is killed is a shim's process by its command line: a shell that waits for its input stands for one.
func TestOnlyAShimOfTheRunThatOutlivesItsContainersIsKilled(t *testing.T) {
	t.Parallel()
	c := &Client{cfg: Config{Address: t.TempDir() + "/c.sock"}}
	begin := func(program, id, address string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", "read _", "-id", id, "-address", address)
		cmd.Args[0] = program
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	const shim = "/bundle/containerd-shim-runc-v2"
	orphan := begin(shim, "aaaaaaaa-main.0", c.cfg.address())
	others := map[string]*exec.Cmd{
		"another run":        begin(shim, "bbbbbbba-main.0", c.cfg.address()),
		"another containerd": begin(shim, "aaaaaaaa-main.0", "/elsewhere/c.sock"),
		"another program":    begin("/bundle/runc", "aaaaaaaa-main.0", c.cfg.address()),
	}
	if err := c.endOrphans("aaaaaaa"); err != nil {
		t.Error(err)
	}
	if err := orphan.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the orphan ended with %v, want it killed", err)
	}
	for whose, cmd := range others {
		if held, err := openProcess(cmd.Process.Pid); err != nil || held.await(10*time.Millisecond) {
			t.Errorf("the process of %s has ended, %v", whose, err)
		} else {
			held.close()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	}
}
