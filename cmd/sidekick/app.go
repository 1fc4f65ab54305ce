package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// grace bounds how long a server waits for the requests it is answering when it is asked to end.
const grace = 5 * time.Second

var appMode = &mode{
	name:    "app",
	summary: "An HTTP server, with health, readiness and outbound calls",
	details: `
Paths:
  /          who answered: the app's name, the request, and where it came from
  /healthz   200; 500 once --unhealthy-after has passed
  /readyz    503 until --ready-after has passed, then 200; ?set=true or false changes it
  /call      ?url=URL: makes that request and passes on what came; 502 and a reason if nothing did
  /env       the environment
  /id        process, user and host
  /echo      the request's headers and body
  /delay     ?for=D: answers after D
  /redirect  ?to=URL: 302 to there
  /exit      ?code=N: the process dies with N
  grpc.health.v1.Health/Check over plain-text HTTP/2, by the same state as /readyz`,
	setup: func(fs *flag.FlagSet) action {
		a := &app{listen: list{values: []string{":8080"}}}
		a.conduct.flags(fs)
		fs.Var(&a.listen, "listen", "`ADDRESS` to serve on; may be repeated")
		fs.StringVar(&a.name, "name", "", "`NAME` that / answers with (default the host's name)")
		fs.DurationVar(&a.readyAfter, "ready-after", 0, "not ready until `D` after coming up")
		fs.DurationVar(&a.unhealthyAfter, "unhealthy-after", 0, "unhealthy from `D` after coming up")
		fs.DurationVar(&a.callTimeout, "call-timeout", 5*time.Second, "time-out `D` of an outbound call")
		fs.StringVar(&a.logFile, "log-file", "", "append a line for each request to `FILE` too; stdout has it always")
		return a.run
	},
}

// An app is the HTTP application of the examples.
type app struct {
	conduct
	listen         list
	name           string
	readyAfter     time.Duration
	unhealthyAfter time.Duration
	callTimeout    time.Duration
	logFile        string

	up   time.Time
	log  *lines
	mu   sync.Mutex
	told *bool // readiness that was set by request
}

func (a *app) run(ctx context.Context, p *process, _ []string) error {
	if a.name == "" {
		a.name, _ = os.Hostname()
	}
	out := []io.Writer{p.out}
	if a.logFile != "" {
		f, err := os.OpenFile(a.logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
		defer f.Close()
		out = append(out, f)
	}
	a.log = &lines{out: out}
	return a.conduct.run(ctx, p, func(ctx context.Context) error { return a.serve(ctx, p) })
}

func (a *app) serve(ctx context.Context, p *process) error {
	a.up = time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.root)
	mux.HandleFunc("/healthz", a.healthz)
	mux.HandleFunc("/readyz", a.readyz)
	mux.HandleFunc("/call", a.call)
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, strings.Join(slices.Sorted(slices.Values(p.environ)), "\n"))
	})
	mux.HandleFunc("/id", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, identity()) })
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/delay", delay)
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	mux.HandleFunc("/exit", a.exit)
	mux.HandleFunc("/grpc.health.v1.Health/Check", a.grpcHealth)
	return serveHTTP(ctx, a.listen.values, a.log, a.gate(mux))
}

// gate counts and logs each request, and lets it wait for ever where the app is to hang.
func (a *app) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.conduct.serve() {
			panic(http.ErrAbortHandler)
		}
		if a.hang {
			<-r.Context().Done()
			return
		}
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(seen, r)
		a.log.printf("%s %s %d from %s", r.Method, r.URL.RequestURI(), seen.code, r.RemoteAddr)
	})
}

func (a *app) root(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s answers %s %s for %s, from %s\n", a.name, r.Method, r.URL.RequestURI(), r.Host, r.RemoteAddr)
}

func (a *app) healthz(w http.ResponseWriter, _ *http.Request) {
	if a.unhealthyAfter > 0 && time.Since(a.up) >= a.unhealthyAfter {
		http.Error(w, "unhealthy", http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (a *app) readyz(w http.ResponseWriter, r *http.Request) {
	if set := r.URL.Query().Get("set"); set != "" {
		ready, err := strconv.ParseBool(set)
		if err != nil {
			http.Error(w, "set wants true or false", http.StatusBadRequest)
			return
		}
		a.mu.Lock()
		a.told = &ready
		a.mu.Unlock()
	}
	if !a.ready() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (a *app) ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told != nil {
		return *a.told
	}
	return time.Since(a.up) >= a.readyAfter
}

func (a *app) exit(_ http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil {
		code = 1
	}
	a.stop(exit(code))
	panic(http.ErrAbortHandler) // a crash answers nothing
}

// call makes a request outward on a connection of its own, and passes on what came.
func (a *app) call(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(r.URL.Query().Get("url"))
	if err != nil || target.Host == "" {
		http.Error(w, "call wants ?url=http://host/path", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.callTimeout)
	defer cancel()
	got, err := fetch(ctx, &fetching{url: target.String(), method: r.Method, body: r.Body})
	if err != nil {
		http.Error(w, fmt.Sprintf("%s: %v", classify(err), err), http.StatusBadGateway)
		return
	}
	for k, v := range got.header {
		if k != "Connection" && k != "Content-Length" && k != "Transfer-Encoding" && k != "Date" {
			w.Header()[k] = v
		}
	}
	w.Header().Set("X-Sidekick-Local", got.local)
	w.Header().Set("X-Sidekick-Remote", got.remote)
	w.WriteHeader(got.status)
	w.Write(got.body)
}

func echo(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s\nHost: %s\n", r.Method, r.URL.RequestURI(), r.Proto, r.Host)
	// A write that fails has lost its client, here and below.
	_ = r.Header.Write(w)
	io.WriteString(w, "\n")
	_, _ = io.Copy(w, r.Body)
}

func delay(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil {
		http.Error(w, "delay wants ?for=2s", http.StatusBadRequest)
		return
	}
	if wait(r.Context(), d) {
		fmt.Fprintf(w, "after %v\n", d)
	}
}

// serveHTTP serves h, over HTTP/1.1 and plain-text HTTP/2, on all addresses until ctx ends. When that is by TERM,
// requests that are being answered may finish.
func serveHTTP(ctx context.Context, addresses []string, log *lines, h http.Handler) error {
	server := &http.Server{Handler: h, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	var listeners []net.Listener
	for _, address := range addresses {
		l, err := listen(ctx, "tcp", address)
		if err != nil {
			server.Close()
			closeAll(listeners)
			return err
		}
		listeners = append(listeners, l)
		log.printf("listening on %s", l.Addr())
	}
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- server.Serve(l) }()
	}
	left := len(listeners)
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-ended:
		left--
	}
	if errors.Is(context.Cause(ctx), errTerm) {
		finish(ctx, server, log)
	}
	server.Close()
	for range left {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			failure = errors.Join(failure, err)
		}
	}
	return failure
}

// finish lets the requests that are being answered come to their end, within a grace.
func finish(ctx context.Context, server *http.Server, log *lines) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.printf("requests still open after %v are dropped", grace)
	}
}

// listen opens a TCP listener without MPTCP, which Go asks for by default: SO_ORIGINAL_DST does not work on a
// connection that an MPTCP client made.
func listen(ctx context.Context, network, address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}

// A status remembers the code that was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) { s.code = code; s.ResponseWriter.WriteHeader(code) }

// Unwrap lets http.ResponseController reach the writer below.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// lines writes whole lines, one at a time, to several places.
type lines struct {
	mu  sync.Mutex
	out []io.Writer
}

func (l *lines) printf(format string, args ...any) {
	line := fmt.Appendf(nil, format+"\n", args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.out {
		_, _ = w.Write(line) // if stdout is gone, there is nowhere to say so
	}
}
