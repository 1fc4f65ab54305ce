package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/podsim/pod"
)

// A visit is what another process does with a running container: it finds it by its name alone.
type visit struct {
	t     *testing.T
	m     *machine
	run   string
	once  sync.Once
	begun bool
	done  chan struct{}
}

// visiting is a step that visits a container when it may, and is over when the visit is.
func (v *visit) visiting(container string, when func(look) bool, f func(ctx context.Context, a *Attached)) step {
	v.done = make(chan struct{})
	begin := func() {
		defer close(v.done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		a, err := Attach(ctx, Config{Site: v.m.site, Bundle: testBundle()}, v.instance(container))
		if err != nil {
			v.t.Error(err)
			return
		}
		f(ctx, a)
		if err := a.Close(); err != nil {
			v.t.Error(err)
		}
	}
	return step{name: "visit", do: pod.Action{Op: pod.OpRun, Command: []string{"true"}}, when: func(l look) bool {
		if v.begun = v.begun || when(l); !v.begun {
			return false
		}
		v.once.Do(func() { go begin() })
		select {
		case <-v.done:
			return true
		default:
			return false
		}
	}}
}

func (v *visit) instance(container string) Instance {
	return Instance{Run: v.run, Pod: podID(v.run, 0), Container: container}
}

func TestCommandsRunInContainersOfOtherProcesses(t *testing.T) {
	t.Parallel()
	v := &visit{t: t, m: here(t)}
	trial{
		pod: podNamed("visited", `
  containers:
    - {name: app, image: PROG, args: [listen], env: [{name: GREETING, value: hello}]}
`),
		opened: func(h *Host) { v.run = h.ID() },
		steps: []step{v.visiting("app", running("app"), func(ctx context.Context, a *Attached) {
			var out bytes.Buffer
			code, err := a.Exec(ctx, []string{"/prog", "echo"}, Streams{Stdin: io.NopCloser(strings.NewReader("one\ntwo\n")), Stdout: &out})
			if want := "reading\ngot one\ngot two\n"; code != 5 || err != nil || out.String() != want {
				t.Errorf("code %d, %v, output %q; want 5 and %q", code, err, &out, want)
			}
			signals := make(chan syscall.Signal, 1)
			signals <- unix.SIGKILL
			if code, err := a.Exec(ctx, []string{"/prog", "listen"}, Streams{Signals: signals}); code != 137 || err != nil {
				t.Errorf("a killed command gives code %d, %v; want 137", code, err)
			}
			_, err = a.Exec(ctx, []string{"nope"}, Streams{})
			if e, ok := errors.AsType[*CommandError](err); !ok || e.Code != 127 || !strings.Contains(e.Message, "nope") {
				t.Errorf("a command that is not there gives %v", err)
			}
			_, err = a.Exec(ctx, []string{"/etc"}, Streams{})
			if e, ok := errors.AsType[*CommandError](err); !ok || e.Code != 126 {
				t.Errorf("a command that is a directory gives %v", err)
			}
			if _, err := Attach(ctx, Config{Site: v.m.site, Bundle: testBundle()}, v.instance("nope")); !errors.Is(err, ErrNotRunning) {
				t.Errorf("a container that is not there gives %v", err)
			}
		}), deleted()},
	}.run(t)
}

func TestAContainersInputIsOpenUntilItsOnlyAttachmentEnds(t *testing.T) { // CM-10
	t.Parallel()
	v := &visit{t: t, m: here(t)}
	r := trial{
		pod: podNamed("asked", `
  restartPolicy: Never
  containers:
    - {name: app, image: PROG, args: [echo], stdin: true, stdinOnce: true}
`),
		opened: func(h *Host) { v.run = h.ID() },
		steps: []step{v.visiting("app", running("app"), func(ctx context.Context, a *Attached) {
			var out bytes.Buffer
			if err := a.Attach(ctx, Streams{Stdin: io.NopCloser(strings.NewReader("one\n")), Stdout: &out}, true); err != nil {
				t.Error(err)
			}
			if !strings.HasSuffix(out.String(), "got one\n") {
				t.Errorf("the output was %q", &out)
			}
		})},
	}.run(t)
	if x, _ := r.exit("app", 0); x.Code != 5 {
		r.fatalf("it ended with %+v", x)
	}
}

func TestFilesAreCopiedIntoAndOutOfContainers(t *testing.T) {
	t.Parallel()
	v := &visit{t: t, m: here(t)}
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	plant(t, from, map[string]string{"a": "A", "sub/b": "B", "sub/c": "C"})
	for _, err := range []error{
		os.Chmod(filepath.Join(from, "a"), 0o640), os.Chmod(filepath.Join(from, "sub"), 0o750), os.Chmod(filepath.Join(from, "sub/b"), 0o755),
		os.Symlink("../a", filepath.Join(from, "sub", "link")), os.Symlink("/etc", filepath.Join(from, "out")),
		os.MkdirAll(filepath.Join(dir, "volume"), 0o777), os.Chmod(filepath.Join(dir, "volume"), 0o777),
		os.Symlink("/data/tree/sub", filepath.Join(dir, "volume", "way")), os.Symlink("/nowhere", filepath.Join(dir, "volume", "dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	inPod := filepath.Join(dir, "volume")
	trial{
		pod: podNamed("copied", `
  containers:
    - name: app
      image: PROG
      args: [listen]
      workingDir: /data
      securityContext: {runAsUser: 7, runAsGroup: 8}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes:
    - {name: data, hostPath: {path: `+inPod+`}}
`),
		opened: func(h *Host) { v.run = h.ID() },
		steps: []step{v.visiting("app", running("app"), func(ctx context.Context, a *Attached) {
			var warnings []string
			warn := func(s string) { warnings = append(warnings, s) }
			check := func(what string, err error) {
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			check("a directory to a new name", a.CopyIn(ctx, from, "/data/tree", warn))
			if got, want := listing(t, filepath.Join(inPod, "tree")), "a -rw-r----- 7:8 A\nout L 7:8 /etc\nsub drwxr-x--- 7:8 \nsub/b -rwxr-xr-x 7:8 B\nsub/c -rw-r--r-- 7:8 C\nsub/link L 7:8 ../a\n"; got != want {
				t.Errorf("in the container is\n%swant\n%s", got, want)
			}
			check("a directory into one", a.CopyIn(ctx, from, "tree", warn)) // below the working directory
			check("a file into a directory that a link leads to", a.CopyIn(ctx, filepath.Join(from, "a"), "/data/way", warn))
			check("a file in place of a link", a.CopyIn(ctx, filepath.Join(from, "a"), "/data/dangling", warn))
			check("a file that is mounted", a.CopyIn(ctx, filepath.Join(from, "a"), "/etc/hostname", warn))
			for name, want := range map[string]string{"tree/from/sub/b": "B", "tree/sub/a": "A", "dangling": "A"} {
				if got, err := os.ReadFile(filepath.Join(inPod, name)); err != nil || string(got) != want {
					t.Errorf("in %s is %q, %v; want %q", name, got, err, want)
				}
			}
			if err := a.CopyIn(ctx, filepath.Join(from, "a"), "/no/such/place", warn); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("into a directory that is not there: %v", err)
			}
			if len(warnings) > 0 {
				t.Errorf("on the way in: %q", warnings)
			}

			out := filepath.Join(dir, "out")
			check("a directory out", a.CopyOut(ctx, "tree", out, warn))
			if len(warnings) != 4 || !strings.Contains(warnings[0]+warnings[1], "skipping symlink") {
				t.Errorf("of four links it is said %q", warnings)
			}
			if got, err := os.ReadFile(filepath.Join(out, "from", "sub", "b")); err != nil || string(got) != "B" {
				t.Errorf("what came out is %q, %v", got, err)
			}
			if info, err := os.Stat(filepath.Join(out, "sub")); err != nil || info.Mode().Perm() != 0o750 {
				t.Errorf("the directory that came out is %v, %v", info, err)
			}
			check("a file out, into a directory, by way of a link", a.CopyOut(ctx, "/data/way/b", out, warn))
			check("a file out, to a new name", a.CopyOut(ctx, "/etc/hostname", filepath.Join(dir, "new", "name"), warn))
			for name, want := range map[string]string{"out/b": "B", "new/name": "A"} {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
					t.Errorf("in %s is %q, %v; want %q", name, got, err, want)
				}
			}
			// A link that is in the destination already does not lead out of it.
			trap := filepath.Join(dir, "trap")
			check("plant a link", errors.Join(os.MkdirAll(trap, 0o755), os.Symlink(dir, filepath.Join(trap, "sub"))))
			if err := a.CopyOut(ctx, "tree", trap, warn); err == nil {
				t.Error("a copy goes through a link of its destination")
			}
			if _, err := os.Stat(filepath.Join(dir, "b")); err == nil {
				t.Error("a copy came to lie where a link led")
			}
			if err := a.CopyOut(ctx, "/no/such/file", out, warn); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file that is not there: %v", err)
			}
		}), deleted()},
	}.run(t)
}

// plant makes files below a directory.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// listing tells what is below a directory.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		mode, text := info.Mode().String(), []byte(nil)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			var to string
			to, err = os.Readlink(path)
			mode, text = "L", []byte(to)
		case info.Mode().IsRegular():
			text, err = os.ReadFile(path)
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %s %d:%d %s\n", strings.TrimPrefix(path, dir+"/"), mode, st.Uid, st.Gid, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}
