package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
)

// A pluginRunner starts CNI plugins for libcni. It differs from libcni's own in three ways: a plugin and what it starts
// (its ipam plugin) have a process group of their own, so that a Ctrl-C at the terminal does not cut an attachment in
// half; the group is killed whole when the context ends; and a process that lingers cannot hold the answer back.
type pluginRunner struct {
	version.PluginDecoder
}

var _ invoke.Exec = (*pluginRunner)(nil)

// pluginWaitDelay is how long a killed plugin's output is waited for.
const pluginWaitDelay = time.Second

// ExecPlugin runs one plugin with its configuration on stdin and returns its stdout.
func (*pluginRunner) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, bytes.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = pluginWaitDelay
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("CNI plugin %s did not end in time: %w", filepath.Base(path), context.Cause(ctx))
	}
	return nil, pluginFailure(err, stdout.Bytes(), strings.TrimSpace(stderr.String()))
}

// pluginFailure is a failed plugin's own error, as the specification has it on stdout, or what it said besides.
func pluginFailure(err error, stdout []byte, stderr string) error {
	var own types.Error
	if json.Unmarshal(stdout, &own) == nil && own.Msg != "" {
		return &own
	}
	if stderr != "" {
		return fmt.Errorf("%w: %s", err, stderr)
	}
	return fmt.Errorf("%w, without an error message", err)
}

// FindInPath finds a plugin in directories, in their order.
func (*pluginRunner) FindInPath(plugin string, dirs []string) (string, error) {
	return invoke.FindInPath(plugin, dirs)
}
