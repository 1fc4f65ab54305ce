package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/podsim/podsim/netns"
)

// A World is the running servers. Its Close joins them.
type World struct {
	config Config
	stop   context.CancelFunc // ends the servers' context
	closes []func() error     // in the order of opening

	running sync.WaitGroup
}

// Open starts the stubs and the resolver; all of them listen when it returns. After an error nothing is left. ctx
// bounds the opening only. The caller closes the world.
func Open(ctx context.Context, c Config) (*World, error) {
	for _, s := range c.Stubs {
		if err := s.validate(); err != nil {
			return nil, fmt.Errorf("open world: %w", err)
		}
	}
	servers, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &World{config: c, stop: stop}
	if err := w.open(ctx, servers); err != nil {
		return nil, errors.Join(fmt.Errorf("open world: %w", err), w.Close())
	}
	return w, nil
}

// open starts everything. What it starts ends with the context servers.
func (w *World) open(ctx, servers context.Context) error {
	for _, s := range w.config.Stubs {
		for _, a := range s.Addresses {
			if err := w.openStub(ctx, servers, s, a); err != nil {
				return fmt.Errorf("stub %s: %w", s.Name, err)
			}
		}
	}
	if w.config.DNS.IsValid() {
		if err := w.openDNS(ctx, servers); err != nil {
			return fmt.Errorf("resolver: %w", err)
		}
	}
	return nil
}

func (w *World) openStub(ctx, servers context.Context, s Stub, a netip.Addr) error {
	if s.HTTP != nil {
		l, err := w.listen(ctx, a, s.HTTP.Port)
		if err != nil {
			return err
		}
		w.serveHTTP(servers, s, l)
	}
	if s.TCP != nil {
		l, err := w.listen(ctx, a, s.TCP.Port)
		if err != nil {
			return err
		}
		w.serveTCP(servers, s, l)
	}
	return nil
}

func (w *World) listen(ctx context.Context, a netip.Addr, port int) (net.Listener, error) {
	return netns.Listen(ctx, w.config.Netns, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(port)))
}

// Close ends all servers and connections and waits for them. It is idempotent. It must not be called from
// OnConnection.
func (w *World) Close() error {
	w.stop()
	var errs []error
	for _, close := range w.closes {
		errs = append(errs, close())
	}
	w.closes = nil
	w.running.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close world: %w", err)
	}
	return nil
}

func (w *World) report(c Connection) {
	if w.config.OnConnection != nil {
		w.config.OnConnection(c)
	}
}
