package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// ask makes a request to a running app.
func ask(t *testing.T, url string) *fetched {
	t.Helper()
	got, err := fetch(t.Context(), &fetching{url: url, method: http.MethodGet, body: http.NoBody})
	if err != nil {
		t.Fatalf("get %s: %v", url, err)
	}
	return got
}

func TestAppAnswers(t *testing.T) {
	log := filepath.Join(t.TempDir(), "app.log")
	r := start(t, "app", "--listen", "127.0.0.1:0", "--name", "shop", "--log-file", log)
	at := r.address(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-From", "other")
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte("short and stout"))
	}))
	defer other.Close()

	tests := []struct {
		name, path string
		status     int
		contains   string
	}{
		{"the root says who answers", "/a?b=c", 200, "shop answers GET /a?b=c for " + at + ", from 127.0.0.1:"},
		{"health", "/healthz", 200, "ok"},
		{"ready", "/readyz", 200, "ready"},
		{"unready by request", "/readyz?set=false", 503, "not ready"},
		{"and still", "/readyz", 503, "not ready"},
		{"ready again", "/readyz?set=true", 200, "ready"},
		{"nonsense", "/readyz?set=maybe", 400, "true or false"},
		{"the environment, sorted", "/env", 200, "A=1\nB=2\n"},
		{"identity", "/id", 200, "uid=" + strconv.Itoa(os.Getuid())},
		{"echo", "/echo?x", 200, "GET /echo?x HTTP/1.1\nHost: " + at},
		{"a delay", "/delay?for=1ms", 200, "after 1ms"},
		{"a redirect", "/redirect?to=/id", 302, "/id"},
		{"a delay that is none", "/delay?for=long", 400, "for=2s"},
		{"a call passes on what came", "/call?url=" + other.URL, 418, "short and stout"},
		{"a call that is refused says so", "/call?url=http://127.0.0.1:1/", 502, "refused: "},
		{"a call to nowhere", "/call?url=nowhere", 400, "wants ?url="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, "http://"+at+tt.path)
			if got.status != tt.status || !strings.Contains(string(got.body), tt.contains) {
				t.Errorf("got %d with %q; want %d with %q", got.status, got.body, tt.status, tt.contains)
			}
		})
	}
	t.Run("a call names the connection's ends", func(t *testing.T) {
		got := ask(t, "http://"+at+"/call?url="+other.URL)
		if want := strings.TrimPrefix(other.URL, "http://"); got.header.Get("X-Sidekick-Remote") != want || got.header.Get("X-From") != "other" {
			t.Errorf("got headers %v; want X-Sidekick-Remote %s and X-From other", got.header, want)
		}
	})

	r.signals <- syscall.SIGTERM
	if code := r.exit(t); code != 0 {
		t.Errorf("TERM ended it with %d; want 0", code)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "GET /a?b=c 200 from 127.0.0.1:"; !strings.Contains(string(text), want) {
		t.Errorf("the log has no line with %q:\n%s", want, text)
	}
}

// The hand-made answer satisfies a real gRPC client.
func TestAppAnswersGRPCHealth(t *testing.T) {
	r := start(t, "app", "--listen", "127.0.0.1:0")
	at := r.address(t)
	conn, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, tt := range []struct {
		set  string
		want healthpb.HealthCheckResponse_ServingStatus
	}{{"true", healthpb.HealthCheckResponse_SERVING}, {"false", healthpb.HealthCheckResponse_NOT_SERVING}} {
		ask(t, "http://"+at+"/readyz?set="+tt.set)
		got, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "any"})
		if err != nil || got.GetStatus() != tt.want {
			t.Errorf("with ready set to %s got %v, error %v; want %v", tt.set, got.GetStatus(), err, tt.want)
		}
	}
}

func TestAppBecomesReadyAndUnhealthyInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{readyAfter: 3 * time.Second, unhealthyAfter: 10 * time.Second, up: time.Now()}
		codes := func() [2]int {
			ready, health := httptest.NewRecorder(), httptest.NewRecorder()
			a.readyz(ready, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			a.healthz(health, nil)
			return [2]int{ready.Code, health.Code}
		}
		for _, tt := range []struct {
			at   time.Duration
			want [2]int
		}{{2999 * time.Millisecond, [2]int{503, 200}}, {3 * time.Second, [2]int{200, 200}}, {10 * time.Second, [2]int{200, 500}}} {
			time.Sleep(tt.at - time.Since(a.up)) //nolint:forbidigo // virtual time
			if got := codes(); got != tt.want {
				t.Errorf("after %v ready and health are %v; want %v", tt.at, got, tt.want)
			}
		}
	})
}

func TestAppDies(t *testing.T) {
	t.Run("of /exit, with its code and without an answer", func(t *testing.T) {
		r := start(t, "app", "--listen", "127.0.0.1:0")
		_, err := fetch(t.Context(), &fetching{url: "http://" + r.address(t) + "/exit?code=7", method: http.MethodGet})
		if err == nil {
			t.Error("/exit was answered; want a broken connection")
		}
		if code := r.exit(t); code != 7 {
			t.Errorf("it ended with %d; want 7", code)
		}
	})
	t.Run("of the third request", func(t *testing.T) {
		r := start(t, "app", "--listen", "127.0.0.1:0", "--crash-after", "3")
		at := "http://" + r.address(t) + "/"
		ask(t, at)
		ask(t, at)
		if _, err := fetch(t.Context(), &fetching{url: at, method: http.MethodGet}); err == nil {
			t.Error("the third request was answered; want a broken connection")
		}
		if code := r.exit(t); code != 1 {
			t.Errorf("it ended with %d; want 1", code)
		}
	})
	t.Run("of a port that is taken, and says which", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, code := once(t, "app", "--listen", l.Addr().String())
		if code != 1 || !strings.Contains(out, "listen on "+l.Addr().String()) || !strings.Contains(out, "address already in use") {
			t.Errorf("it ended with %d and %q; want 1 and the address in use", code, out)
		}
	})
}

func TestHungAppAcceptsAndNeverAnswers(t *testing.T) {
	r := start(t, "app", "--listen", "127.0.0.1:0", "--hang")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := fetch(ctx, &fetching{url: "http://" + r.address(t) + "/healthz", method: http.MethodGet})
	if got := classify(err); err == nil || got != "timeout" {
		t.Errorf("got error %v, classed %s; want a time-out", err, got)
	}
}
