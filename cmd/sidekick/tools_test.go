package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestTools(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("content\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("f", link); err != nil {
		t.Fatal(err)
	}
	owner := strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid())
	tests := []struct {
		args []string
		code int
		out  string // exactly, or a part of it when it begins with "…"
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"false"}, 1, ""},
		{[]string{"exit", "42"}, 42, ""},
		{[]string{"exit", "many"}, 1, "sidekick: exit wants a code from 0 to 255, not \"many\"\n"},
		{[]string{"echo", "-n", "two words"}, 0, "-n two words\n"},
		{[]string{"cat", file}, 0, "content\n"},
		{[]string{"cat", dir + "/none"}, 1, "…no such file"},
		{[]string{"write", dir + "/w", "text"}, 0, ""},
		{[]string{"cat", dir + "/w"}, 0, "text\n"},
		{[]string{"touch", dir + "/t"}, 0, ""},
		{[]string{"exists", dir + "/t", file}, 0, ""},
		{[]string{"contains", file, "tent"}, 0, ""},
		{[]string{"contains", file, "none"}, 1, ""},
		{[]string{"contains", dir + "/none", "x"}, 1, "…no such file"},
		{[]string{"mkdir", dir + "/a/b"}, 0, ""},
		{[]string{"rm", dir + "/t", dir + "/a", dir + "/none"}, 0, ""},
		{[]string{"exists", dir + "/t"}, 1, ""},
		{[]string{"ls", dir}, 0, "f\nlink\nw\n"},
		{[]string{"stat", file, link}, 0, file + " -rw-r----- 0640 " + owner + " 8\n" + link + " Lrwxrwxrwx 0777 " + owner + " 1 -> f\n"},
		{[]string{"env"}, 0, "A=1\nB=2\n"},
		{[]string{"env", "B"}, 0, "2\n"},
		{[]string{"env", "C"}, 1, ""},
		{[]string{"id"}, 0, "…uid=" + strconv.Itoa(os.Getuid())},
		{[]string{"sleep", "0.001"}, 0, ""},
		{[]string{"sleep", "1ms"}, 0, ""},
		{[]string{"sleep", "long"}, 1, "…sleep wants seconds"},
		{[]string{"kill", "-0", strconv.Itoa(os.Getpid())}, 0, ""},
		{[]string{"kill", "-WINCH", strconv.Itoa(os.Getpid())}, 0, ""},
		{[]string{"kill", "no"}, 1, "…kill wants a process ID"},
		{[]string{"kill", "-NOPE", "1"}, 1, "…no signal \"NOPE\""},
		{[]string{"nope"}, 2, "sidekick: no mode \"nope\"; run `sidekick help` for the list\n"},
		{[]string{"app", "--nope"}, 2, "…run `sidekick help app`"},
		{[]string{"stat"}, 2, "usage: sidekick stat PATH...\n"},
		{[]string{"help", "tcp"}, 0, "…--expect N"},
		{[]string{"tcp", "--help"}, 0, "…--expect N"},
		{[]string{"help"}, 0, "…Modes:"},
		{nil, 2, "…Modes:"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			out, code := once(t, tt.args...)
			part, contains := strings.CutPrefix(tt.out, "…")
			if code != tt.code || !contains && out != tt.out || contains && !strings.Contains(out, part) {
				t.Errorf("it ended with %d and printed %q; want %d and %q", code, out, tt.code, tt.out)
			}
		})
	}
}

func TestSleepEndsAtTERM(t *testing.T) {
	r := start(t, "sleep", "1h")
	r.signals <- syscall.SIGTERM
	if code := r.exit(t); code != 143 {
		t.Errorf("TERM ended it with %d; want 143", code)
	}
}

func TestALinkIsItsMode(t *testing.T) {
	r := &running{out: newTranscript()}
	p := &process{out: r.out, err: r.out}
	if code := run(t.Context(), p, []string{"/bin/echo", "app"}); code != 0 || r.out.String() != "app\n" {
		t.Errorf("/bin/echo ended with %d and printed %q; want 0 and app", code, r.out)
	}
}

func TestGet(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(r.Method + " " + r.Host + " " + r.Header.Get("X-A")))
	}))
	defer server.Close()
	tests := []struct {
		args []string
		code int
		out  string
	}{
		{[]string{server.URL}, 0, "GET " + strings.TrimPrefix(server.URL, "http://") + " "},
		{[]string{"--method", "PUT", "--header", "Host=shop.example", "--header", "X-A=b=c", server.URL}, 0, "PUT shop.example b=c"},
		{[]string{server.URL + "/missing"}, 1, "404 page not found\nsidekick: status 404\n"},
		{[]string{"http://127.0.0.1:1"}, 1, "sidekick: refused: dial tcp 127.0.0.1:1: connect: connection refused\n"},
	}
	for _, tt := range tests {
		if out, code := once(t, append([]string{"get"}, tt.args...)...); code != tt.code || out != tt.out {
			t.Errorf("get %v ended with %d and printed %q; want %d and %q", tt.args, code, out, tt.code, tt.out)
		}
	}
	if out, _ := once(t, "get", "--verbose", server.URL); !strings.HasPrefix(out, "200, from 127.0.0.1:") {
		t.Errorf("get --verbose printed %q; want the status and the ends first", out)
	}
}

func TestListenAndTCP(t *testing.T) {
	banner := start(t, "listen", "--send", "hello", "--close", "127.0.0.1:0")
	if out, code := once(t, "tcp", "--expect", "6", banner.address(t)); code != 0 || out != "hello\n" {
		t.Errorf("against a banner tcp ended with %d and printed %q; want 0 and hello", code, out)
	}
	echoes := start(t, "listen", "--echo", "127.0.0.1:0")
	at := echoes.address(t)
	if out, code := once(t, "tcp", "--send", "ping", "--expect", "5", at); code != 0 || out != "ping\n" {
		t.Errorf("against an echo tcp ended with %d and printed %q; want 0 and ping", code, out)
	}
	if out, code := once(t, "tcp", "--send", "x", "--expect", "3", "--timeout", "50ms", at); code != 1 || !strings.Contains(out, "timeout: expected 3 bytes") {
		t.Errorf("for more than comes tcp ended with %d and printed %q; want 1 and a time-out", code, out)
	}
	hangs := start(t, "listen", "--hang", "127.0.0.1:0")
	held, err := net.Dial("tcp", hangs.address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, r := range []*running{banner, echoes, hangs} {
		r.signals <- syscall.SIGTERM
		if code := r.exit(t); code != 0 {
			t.Errorf("TERM ended the server with %d; want 0", code)
		}
	}
}

func TestInit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open, file := l.Addr().String(), filepath.Join(t.TempDir(), "made", "f")
	tests := []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"it ends with 0 at once", nil, 0, ""},
		{"it ends with the code it is given", []string{"--exit-code", "3"}, 3, ""},
		{"what it requires is there", []string{"--require-tcp", open}, 0, open + " accepts connections"},
		{"what it requires is not there", []string{"--require-tcp", "127.0.0.1:1", "--within", "30ms"}, 1, "connection refused"},
		{"what must not be there is not", []string{"--require-no-tcp", "127.0.0.1:1"}, 0, "127.0.0.1:1 accepts none"},
		{"what must not be there is", []string{"--require-no-tcp", open}, 1, "was required not to"},
		{"it writes", []string{"--write", file + "=a=b"}, 0, ""},
		{"it must be told what to write", []string{"--write", file}, 1, "FILE=CONTENT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, code := once(t, append([]string{"init"}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.out) {
				t.Errorf("it ended with %d and printed %q; want %d and %q", code, out, tt.code, tt.out)
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "a=b" {
		t.Errorf("it wrote %q, error %v; want a=b", text, err)
	}
}

func TestQuitEndsAServer(t *testing.T) {
	seen := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Method + " " + r.URL.Path }))
	defer server.Close()
	if out, code := once(t, "quit", "--url", server.URL+"/quitquitquit"); code != 0 || seen != "POST /quitquitquit" {
		t.Errorf("it ended with %d and printed %q, and the server saw %q", code, out, seen)
	}
}
