package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// ownSite is a site that the test has for itself: it is no other test's business when its containerd goes.
func ownSite(t *testing.T) *machine {
	t.Helper()
	site(t) // skips or fails where there can be none
	m, err := openSite(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// processesWith lists the IDs of the processes that have all the texts on their command lines.
func processesWith(texts ...string) []string {
	var pids []string
	all, _ := filepath.Glob("/proc/[0-9]*")
search:
	for _, dir := range all {
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		for _, text := range texts {
			if !bytes.Contains(command, []byte(text)) {
				continue search
			}
		}
		pids = append(pids, filepath.Base(dir))
	}
	return pids
}

// eventually polls until something is so, and fails the test if it is not within a time.
func eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Errorf("after %s it is still not so: %s", within, what)
			return
		}
	}
}

// runIDs are the runs that podsim ps lists as alive or dead.
func runIDs(o outcome, state string) []string {
	var ids []string
	for line := range strings.Lines(o.stdout) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == state {
			ids = append(ids, f[0])
		}
	}
	return ids
}

func TestTwoPodsimsShareAContainerdThatGoesWithTheLast(t *testing.T) {
	t.Parallel()
	m := ownSite(t)
	dir := t.TempDir()
	pod := write(t, dir, "pod.yaml", podOf("web", "Always", `args: [app]`))
	first, second := begin(t, m.command(t, dir, "run", pod)), begin(t, m.command(t, dir, "run", pod))
	first.until("main | listening on")
	second.until("main | listening on")
	daemon := processesWith("containerd", m.state+"/daemon/containerd.toml")
	if len(daemon) != 1 {
		t.Errorf("two podsims at once have the containerds %v, want one", daemon)
	}
	alive := runIDs(m.perform(t, dir, "ps"), "alive")
	if len(alive) != 2 {
		t.Errorf("podsim ps lists %v as alive, want two runs", alive)
	}

	// One is killed, and cleaned up after; the other does not notice.
	first.signal(os.Kill)
	first.end()
	o := m.perform(t, dir, "ps")
	dead, alive := runIDs(o, "dead"), runIDs(o, "alive")
	if len(dead) != 1 || len(alive) != 1 {
		t.Fatalf("want one run dead and one alive: %s", o)
	}
	o = m.perform(t, dir, "clean", dead[0])
	wants(t, o, exitOK, o.stdout, "cleaned run "+dead[0]+"\n")
	if now := processesWith("containerd", m.state+"/daemon/containerd.toml"); strings.Join(now, " ") != strings.Join(daemon, " ") {
		t.Errorf("the containerd of the run that lives was %v and is %v", daemon, now)
	}
	// A third comes and goes in order.
	third := m.perform(t, dir, "run", write(t, dir, "job.yaml", podOf("job", "Never", `args: [echo, hello]`)))
	wants(t, third, exitOK, third.stdout, "main | hello", "pod   gone")
	if o = m.perform(t, dir, "ps"); strings.Join(runIDs(o, "alive"), " ") != alive[0] {
		t.Errorf("want only run %s, alive: %s", alive[0], o)
	}
	second.signal(os.Interrupt)
	o = second.end()
	wants(t, o, exitInterrupted, o.stdout, "main  exited with code 0", "pod   gone")
	if strings.Contains(o.stdout, "restart") || strings.Contains(o.stdout, "signal KILL") {
		t.Errorf("the run that lived on was disturbed: %s", o)
	}
	eventually(t, time.Minute, "the last one's end takes containerd away", func() bool {
		return len(processesWith(m.state)) == 0
	})
}

// A foreign containerd is one that podsim has not started.
type foreign struct {
	t       *testing.T
	dir     string
	bundle  string
	process *exec.Cmd
}

func (f *foreign) address() string { return filepath.Join(f.dir, "c.sock") }

func (f *foreign) start() {
	f.t.Helper()
	config := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\n[grpc]\n  address = %q\n", f.dir+"/root", f.dir+"/state", f.address())
	f.process = exec.Command(filepath.Join(f.bundle, "containerd"), "--config", write(f.t, f.dir, "containerd.toml", config))
	f.process.Env = append(os.Environ(), "PATH="+f.bundle+":"+os.Getenv("PATH"))
	if err := f.process.Start(); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, 30*time.Second, "the foreign containerd answers", func() bool {
		c, err := net.Dial("unix", f.address())
		return err == nil && c.Close() == nil
	})
}

func (f *foreign) kill() {
	f.t.Helper()
	if err := f.process.Process.Kill(); err != nil {
		f.t.Error(err)
	}
	_ = f.process.Wait()
}

// left lists what runs for podsim under the foreign containerd.
func (f *foreign) left() []string {
	left := processesWith("containerd-shim", f.dir)
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(f.dir))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range mounts {
		left = append(left, m.Mountpoint)
	}
	return left
}

func TestAForeignContainerdThatDies(t *testing.T) {
	t.Parallel()
	m := ownSite(t)
	for _, comesBack := range []bool{true, false} {
		t.Run(fmt.Sprintf("and comes back before the cleaning %t", comesBack), func(t *testing.T) {
			dir, err := os.MkdirTemp("", "pf") // short: a socket's path
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			f := &foreign{t: t, dir: dir, bundle: m.bundle}
			f.start()
			t.Cleanup(f.kill)
			o := m.perform(t, dir, "--containerd", f.address(), "image", "make", "podsim.local/sidekick:dev", filepath.Join(m.bundle, "sidekick"))
			wants(t, o, exitOK, o.stdout, "made")
			p := begin(t, m.command(t, dir, "--containerd", f.address(), "run", write(t, dir, "pod.yaml", podOf("web", "Always", `args: [app]`))))
			p.until("main | listening on")
			f.kill()
			begun := time.Now()
			o = p.end()
			wants(t, o, exitLeft, o.stderr, "connect to the containerd at "+f.address(), "podsim clean")
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("it took %s to give up\n%s", took, o)
			}
			dead := runIDs(m.perform(t, dir, "ps"), "dead")
			if len(dead) != 1 {
				t.Fatalf("want one dead run: %s", m.perform(t, dir, "ps"))
			}
			if !comesBack {
				// What needs no containerd goes, and it is said what keeps the rest.
				o = m.perform(t, dir, "clean")
				wants(t, o, exitLeft, o.stderr, f.address(), "start that containerd and run podsim clean again", "rm -r "+m.state+"/runs/"+dead[0])
				if left := processesWith(dead[0]); len(left) > 0 {
					t.Errorf("processes are left of the run: %v", left)
				}
				left, err := netns.Network{StateDir: m.state}.Leftovers(m.run + "/runs")
				// Links are listed of the whole machine, and other tests have theirs.
				left = slices.DeleteFunc(left, func(l netns.Leftover) bool { return !strings.HasPrefix(l.ID, dead[0]) })
				if err != nil || len(left) > 0 {
					t.Errorf("of the network is left %v, %v", left, err)
				}
				if err := unix.Access(filepath.Join(m.run, "runs", dead[0]), unix.F_OK); err == nil {
					t.Errorf("the run's directory of volumes is left")
				}
			}
			f.start()
			o = m.perform(t, dir, "clean")
			wants(t, o, exitOK, o.stdout, "cleaned run "+dead[0]+"\n")
			if left := f.left(); len(left) > 0 {
				t.Errorf("left under the foreign containerd: %v", left)
			}
		})
	}
}

// A machine without IPv6 is one whose network namespace has it switched off for all links.
func TestAPodRunsOnAHostWithoutIPv6(t *testing.T) {
	t.Parallel()
	shared := site(t)
	dir := t.TempDir()
	pins := netns.Pins{Net: filepath.Join(dir, "net")}
	off := map[string]string{"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
	if err := pins.Create(netns.PinOptions{Sysctls: off}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pins.Remove(); err != nil {
			t.Error(err)
		}
	})
	state, err := os.MkdirTemp("", "podsim-six")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{state: state, run: "/run/ps-" + strings.TrimPrefix(filepath.Base(state), "podsim-"), bundle: shared.bundle}
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	within := func(args ...string) (o outcome) {
		err := netns.Do(pins.Net, func() error {
			o = m.perform(t, dir, args...) // its process is of the thread's namespace
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := within("image", "make", "podsim.local/sidekick:dev", filepath.Join(m.bundle, "sidekick"))
	wants(t, o, exitOK, o.stdout, "made")
	o = within("doctor")
	wants(t, o, exitOK, o.stdout, "weaker  ipv6", "mend it with: ")
	pod := podOf("web", "Never", `args: [get, "http://127.0.0.1:9000/id"]`)
	side := `  initContainers:
    - name: side
      image: podsim.local/sidekick:dev
      imagePullPolicy: IfNotPresent
      restartPolicy: Always
      args: [app, --listen, ":9000"]
      startupProbe: {httpGet: {path: /healthz, port: 9000}, periodSeconds: 1, failureThreshold: 60}
  containers:`
	o = within("run", write(t, dir, "pod.yaml", strings.Replace(pod, "  containers:", side, 1)))
	wants(t, o, exitOK, o.stdout, "network ready", "side  startup probe succeeded", "host=web", "pod   gone")
}
