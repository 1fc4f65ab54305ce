//go:build linux

package ctrd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// StartShim starts the shim of a pod, whose containers are not created yet: it takes as long to start as a container
// takes to be created, and needs nothing of it. It is a hint: without it, or after an error, the pod's first container
// starts the shim. RemoveRun ends a shim that never got a container. An external containerd starts its shims itself.
//
// The shim is started as containerd's own `start` does it (newCommand and Start in its cmd/containerd-shim-runc-v2):
// with the listening socket as its third descriptor, and a working directory in which it finds its log.
func (c *Client) StartShim(run, pod string) error {
	if c.cfg.External() {
		return nil
	}
	if err := c.startShim(run, pod); err != nil {
		return fmt.Errorf("start the shim of pod %s: %w", pod, err)
	}
	c.mu.Lock()
	c.shims[pod] = &podShim{ahead: true}
	c.mu.Unlock()
	// Whoever creates a container needs the sandbox, and a connection: the first call makes it.
	c.watchers.Go(func() { _ = c.recordSandbox(c.life) })
	return nil
}

func (c *Client) startShim(run, pod string) (err error) {
	dir := c.shimDir(run, pod)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(c.cfg.shimSockets(), 0o711)); err != nil {
		return err
	}
	log, err := openLog(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.noteShim(run, pod)
	socket, err := listen(c.shimSocket(pod))
	if err != nil {
		return err
	}
	defer socket.Close()
	shim := exec.Command(filepath.Join(c.cfg.Bundle, "containerd-shim-runc-v2"), "-namespace", Namespace, "-id", pod, "-address", c.cfg.address())
	shim.Dir = dir
	shim.Env = append(os.Environ(), "TTRPC_ADDRESS="+c.cfg.address()+".ttrpc", "GRPC_ADDRESS="+c.cfg.address(), "NAMESPACE="+Namespace, "GOMAXPROCS=4")
	shim.ExtraFiles = []*os.File{socket}
	shim.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := shim.Start(); err != nil {
		return errors.Join(err, removeFile(c.shimSocket(pod)))
	}
	c.mu.Lock()
	c.children = append(c.children, shim.Process.Pid)
	c.mu.Unlock()
	return shim.Process.Release()
}

// listen listens on a unix socket and returns its descriptor; the socket's file stays when it is closed.
func listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, removeFile(path))
	}
	return l.File()
}

// shimSuffix ends the names of the directories in which shims that were started ahead are at work.
const shimSuffix = ".shim"

// shimDir is the working directory of a pod's shim that was started ahead. It is among the run's pipes: so that the
// shim is found by RemoveRun, also when nothing else of the run was made.
func (c *Client) shimDir(run, pod string) string {
	return filepath.Join(c.pipesOf(run), pod+shimSuffix)
}

// podsAhead are the pods of a run that have, or had, a shim that was started ahead.
func (c *Client) podsAhead(run string) ([]string, error) {
	entries, err := os.ReadDir(c.pipesOf(run))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for the shims of run %s: %w", run, err)
	}
	var pods []string
	for _, e := range entries {
		if pod, ok := strings.CutSuffix(e.Name(), shimSuffix); ok {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// reapShims collects those of the shims that this process started that have ended.
func (c *Client) reapShims() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.children = slices.DeleteFunc(c.children, func(pid int) bool {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		return got == pid || errors.Is(err, unix.ECHILD)
	})
}
