package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// atOnce is how many pods run at a time: they sleep most of it.
const atOnce = "14"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(atOnce); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := closeSite(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// A machine is the site that all cases share: own directories, own containerd, own bridge, one watch.
type machine struct {
	state, run, bundle string
	watch              *watch
}

var shared struct {
	sync.Mutex
	*machine
	err error
}

// site makes the site ready, with the images in it. It skips the test where nobody names a busybox, and where there can be
// no site, unless PODSIM_REQUIRE_HOST=1 makes that an error.
func site(t *testing.T) *machine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	busybox := os.Getenv("PODSIM_BUSYBOX")
	if busybox == "" {
		t.Skip("needs a static busybox, PODSIM_BUSYBOX: make lifecycle")
	}
	if shared.machine == nil && shared.err == nil {
		shared.machine, shared.err = openSite(context.Background(), busybox)
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

func openSite(ctx context.Context, busybox string) (*machine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root")
	}
	bundle, err := bundleDir()
	if err != nil {
		return nil, err
	}
	for _, path := range []string{filepath.Join(bundle, "podsim"), filepath.Join(bundle, "containerd"), filepath.Join(bundle, "sidekick"), busybox} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("needs the bundle and a static busybox: make lifecycle: %w", err)
		}
	}
	state, err := os.MkdirTemp("", "podsim-life")
	if err != nil {
		return nil, err
	}
	m := &machine{state: state, run: "/run/ps-" + strings.TrimPrefix(filepath.Base(state), "podsim-"), bundle: bundle}
	archive := filepath.Join(state, "busybox.tar")
	err = imageArchive(busybox, archive)
	if err == nil {
		_, err = m.podsim(ctx, nil, "image", "load", archive)
	}
	if err == nil {
		_, err = m.podsim(ctx, nil, "image", "make", sidekickImage, filepath.Join(bundle, "sidekick"))
	}
	if err == nil {
		m.watch, err = startWatch(m)
	}
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// podsim runs the program with an input, and returns what it printed.
func (m *machine) podsim(ctx context.Context, in []byte, args ...string) (string, error) {
	cmd := m.command(ctx, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("podsim %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(m.bundle, "podsim"), append([]string{"--state-dir", m.state, "--run-dir", m.run}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+m.state) // no credentials of whoever runs the tests
	return cmd
}

// closeSite takes the site away. Anything that a case left is an error.
func closeSite() error {
	if shared.machine == nil {
		return nil
	}
	return shared.close()
}

func (m *machine) close() error {
	m.watch.stop()
	var errs []error
	out, err := m.podsim(context.Background(), nil, "ps")
	if err != nil || strings.Count(out, "\n") != 1 {
		errs = append(errs, err, fmt.Errorf("after all cases podsim ps says:\n%s", out))
	}
	out, err = m.podsim(context.Background(), nil, "clean")
	if err != nil || out != "nothing to clean\n" {
		errs = append(errs, err, fmt.Errorf("after all cases podsim clean says: %s", out))
	}
	if left, _ := os.ReadDir(filepath.Join(m.run, "runs")); len(left) > 0 {
		errs = append(errs, fmt.Errorf("after all cases %s/runs holds %v", m.run, left))
	}
	return errors.Join(append(errs, os.RemoveAll(m.state), os.RemoveAll(m.run))...)
}
