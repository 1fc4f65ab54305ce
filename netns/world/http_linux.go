package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// serveHTTP answers HTTP on l until the world closes. ctx ends what is being waited for.
func (w *World) serveHTTP(ctx context.Context, s Stub, l net.Listener) {
	type connKey struct{}
	server := &http.Server{
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				w.running.Add(1)
			case http.StateClosed, http.StateHijacked:
				w.running.Done()
			}
		},
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Context().Value(connKey{}).(*witness).request(r)
			s.HTTP.answer(rw, r)
		}),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // what a client does wrong is on record as its connection
	}
	w.running.Go(func() { _ = server.Serve(witnessing{l, w, s.Name}) }) // it says no more than that it was closed
	w.closes = append(w.closes, func() error {
		if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("stub %s: %w", s.Name, err)
		}
		return nil
	})
}

// witnessing is a listener whose connections are witnessed.
type witnessing struct {
	net.Listener
	world *World
	stub  string
}

func (l witnessing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.world.witness(l.stub, c), nil
}

func (h HTTP) answer(rw http.ResponseWriter, r *http.Request) {
	route, ok := h.route(r)
	if !ok {
		http.Error(rw, fmt.Sprintf("this stub has no route for %s %s", r.Method, r.URL.Path), http.StatusNotFound)
		return
	}
	if !wait(r.Context(), route.Delay) {
		panic(http.ErrAbortHandler) // the client or the world has gone: no answer
	}
	for name, values := range route.Header {
		rw.Header()[http.CanonicalHeaderKey(name)] = values
	}
	rw.WriteHeader(max(route.Status, http.StatusOK))
	io.WriteString(rw, route.Body)
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
