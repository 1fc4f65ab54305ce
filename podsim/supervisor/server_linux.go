package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/pod"
)

// A server answers for one pod, on a socket that only its owner and root may use.
//
//	GET  /pod        the object
//	GET  /watch      its versions from now on, one Event a line
//	POST /apply      a Request for the pod in another form
//	POST /ephemeral  an ephemeral container to add
//	POST /delete     with ?gracePeriodSeconds=N
type server struct {
	request Request // the pod and its resources as they were asked for last
	machine *host.Host
	object  *object
	asks    chan pod.Action
	over    chan struct{} // closed when the run is over: nobody takes an ask any more

	changing sync.Mutex // held while the pod is asked for in another form
	http     *http.Server
	serving  sync.WaitGroup
}

func (s *server) listen() error {
	path := s.request.Host.Site.Socket(s.machine.ID())
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("listen for commands: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pod", s.get)
	mux.HandleFunc("GET /watch", s.watch)
	mux.HandleFunc("POST /apply", s.apply)
	mux.HandleFunc("POST /ephemeral", s.ephemeral)
	mux.HandleFunc("POST /delete", s.delete)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.serving.Go(func() { _ = s.http.Serve(owned{l}) })
	return nil
}

// owned lets in only root and the user that the process runs as.
type owned struct{ *net.UnixListener }

// Accept returns the next connection of one who may ask; the others' are closed.
func (l owned) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil || mayAsk(c) {
			return c, err
		}
		_ = c.Close()
	}
}

func mayAsk(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return err == nil && cerr == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}

// closePatience is how long those who watch have to take the last versions.
const closePatience = 2 * time.Second

// close tells everybody that the pod is no more, and ends the server. The socket goes with the run.
func (s *server) close() error {
	s.object.end()
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if err := s.http.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(err, s.end())
	}
	return s.end()
}

// abandon ends the server, of a pod that goes on without it.
func (s *server) abandon() error {
	s.object.leave()
	return s.end()
}

func (s *server) end() error {
	close(s.over)
	err := s.http.Close()
	s.serving.Wait()
	return err
}

// ask has the driver take an action, and returns when it has.
func (s *server) ask(ctx context.Context, a pod.Action) error {
	n := s.object.asksTaken()
	select {
	case s.asks <- a:
		return s.object.awaitAsk(ctx, n)
	case <-s.over:
		return errGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(failureOf(err))
}

func (s *server) get(w http.ResponseWriter, _ *http.Request) {
	s.object.refresh(time.Now())
	p, _ := s.object.current()
	answer(w, p)
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	watcher := s.object.watch()
	defer s.object.unwatch(watcher)
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	for {
		events, more := watcher.next(r.Context())
		for _, e := range events {
			if out.Encode(e) != nil {
				return
			}
		}
		if flush.Flush() != nil || !more {
			return
		}
	}
}

// An applied is the answer to an apply.
type applied struct {
	Outcome Outcome     `json:"outcome"`
	Pod     *corev1.Pod `json:"pod"`
}

func (s *server) apply(w http.ResponseWriter, r *http.Request) {
	var asked Request
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		refuse(w, err)
		return
	}
	outcome, err := s.change(r.Context(), asked)
	if err != nil {
		refuse(w, err)
		return
	}
	p, _ := s.object.current()
	answer(w, applied{outcome, p})
}

// change has the pod be what is asked for, as far as a running pod can.
func (s *server) change(ctx context.Context, asked Request) (Outcome, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	now, status := s.object.current()
	c, err := changeOf(now, asked.Pod)
	if err != nil {
		return "", err
	}
	resources := changedResources(s.request.Resources, asked.Resources)
	what := append(c.what, resources...)
	if len(what) == 0 {
		return Unchanged, nil
	}
	if c.spec != nil && status.Gone() && !status.Deleting() {
		s.object.replace(c.spec)
	} else if c.spec != nil {
		if err := s.ask(ctx, pod.Action{Op: pod.OpUpdate, Pod: now.Name, Spec: c.spec, Why: "applied again: " + strings.Join(what, ", ")}); err != nil {
			return "", err
		}
	}
	if len(resources) > 0 {
		s.machine.SetResources(asked.Resources)
		s.request.Resources = asked.Resources
	}
	return Configured, s.machine.Refresh(ctx)
}

func (s *server) ephemeral(w http.ResponseWriter, r *http.Request) {
	var c corev1.EphemeralContainer
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		refuse(w, err)
		return
	}
	if err := s.addEphemeral(r.Context(), c); err != nil {
		refuse(w, err)
		return
	}
	p, _ := s.object.current()
	answer(w, p)
}

func (s *server) addEphemeral(ctx context.Context, c corev1.EphemeralContainer) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	now, status := s.object.current()
	if status.Ending() || status.Gone() {
		return &RefusedError{fmt.Sprintf("pod %s is ending, or has ended: no container can be added", now.Name)}
	}
	next := now.DeepCopy()
	if err := manifest.AddEphemeral(next, c); err != nil {
		return &host.InputError{Err: err}
	}
	return s.ask(ctx, pod.Action{Op: pod.OpUpdate, Pod: now.Name, Spec: next, Why: "an ephemeral container was added: " + c.Name})
}

func (s *server) delete(w http.ResponseWriter, r *http.Request) {
	a := pod.Action{Op: pod.OpDelete, Pod: s.request.Pod.Name, Why: "podsim delete"}
	if text := r.URL.Query().Get("gracePeriodSeconds"); text != "" {
		grace, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			refuse(w, &host.InputError{Err: err})
			return
		}
		a.Grace = &grace
	}
	s.changing.Lock()
	err := s.ask(r.Context(), a)
	s.changing.Unlock()
	if err != nil {
		refuse(w, err)
		return
	}
	p, _ := s.object.current()
	answer(w, p)
}
