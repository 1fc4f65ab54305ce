package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal session is a podsim with a terminal of its own, and what that shows.
type session struct {
	t     *testing.T
	cmd   *exec.Cmd
	ptmx  *os.File
	tty   *os.File // kept open, so that the terminal's modes can be looked at after the end
	modes unix.Termios
	shown *screenshot
	raw   strings.Builder
	// look is called after everything that was read.
	look func(s *session)
}

// openTerminal makes a pseudo terminal of a size in columns and rows.
func openTerminal(t *testing.T, width, height int) (ptmx, tty *os.File) {
	t.Helper()
	// Not blocking, so that a read can have a deadline.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("open a pseudo terminal: %v", err)
	}
	ptmx = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = ptmx.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("unlock a pseudo terminal: %v", err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("name a pseudo terminal: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)}); err != nil {
		t.Fatal(err)
	}
	return ptmx, tty
}

func beginSession(t *testing.T, width, height int, cmd *exec.Cmd) *session {
	t.Helper()
	s := &session{t: t, cmd: cmd, shown: newScreenshot(width, height), look: func(*session) {}}
	if width == 0 {
		s.shown.width, s.shown.height = defaultWidth, 1000
	}
	s.ptmx, s.tty = openTerminal(t, width, height)
	s.modes = s.termios()
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.tty, s.tty, s.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *session) termios() unix.Termios {
	s.t.Helper()
	modes, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *modes
}

// read reads what has come, up to a time. It reports whether anything has.
func (s *session) read(deadline time.Time) bool {
	s.t.Helper()
	if err := s.ptmx.SetReadDeadline(deadline); err != nil {
		s.t.Fatal(err)
	}
	piece := make([]byte, 64<<10)
	n, err := s.ptmx.Read(piece)
	if n > 0 {
		s.raw.Write(piece[:n])
		s.shown.write(string(piece[:n]))
		s.look(s)
		return true
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
		s.t.Fatalf("read the terminal: %v", err)
	}
	return false
}

// until reads until the screen shows what is wanted.
func (s *session) until(wanted *regexp.Regexp) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !wanted.MatchString(s.shown.text()) {
		if !s.read(deadline) {
			_ = s.cmd.Process.Kill()
			s.t.Fatalf("the screen does not show %s, but\n%s", wanted, s.shown.text())
		}
	}
}

// end reads to the end of podsim, and looks at what it has left of the terminal.
func (s *session) end() (code int) {
	s.t.Helper()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		_ = s.cmd.Wait()
	}()
	for ended := false; !ended; {
		select {
		case <-joined:
			ended = true
		default:
		}
		for s.read(time.Now().Add(50 * time.Millisecond)) {
		}
	}
	if modes := s.termios(); modes != s.modes {
		s.t.Errorf("the terminal's modes were %+v and are %+v", s.modes, modes)
	}
	if s.shown.style != "0" && s.shown.style != "" || s.shown.escape != nil || s.shown.col != 0 {
		s.t.Errorf("the terminal is left in style %q, within sequence %q, in column %d", s.shown.style, string(s.shown.escape), s.shown.col)
	}
	if s.shown.unknown != nil {
		s.t.Errorf("sequences came that ask more of the terminal than is put back: %q", s.shown.unknown)
	}
	if text := s.shown.text(); strings.Contains(text, "──") {
		s.t.Errorf("the block is still there\n%s", text)
	}
	return s.cmd.ProcessState.ExitCode()
}

// head begins the block's first line.
const head = "── web"

// oneBlock fails the test if there are rows of an older block beside the newest.
func oneBlock(s *session) {
	s.t.Helper()
	if text := s.shown.text(); strings.Count(text, head) > 1 {
		s.t.Fatalf("the block is there more than once\n%s", text)
	}
}

var screenPod = strings.Replace(podOf("web", "Always", `args: [app]`), "  containers:", `  initContainers:
    - {name: first, image: "podsim.local/sidekick:dev", imagePullPolicy: IfNotPresent, args: [echo, "a line of first"]}
  containers:`, 1)

func TestTheScreenIsRepaintedAndPutBack(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	s := beginSession(t, 100, 30, m.command(t, dir, "run", write(t, dir, "pod.yaml", screenPod)))
	s.look = oneBlock
	// A head and two containers, at the end.
	s.until(regexp.MustCompile(`(?s)\| listening on.*\n── web  Running  10\.\S+\n   first +(ready )?ended: Completed, exit code 0\n   main  ready running since \d\d:\d\d:\d\d\n$`))
	if _, err := s.ptmx.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if code := s.end(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	rest := s.shown.text()
	for _, want := range []string{"pod    network ready", "first  started", "first  exited with code 0", "main   started",
		"podsim: deleting the pod; interrupt again to end it at once\n", "main   signal TERM", "main   exited with code 0", "pod    gone\n"} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q where it should be\n%s", want, s.shown.text())
		}
		if strings.Contains(after, want) {
			t.Errorf("%q is there more than once\n%s", want, s.shown.text())
		}
		rest = after
	}
	if n := strings.Count(s.shown.text(), "first | a line of first\n"); n != 1 { // before or after its start's record
		t.Errorf("the container's line is there %d times, want once\n%s", n, s.shown.text())
	}
	if !strings.Contains(s.raw.String(), "\x1b[3A\r\x1b[J") {
		t.Errorf("the block of three rows was never replaced: %q", s.raw.String())
	}
}

func TestTheScreenIsPutBackAtANormalEndInAnyWindow(t *testing.T) {
	m := site(t)
	for _, size := range [][2]int{{100, 30}, {20, 24}, {0, 0}, {40, 3}, {1, 1}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			pod := strings.Replace(strings.Replace(screenPod, "args: [app]", `args: [echo, "a line of main"]`, 1), "Always", "Never", 1)
			s := beginSession(t, size[0], size[1], m.command(t, dir, "run", write(t, dir, "pod.yaml", pod)))
			s.look = oneBlock
			if code := s.end(); code != exitOK {
				t.Errorf("exit code %d, want 0\n%s", code, s.shown.text())
			}
			// Narrow windows break lines, which are whole again without the breaks.
			text := strings.NewReplacer("\n", "", " ", "").Replace(s.shown.text())
			for _, want := range []string{"networkready", "first|alineoffirst", "main|alineofmain", "mainexitedwithcode0", "podgone"} {
				if strings.Count(text, want) != 1 {
					t.Errorf("%q is there %d times, want once\n%s", want, strings.Count(text, want), s.shown.text())
				}
			}
		})
	}
}
