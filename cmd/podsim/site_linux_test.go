package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A machine is the site that all tests of this package share: own directories, own containerd, own bridge.
type machine struct {
	state, run, bundle string
}

var shared struct {
	sync.Mutex
	*machine
	err error
}

// site makes the site ready, with the image podsim.local/sidekick:dev. It skips the test where there is no root or no
// bundle, unless PODSIM_REQUIRE_HOST=1 makes that an error.
func site(t *testing.T) *machine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.machine == nil && shared.err == nil {
		shared.machine, shared.err = openSite(t)
	}
	if shared.err != nil && os.Getenv("PODSIM_REQUIRE_HOST") != "1" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.machine
}

func bundleDir() (string, error) {
	if dir := os.Getenv("PODSIM_BUNDLE"); dir != "" {
		return filepath.Abs(dir)
	}
	return filepath.Abs("../../bin")
}

func openSite(t *testing.T) (*machine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root")
	}
	bundle, err := bundleDir()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"containerd", "runc", "sidekick"} {
		if _, err := os.Stat(filepath.Join(bundle, name)); err != nil {
			return nil, fmt.Errorf("needs the bundle: make build: %w", err)
		}
	}
	state, err := os.MkdirTemp("", "podsim-cli")
	if err != nil {
		return nil, err
	}
	m := &machine{state: state, run: "/run/ps-" + strings.TrimPrefix(filepath.Base(state), "podsim-"), bundle: bundle}
	o := perform(t, m.command(t, state, "image", "make", "podsim.local/sidekick:dev", filepath.Join(bundle, "sidekick")))
	if o.code != exitOK || o.stdout != "made podsim.local/sidekick:dev\n" {
		return nil, errors.Join(fmt.Errorf("make the image: %s", o), m.close())
	}
	return m, nil
}

// command is podsim at this site.
func (m *machine) command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, dir, append([]string{"--state-dir", m.state, "--run-dir", m.run, "--bundle", m.bundle}, args...)...)
	cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+m.state) // no credentials of whoever runs the tests
	return cmd
}

func (m *machine) perform(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	return perform(t, m.command(t, dir, args...))
}

// closeSite takes the site away. Anything that a test's run left is an error.
func closeSite() error {
	if shared.machine == nil {
		return nil
	}
	return shared.close()
}

func (m *machine) close() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	podsim := func(command string) (string, error) {
		cmd := exec.Command(exe, "--state-dir", m.state, "--run-dir", m.run, "--bundle", m.bundle, command)
		cmd.Env = append(os.Environ(), actVariable+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	var errs []error
	if out, err := podsim("ps"); err != nil || strings.Count(out, "\n") != 1 {
		errs = append(errs, fmt.Errorf("after all tests podsim ps says: %w\n%s", err, out))
	}
	if out, err := podsim("clean"); err != nil || out != "nothing to clean\n" {
		errs = append(errs, fmt.Errorf("after all tests podsim clean says: %w\n%s", err, out))
	}
	if left, _ := os.ReadDir(filepath.Join(m.run, "runs")); len(left) > 0 {
		errs = append(errs, fmt.Errorf("after all tests %s/runs holds %v", m.run, left))
	}
	return errors.Join(append(errs, os.RemoveAll(m.state), os.RemoveAll(m.run))...)
}
