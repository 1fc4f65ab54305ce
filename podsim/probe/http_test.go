package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

func TestHTTPProbeResults(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/elsewhere":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/once":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/big":
			w.Write(make([]byte, 3*maxOutput))
		case "/broken":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			var code int
			if _, err := fmt.Sscanf(r.URL.Path, "/status/%d", &code); err == nil {
				w.WriteHeader(code)
				return
			}
			io.WriteString(w, "ok "+r.URL.RequestURI())
		}
	}
	_, port := serve(t, handler)
	closed := closedPort(t)

	tests := []struct {
		name    string
		probe   *corev1.Probe
		result  pod.Result
		warning bool
		output  string // exactly, or a part of it when it begins with "…"
	}{
		{"PB-02: 200 succeeds with its body", httpGet(port, "/fine"), pod.Success, false, "ok /fine"},
		{"a query is passed on", httpGet(port, "/fine?a=b"), pod.Success, false, "ok /fine?a=b"},
		{"a path without a slash is passed on below the root", httpGet(port, "fine"), pod.Success, false, "ok /fine"},
		{"an empty path asks for the root", httpGet(port, ""), pod.Success, false, "ok /"},
		{"PB-02: 204 succeeds", httpGet(port, "/status/204"), pod.Success, false, ""},
		{"PB-02: 399 succeeds, with a warning", httpGet(port, "/status/399"), pod.Success, true, "Probe terminated redirects, Response body: "},
		{"PB-02: 400 fails", httpGet(port, "/status/400"), pod.Failed, false, "HTTP probe failed with statuscode: 400"},
		{"PB-02: 503 fails", httpGet(port, "/status/503"), pod.Failed, false, "HTTP probe failed with statuscode: 503"},
		{"PB-09: a redirect to its own host is followed", httpGet(port, "/once"), pod.Success, false, "ok /ok"},
		{"PB-09: a redirect to another host succeeds, with a warning", httpGet(port, "/elsewhere"), pod.Success, true,
			"…Probe terminated redirects, Response body: <a href=\"http://elsewhere.invalid/\">"},
		{"PB-09: a loop of redirects fails after ten", httpGet(port, "/loop"), pod.Failed, false,
			`Get "/loop": stopped after 10 redirects`},
		{"PB-08: of a body 10 KiB are kept", httpGet(port, "/big"), pod.Success, false, string(make([]byte, maxOutput))},
		{"PB-20: a body that breaks off says nothing", httpGet(port, "/broken"), pod.Unknown, false, ""},
		{"a refused connection fails", httpGet(closed, "/x"), pod.Failed, false,
			fmt.Sprintf(`Get "http://127.0.0.1:%d/x": dial tcp 127.0.0.1:%d: connect: connection refused`, closed, closed)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := new(Prober).Probe(t.Context(), tt.probe, loopback)
			part, contains := strings.CutPrefix(tt.output, "…")
			if got.Result != tt.result || got.Warning != tt.warning ||
				!contains && got.Output != tt.output || contains && !strings.Contains(got.Output, part) {
				t.Errorf("got %v (warning %v) with output %q, error %v; want %v (warning %v) with %q",
					got.Result, got.Warning, got.Output, got.Err, tt.result, tt.warning, tt.output)
			}
		})
	}
}

// PB-08: what a server sees of a probe.
func TestHTTPProbeRequest(t *testing.T) {
	var seen *http.Request
	_, port := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen = r })
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // must be ignored

	tests := []struct {
		name    string
		headers []corev1.HTTPHeader
		host    string
		want    map[string]string // "" means absent
	}{
		{"a plain probe introduces itself as the kubelet", nil, fmt.Sprintf("127.0.0.1:%d", port),
			map[string]string{"User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close", "Accept-Encoding": ""}},
		{"a Host header becomes the request's host", []corev1.HTTPHeader{{Name: "Host", Value: "shop.example"}}, "shop.example", nil},
		{"own headers win", []corev1.HTTPHeader{{Name: "user-agent", Value: "mine"}, {Name: "X-Token", Value: "t"}, {Name: "Accept", Value: "text/plain"}},
			fmt.Sprintf("127.0.0.1:%d", port), map[string]string{"User-Agent": "mine", "X-Token": "t", "Accept": "text/plain"}},
		{"an empty Accept is left out", []corev1.HTTPHeader{{Name: "Accept", Value: ""}}, fmt.Sprintf("127.0.0.1:%d", port),
			map[string]string{"Accept": "", "User-Agent": "kube-probe/1.36"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			probe := httpGet(port, "/")
			probe.HTTPGet.HTTPHeaders = tt.headers
			if o := new(Prober).Probe(t.Context(), probe, loopback); o.Result != pod.Success {
				t.Fatalf("the probe came to %v: %s%v", o.Result, o.Output, o.Err)
			}
			if seen.Method != http.MethodGet || seen.Host != tt.host {
				t.Errorf("the server saw %s for host %q; want GET for %q", seen.Method, seen.Host, tt.host)
			}
			// The server takes Connection out of the headers and into Close.
			headers := seen.Header.Clone()
			if seen.Close {
				headers.Set("Connection", "close")
			}
			for k, v := range tt.want {
				if headers.Get(k) != v {
					t.Errorf("the server saw %s: %q; want %q", k, headers.Get(k), v)
				}
			}
		})
	}
}

// PB-08: a certificate that nobody signed is no failure, over HTTP/1.1 and HTTP/2.
func TestHTTPSProbeVerifiesNothing(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("with h2 offered: %v", h2), func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, r.Proto)
			}))
			s.EnableHTTP2 = h2
			s.StartTLS()
			defer s.Close()
			probe := httpGet(portOf(t, s.URL), "/")
			probe.HTTPGet.Scheme = corev1.URISchemeHTTPS
			want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]
			if o := new(Prober).Probe(t.Context(), probe, loopback); o.Result != pod.Success || o.Output != want {
				t.Errorf("got %v with %q; want success with %s", o.Result, o.Output, want)
			}
		})
	}
}

func TestHTTPProbeKeepsNoConnection(t *testing.T) {
	_, port := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	dialler := &counting{}
	p := &Prober{Dial: dialler.dial}
	for i := range 3 {
		if o := p.Probe(t.Context(), httpGet(port, "/"), loopback); o.Result != pod.Success {
			t.Fatalf("probe %d came to %v: %s", i, o.Result, o.Output)
		}
	}
	if n := dialler.dialled.Load(); n != 3 {
		t.Errorf("three probes dialled %d times; want a connection each", n)
	}
}

// A server that hangs costs the time-out, in the kubelet's words, and no more.
func TestHungServerTimesOut(t *testing.T) {
	port := silent(t)
	https := httpGet(port, "/")
	https.HTTPGet.Scheme = corev1.URISchemeHTTPS
	tests := []struct {
		name  string
		probe *corev1.Probe
		part  string
	}{
		{"http", httpGet(port, "/"), "(Client.Timeout exceeded while awaiting headers)"},
		{"https", https, "(Client.Timeout exceeded while awaiting headers)"},
		{"grpc", grpcProbe(port, nil), `timeout: failed to connect service "127.0.0.1:`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			o := new(Prober).Probe(t.Context(), tt.probe, loopback)
			if o.Result != pod.Failed || !strings.Contains(o.Output, tt.part) {
				t.Errorf("got %v with %q; want failure with %q", o.Result, o.Output, tt.part)
			}
			if spent := time.Since(begin); spent < time.Second {
				t.Errorf("gave up after %v; want the default of 1 s (PB-01)", spent)
			}
		})
	}
}

// An attempt that was called off says nothing about the container.
func TestCancelledProbeIsUnknown(t *testing.T) {
	stop := errors.New("the pod is going")
	for name, probe := range map[string]*corev1.Probe{
		"http": httpGet(80, "/"), "tcp": tcpSocket(80), "grpc": grpcProbe(80, nil),
		"exec": {ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			p := &Prober{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				cancel(stop)
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			target := loopback
			target.Exec = func(ctx context.Context, _ []string) (int, []byte, error) {
				cancel(stop)
				<-ctx.Done()
				return 0, nil, ctx.Err()
			}
			o := p.Probe(ctx, probe, target)
			if o.Result != pod.Unknown || !errors.Is(o.Err, stop) {
				t.Errorf("got %v with %q, error %v; want unknown because %v", o.Result, o.Output, o.Err, stop)
			}
		})
	}
}

// An address that swallows everything must not gather dials: net/http would let them go on by themselves.
func TestTimedOutProbeLeavesNoDial(t *testing.T) {
	ended := make(chan error, 1)
	p := &Prober{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	if o := p.Probe(t.Context(), httpGet(80, "/"), loopback); o.Result != pod.Failed {
		t.Errorf("got %v, error %v; want failure", o.Result, o.Err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the dial went on for ten seconds after its probe")
	}
}

func TestProbeOfAPodWithoutAddressIsUnknown(t *testing.T) {
	for name, probe := range map[string]*corev1.Probe{"http": httpGet(80, "/"), "tcp": tcpSocket(80), "grpc": grpcProbe(80, nil)} {
		if o := new(Prober).Probe(t.Context(), probe, Target{}); o.Result != pod.Unknown || !errors.Is(o.Err, errNoAddress) {
			t.Errorf("%s: got %v, error %v; want unknown because %v", name, o.Result, o.Err, errNoAddress)
		}
	}
}

func TestProbeWithoutHandlerIsUnknown(t *testing.T) {
	if o := new(Prober).Probe(t.Context(), &corev1.Probe{}, loopback); o.Result != pod.Unknown || o.Err == nil {
		t.Errorf("got %+v; want unknown with an error", o)
	}
}

func TestOutcomeInThePlannersWords(t *testing.T) {
	tests := []struct {
		name string
		in   Outcome
		want pod.ProbeResult
	}{
		{"a success says nothing", success("the whole page"), pod.ProbeResult{Result: pod.Success}},
		{"a warning speaks", Outcome{Result: pod.Success, Warning: true, Output: "w"}, pod.ProbeResult{Result: pod.Success, Output: "w"}},
		{"a failure speaks", failure("f"), pod.ProbeResult{Result: pod.Failed, Output: "f"}},
		{"unknown says why", unknown(errNoExec), pod.ProbeResult{Result: pod.Unknown, Output: errNoExec.Error()}},
	}
	for _, tt := range tests {
		if got := tt.in.ProbeResult(); got != tt.want {
			t.Errorf("%s: got %+v; want %+v", tt.name, got, tt.want)
		}
	}
}
