//go:build linux

package ctrd

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is ended is a shim's process by its command line: a shell that waits for its input stands for one.
func TestOnlyAShimOfTheRunThatOutlivesItsContainersIsEnded(t *testing.T) {
	t.Parallel()
	c := &Client{cfg: Config{Address: t.TempDir() + "/c.sock"}}
	run := func(script, program, id, address string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", script, "-id", id, "-address", address)
		cmd.Args[0] = program
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	begin := func(program, id, address string) *exec.Cmd { return run("read _", program, id, address) }
	const shim = "/bundle/containerd-shim-runc-v2"
	idle := begin(shim, "aaaaaaab", c.cfg.address())
	deaf := run("trap '' TERM; read _", shim, "aaaaaaaa-main.0", c.cfg.address())
	ignoresTERM(t, deaf.Process.Pid)
	others := map[string]*exec.Cmd{
		"another run":        begin(shim, "bbbbbbba-main.0", c.cfg.address()),
		"another containerd": begin(shim, "aaaaaaaa-main.0", "/elsewhere/c.sock"),
		"another program":    begin("/bundle/runc", "aaaaaaaa-main.0", c.cfg.address()),
	}
	if err := c.endOrphans("aaaaaaa"); err != nil {
		t.Error(err)
	}
	if err := idle.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("the idle shim ended with %v, want it terminated", err)
	}
	if err := deaf.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the shim that does not listen ended with %v, want it killed", err)
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

// ignoresTERM waits until a process ignores SIGTERM.
func ignoresTERM(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "SigIgn:")
		var ignored uint64
		if _, err := fmt.Sscanf(rest, "%x", &ignored); err == nil && ignored&(1<<(unix.SIGTERM-1)) != 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not ignore SIGTERM:\n%s", pid, status)
		}
		runtime.Gosched()
	}
}
