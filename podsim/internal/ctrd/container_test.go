//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAContainerStartsPrintsEndsAndIsGone(t *testing.T) {
	f := newFixture(t)
	k, lines := f.start(f.config("app", "say", "one", "two", "three"))
	exit := f.wait(k)
	if exit.Code != 0 || exit.OOMKilled || exit.Lost || time.Since(exit.Time) > time.Minute {
		t.Errorf("exit is %+v, want code 0 a moment ago", exit)
	}
	got := lines.all()
	slices.Sort(got)
	if want := []string{"!two", "one", "three"}; !slices.Equal(got, want) {
		t.Errorf("when Wait returned the output was %q, want %q", got, want)
	}
	if err := k.Delete(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(deadline(t)); err != nil {
		t.Errorf("deleting a second time: %v", err)
	}
	if again, err := k.Wait(deadline(t)); err != nil || again != exit {
		t.Errorf("after the deletion Wait gives %+v, %v; want the exit as before", again, err)
	}
}

func TestAnExitCodeIsPassedOn(t *testing.T) {
	f := newFixture(t)
	k, _ := f.start(f.config("app", "exit", "42"))
	if got := f.wait(k).Code; got != 42 {
		t.Errorf("the exit code is %d, want 42", got)
	}
}

func TestADeathBySignalIs128AndItsNumber(t *testing.T) {
	f := newFixture(t)
	k, lines := f.start(f.config("app", "stubborn"))
	eventually(t, "the program is ready", func() bool { return lines.has("ready") })
	if err := k.Signal(deadline(t), "TERM"); err != nil { // has no effect
		t.Fatal(err)
	}
	if err := k.Signal(deadline(t), "KILL"); err != nil {
		t.Fatal(err)
	}
	if got := f.wait(k).Code; got != 137 {
		t.Errorf("the exit code is %d, want 137", got)
	}
}

func TestAllLinesArriveBeforeTheExit(t *testing.T) {
	f := newFixture(t)
	k, lines := f.start(f.config("app", "count", "20000"))
	f.wait(k)
	got := lines.all()
	if len(got) != 20000 || got[19999] != "line 19999" {
		t.Errorf("%d lines arrived before the exit, want 20000", len(got))
	}
}

func TestALongLineComesInPieces(t *testing.T) {
	f := newFixture(t)
	k, lines := f.start(f.config("app", "long", "40000"))
	f.wait(k)
	var sizes []int
	for _, l := range lines.all() {
		sizes = append(sizes, len(strings.TrimSuffix(l, "…")))
	}
	if want := []int{maxLine, maxLine, 40000 - 2*maxLine}; !slices.Equal(sizes, want) {
		t.Errorf("the pieces have %v bytes, want %v", sizes, want)
	}
}

func TestSignals(t *testing.T) {
	f := newFixture(t)
	k, lines := f.start(f.config("app", "block"))
	eventually(t, "the program is ready", func() bool { return lines.has("ready") })
	if err := k.Signal(deadline(t), "NOSUCH"); err == nil || !strings.Contains(err.Error(), `unknown signal "NOSUCH"`) {
		t.Errorf("an unknown signal gives %v", err)
	}
	if err := k.Signal(deadline(t), "TERM"); err != nil {
		t.Fatal(err)
	}
	if exit := f.wait(k); exit.Code != 7 || !lines.has("bye") {
		t.Errorf("after TERM: exit %+v and output %q, want code 7 and bye", exit, lines.all())
	}
	if err := k.Signal(deadline(t), "KILL"); err != nil {
		t.Errorf("signalling a process that is gone: %v", err)
	}
	if err := k.Delete(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := k.Signal(deadline(t), "KILL"); err != nil {
		t.Errorf("signalling a container that is gone: %v", err)
	}
}

func TestDeleteKillsWhatRunsOrWasNeverStarted(t *testing.T) {
	f := newFixture(t)
	running, lines := f.start(f.config("running", "stubborn"))
	eventually(t, "the program is ready", func() bool { return lines.has("ready") })
	created := f.create(f.config("created", "block"))
	for _, k := range []*Container{running, created} {
		if err := k.Delete(deadline(t)); err != nil {
			t.Errorf("delete %s: %v", k.ID(), err)
		}
		if exit, err := k.Wait(deadline(t)); err != nil || exit.Code != 137 {
			t.Errorf("the exit of %s is %+v, %v; want 137", k.ID(), exit, err)
		}
		if alive(k.PID()) {
			t.Errorf("process %d of %s lives on", k.PID(), k.ID())
		}
	}
}

func TestAProgramThatIsNotThereIsARuntimeErrorAndLeavesNothing(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("app")
	cfg.Spec.Args = []string{"/no/such/program"}
	_, err := f.c.Create(deadline(t), cfg)
	var re *RuntimeError
	if !errors.As(err, &re) || !strings.Contains(re.Message, "/no/such/program") {
		t.Fatalf("the error is %v, want a RuntimeError that names the program", err)
	}
	if list, err := f.c.Leftovers(deadline(t), f.run); err != nil || len(list) != 0 {
		t.Errorf("left are %v, %v; want nothing", list, err)
	}
	cfg.Spec.Args = []string{"/prog", "exit", "0"}
	k, _ := f.start(cfg) // the same ID is free again
	f.wait(k)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	k, _ := f.start(f.config("app", "block"))
	why := errors.New("lost interest")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if _, err := k.Wait(ctx); !errors.Is(err, why) {
		t.Errorf("Wait gives %v, want the cause of its context", err)
	}
}

func TestAChildThatHoldsTheOutputDoesNotHoldTheExit(t *testing.T) {
	f := newFixture(t)
	holder, _ := f.start(f.config("holder", "block"))
	cfg := f.config("app", "spawn")
	cfg.Spec.Namespaces.PID = fmt.Sprintf("/proc/%d/ns/pid", holder.PID()) // so that the child outlives its parent
	k, lines := f.start(cfg)
	if exit := f.wait(k); exit.Code != 0 || !lines.has("spawned") {
		t.Errorf("exit %+v with output %q, want code 0 and spawned", exit, lines.all())
	}
	if err := k.Delete(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestAnOOMKillIsSeen(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("app", "hog")
	cfg.Spec.Resources.Memory = 32 << 20
	k, _ := f.start(cfg)
	if exit := f.wait(k); !exit.OOMKilled || exit.Code != 137 {
		t.Errorf("the exit is %+v, want OOMKilled and 137", exit)
	}
}

func TestIdentityAndPlace(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("app", "id")
	cfg.Spec.User = User{UID: 1000, GID: 1001, Groups: []uint32{1001, 1002}}
	cfg.Spec.Cwd = "/tmp"
	cfg.Spec.Env = []string{"GREETING=hello"}
	k, lines := f.start(cfg)
	f.wait(k)
	if got, want := lines.all(), "1000 1001 [1001 1002] /tmp hello"; !slices.Equal(got, []string{want}) {
		t.Errorf("the program sees %q, want %q", got, want)
	}
}

func TestEveryHierarchyHasTheContainersCgroup(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("app", "block")
	k, _ := f.start(cfg)
	points, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := CgroupDirs(cfg.Spec.Cgroup)
	if err != nil || len(dirs) != len(points) {
		t.Errorf("the cgroup is in %v of %v, %v", dirs, points, err)
	}
	for _, dir := range dirs {
		data, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil || strings.TrimSpace(string(data)) != fmt.Sprint(k.PID()) {
			t.Errorf("%s holds %q, %v; want process %d", dir, data, err, k.PID())
		}
	}
}

func TestWhatTheHostCannotGiveIsNotedAndNotFatal(t *testing.T) {
	f := newFixture(t)
	if f.c.Facts().has("CAP_SYS_RESOURCE") {
		t.Skip("this host gives CAP_SYS_RESOURCE, so nothing is to be noted")
	}
	cfg := f.config("app", "exit", "0")
	low := -997
	cfg.Spec.OOMScoreAdj = &low
	cfg.Spec.Rlimits = []Rlimit{{Type: "RLIMIT_NOFILE", Soft: 1 << 30, Hard: 1 << 30}}
	k, _ := f.start(cfg)
	if exit := f.wait(k); exit.Code != 0 {
		t.Errorf("exit is %+v", exit)
	}
	if n := k.Notes(); len(n) != 2 || !strings.Contains(n[0]+n[1], "oom_score_adj") || !strings.Contains(n[0]+n[1], "RLIMIT_NOFILE") {
		t.Errorf("the notes are %q, want one on oom_score_adj and one on RLIMIT_NOFILE", n)
	}
}

func TestAPrivilegedContainerRuns(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("app", "cat", "/proc/self/status")
	cfg.Spec.Privileged = true
	k, lines := f.start(cfg)
	f.wait(k)
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(own), "\n") {
		if strings.HasPrefix(l, "CapEff:") && !lines.has(l) {
			t.Errorf("the container does not have this process's capabilities %q: %q", l, lines.all())
		}
	}
}

func TestExec(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("app", "block")
	cfg.Spec.Env = []string{"GREETING=hello"}
	k, _ := f.start(cfg)
	ctx := deadline(t)

	t.Run("its output and its code come back", func(t *testing.T) {
		r, err := k.Exec(ctx, Exec{Args: []string{"/prog", "say", "out", "err"}})
		if err != nil || r.Code != 0 || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" {
			t.Errorf("got %+v, %v", r, err)
		}
		if r, err = k.Exec(ctx, Exec{Args: []string{"/prog", "exit", "3"}}); err != nil || r.Code != 3 {
			t.Errorf("got %+v, %v; want code 3", r, err)
		}
	})
	t.Run("it may have another user, directory and environment", func(t *testing.T) {
		r, err := k.Exec(ctx, Exec{Args: []string{"/prog", "id"}, User: &User{UID: 5, GID: 6}, Cwd: "/etc", Env: []string{"GREETING=hi"}})
		if got := string(r.Stdout); err != nil || got != "5 6 [] /etc hi\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("its output is cut", func(t *testing.T) {
		r, err := k.Exec(ctx, Exec{Args: []string{"/prog", "long", "300000"}, Limit: 1000})
		if err != nil || len(r.Stdout) != 1000 || r.Code != 0 {
			t.Errorf("got %d bytes and code %d, %v; want 1000 and 0", len(r.Stdout), r.Code, err)
		}
	})
	t.Run("its timeout kills it", func(t *testing.T) {
		r, err := k.Exec(ctx, Exec{Args: []string{"/prog", "stubborn"}, Timeout: 100 * time.Millisecond})
		if err != nil || !r.TimedOut || string(r.Stdout) != "ready\n" {
			t.Errorf("got %+v, %v; want it timed out", r, err)
		}
	})
	t.Run("the end of its context kills it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := k.Exec(ctx, Exec{Args: []string{"/prog", "stubborn"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a program that is not there is a RuntimeError", func(t *testing.T) {
		_, err := k.Exec(ctx, Exec{Args: []string{"/nope"}})
		var re *RuntimeError
		if !errors.As(err, &re) || re.Op != "exec" {
			t.Errorf("got %v", err)
		}
	})
	if n := len(processesIn(t, cfg.Spec.Cgroup)); n != 1 {
		t.Errorf("%d processes are in the container after all this, want the main one", n)
	}
}

func processesIn(t testing.TB, cgroup string) []string {
	t.Helper()
	dirs, err := CgroupDirs(cgroup)
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cgroup %s: %v", cgroup, err)
	}
	data, err := os.ReadFile(dirs[0] + "/cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func TestThePodsContainersShareOneShim(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"a", "b", "c"} {
		f.start(f.config(name, "block"))
	}
	if got := shims(t, f); len(got) != 1 {
		t.Errorf("the shims are %v, want one", got)
	}
}

// shims lists the process IDs of the fixture's shims.
func shims(t testing.TB, f *fixture) []int {
	t.Helper()
	var pids []int
	for _, p := range running(f.cfg.Run) {
		var pid int
		var exe string
		if _, err := fmt.Sscan(p, &pid, &exe); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(exe, "containerd-shim-runc-v2") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestAKilledShimTakesItsContainersWithItAndLeavesNothing(t *testing.T) {
	f := newFixture(t)
	var all []*Container
	for _, name := range []string{"a", "b", "c"} {
		k, _ := f.start(f.config(name, "block"))
		all = append(all, k)
	}
	for _, pid := range shims(t, f) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range all {
		if exit := f.wait(k); exit.Code != 137 {
			t.Errorf("the exit of %s is %+v, want 137", k.ID(), exit)
		}
		eventually(t, "the process is gone", func() bool { return !alive(k.PID()) })
	}
}

func TestAKilledContainerdIsRevivedAndTheContainersLiveOn(t *testing.T) {
	f := newFixture(t)
	k, lines := f.start(f.config("app", "block"))
	eventually(t, "the program is ready", func() bool { return lines.has("ready") })
	killContainerd(t, f.c)
	if err := f.c.Revive(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := k.Signal(deadline(t), "TERM"); err != nil {
		t.Fatal(err)
	}
	if exit := f.wait(k); exit.Code != 7 || !lines.has("bye") {
		t.Errorf("exit %+v with output %q; want code 7 and bye", exit, lines.all())
	}
}

func TestWithContainerdDeadACallSaysSo(t *testing.T) {
	f := newFixture(t)
	killContainerd(t, f.c)
	if _, err := f.c.Images(deadline(t)); !errors.Is(err, ErrDaemonGone) {
		t.Errorf("the error is %v, want ErrDaemonGone", err)
	}
}

func TestContainerdAndShimKilledTogetherLeaveNothingAfterRemoveRun(t *testing.T) {
	f := newFixture(t)
	var all []*Container
	for _, name := range []string{"a", "b"} {
		k, _ := f.start(f.config(name, "block"))
		all = append(all, k)
	}
	killContainerd(t, f.c)
	for _, pid := range shims(t, f) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.c.RemoveRun(deadline(t), f.run); err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		eventually(t, "the process is gone", func() bool { return !alive(k.PID()) })
	}
}

func killContainerd(t testing.TB, c *Client) {
	t.Helper()
	pid, err := peer(c.Address())
	if err != nil {
		t.Fatal(err)
	}
	p, err := openProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.await(10 * time.Second) {
		t.Fatal("containerd survives SIGKILL")
	}
}
