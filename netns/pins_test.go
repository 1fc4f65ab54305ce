//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestPinsAreNewNamespacesWithLoopbackHostnameAndSysctls(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	p := PinsIn(dir)
	before := [3]string{link(t, "net"), link(t, "ipc"), link(t, "uts")}
	err := p.Create(PinOptions{Hostname: "web-0", Sysctls: map[string]string{
		"net.ipv4.ip_local_port_range": "40000 40010", "net/ipv4/ip_unprivileged_port_start": "0", "kernel.shmmni": "123",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Remove() })

	inside(t, p.Net, func() error {
		if got := link(t, "net"); got == before[0] {
			return fmt.Errorf("the pinned network namespace is the machine's: %s", got)
		}
		lo, err := net.InterfaceByName("lo")
		if err != nil {
			return err
		}
		if lo.Flags&net.FlagUp == 0 {
			return errors.New("lo is down in a new namespace")
		}
		return wantFile("/proc/sys/net/ipv4/ip_local_port_range", "40000\t40010")
	})
	err = onThread(func() (bool, error) { // ends with its goroutine: it isn't taken back
		for _, path := range []string{p.IPC, p.UTS} {
			fd, err := openPin(path)
			if err != nil {
				return false, err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, 0); err != nil {
				return false, err
			}
		}
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return false, err
		}
		if got := unix.ByteSliceToString(u.Nodename[:]); got != "web-0" {
			return false, fmt.Errorf("hostname is %q, want web-0", got)
		}
		return false, wantFile("/proc/sys/kernel/shmmni", "123")
	})
	if err != nil {
		t.Error(err)
	}
	if after := [3]string{link(t, "net"), link(t, "ipc"), link(t, "uts")}; after != before {
		t.Errorf("the process moved from %v to %v", before, after)
	}
}

func TestPinsAreRemovedOnceTwiceAndWhenMountedTwice(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	p := PinsIn(dir)
	if err := p.Create(PinOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Create(PinOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making pins a second time: got error %v, want one that wraps fs.ErrExist", err)
	}
	if err := unix.Mount(p.Net, p.Net, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	wantEmpty(t, dir)
	if err := Do(p.Net, func() error { return nil }); !errors.Is(err, ErrNotPinned) {
		t.Errorf("entering a removed pin: got error %v, want ErrNotPinned", err)
	}
	if err := (Pins{Net: filepath.Join(dir, "no/such/dir/net")}).Remove(); err != nil {
		t.Errorf("removing pins whose directory is gone: %v", err)
	}
}

func TestPinsLeaveNothingWhenTheyCannotBeMade(t *testing.T) {
	needRoot(t)
	tests := []struct {
		name string
		pins func(dir string) Pins
		opts PinOptions
		want string
	}{
		{"a sysctl of the whole machine", PinsIn, PinOptions{Sysctls: map[string]string{"vm.swappiness": "1"}}, "the whole machine's"},
		{"a sysctl that climbs out", PinsIn, PinOptions{Sysctls: map[string]string{"net/../vm/swappiness": "1"}}, "not a sysctl's name"},
		{"a network sysctl on the machine's network", func(d string) Pins { return Pins{IPC: d + "/ipc"} },
			PinOptions{Sysctls: map[string]string{"net.core.somaxconn": "1"}}, "network namespace is the machine's own"},
		{"a sysctl that does not exist", PinsIn, PinOptions{Sysctls: map[string]string{"net.ipv4.nonsense": "1"}}, "set sysctl net.ipv4.nonsense"},
		{"a value that the kernel refuses", PinsIn, PinOptions{Sysctls: map[string]string{"net.ipv4.ip_forward": "yes please"}}, `to "yes please"`},
		{"a hostname that is too long", PinsIn, PinOptions{Hostname: strings.Repeat("h", 65)}, "set hostname"},
		{"a hostname for the machine", func(d string) Pins { return Pins{Net: d + "/net"} }, PinOptions{Hostname: "h"}, "uts namespace is the machine's own"},
		{"a directory that does not exist", func(d string) Pins { return PinsIn(d + "/none") }, PinOptions{}, "pin namespace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			err := tt.pins(dir).Create(tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			wantEmpty(t, dir)
		})
	}
}

func TestDoReturnsTheErrorAndSurvivesAnAbandonedGoroutine(t *testing.T) {
	path := newNetns(t)
	home := link(t, "net")
	if err := Do(path, func() error { return io.ErrUnexpectedEOF }); err != io.ErrUnexpectedEOF { //nolint:errorlint // that very error, not one around it
		t.Errorf("got %v, want the function's own error as it is", err)
	}
	if err := Do(path, func() error { runtime.Goexit(); return nil }); !errors.Is(err, errAbandoned) {
		t.Errorf("after Goexit: got %v, want errAbandoned", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Do(file, func() error { return nil }); !errors.Is(err, ErrNotPinned) {
		t.Errorf("entering a plain file: got %v, want ErrNotPinned", err)
	}
	if got := link(t, "net"); got != home {
		t.Errorf("the process moved from %s to %s", home, got)
	}
}

func TestDialerAndListenersWorkInTheirNamespaceOnly(t *testing.T) {
	path := newNetns(t)
	l, err := Listen(t.Context(), path, "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "from inside") })}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })

	d := Dialer{Path: path}
	tr := &http.Transport{DialContext: d.DialContext}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://127.0.0.1:8080/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "from inside" {
		t.Errorf("got %q", body)
	}

	other := newNetns(t)
	if _, err := (&Dialer{Path: other}).DialContext(t.Context(), "tcp", "127.0.0.1:8080"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dialling from another namespace: got %v, want it refused", err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "localhost:8080"); err == nil || !strings.Contains(err.Error(), "want an IP address") {
		t.Errorf("dialling a name: got %v, want it refused in words", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.DialContext(ctx, "tcp", "127.0.0.1:8080"); !errors.Is(err, context.Canceled) {
		t.Errorf("dialling with a cancelled context: got %v", err)
	}

	p, err := ListenPacket(t.Context(), path, "udp", "127.0.0.1:5300")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := d.DialContext(t.Context(), "udp", "127.0.0.1:5300")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, _, err := p.ReadFrom(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

func TestLeftoversNameMountsByTheirDirectory(t *testing.T) {
	needRoot(t)
	runs := t.TempDir()
	dir := filepath.Join(runs, "web-1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := PinsIn(dir)
	if err := p.Create(PinOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Remove() })
	n := Network{StateDir: filepath.Join(runs, "state")}
	left, err := n.Leftovers(runs)
	if err != nil {
		t.Fatal(err)
	}
	want := []Leftover{{"web-1", "mount", p.IPC}, {"web-1", "mount", p.Net}, {"web-1", "mount", p.UTS}}
	if got := slices.DeleteFunc(left, func(l Leftover) bool { return l.Kind == "link" }); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func BenchmarkPins(b *testing.B) {
	needRoot(b)
	p := PinsIn(b.TempDir())
	for b.Loop() {
		if err := p.Create(PinOptions{Hostname: "h"}); err != nil {
			b.Fatal(err)
		}
		if err := p.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	path := newNetns(b)
	for b.Loop() {
		if err := Do(path, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// link names this process's namespace of a kind.
func link(t testing.TB, kind string) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantFile(name, want string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(data)); got != want {
		return fmt.Errorf("%s holds %q, want %q", name, got, want)
	}
	return nil
}

// wantEmpty fails if anything is in dir or mounted below it.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		t.Errorf("left mounted: %s", m.Mountpoint)
	}
}
