package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var proxyMode = &mode{
	name:    "proxy",
	summary: "A transparent TCP proxy behind redirect rules, as a mesh's sidecar is",
	details: `
It takes connections that nat rules have redirected to its two ports, asks the kernel where each was meant to go
(SO_ORIGINAL_DST, IPv4 and IPv6), and dials on: outbound ones to their original destination, inbound ones to the
app. It dials before it reads, so a protocol whose server speaks first works. It refuses, and says so, to dial
its own ports, and to take a connection that it opened itself: either would be a loop.

Each connection is one line: what it was, from where, to where, by which onward connection, or why not.

The admin port has /healthz/ready (200 once the ports are open and --ready-after has passed; 503 while draining),
/stats (JSON) and, for POST, /quitquitquit.`,
	setup: func(fs *flag.FlagSet) action {
		p := &proxy{}
		p.conduct.flags(fs)
		fs.IntVar(&p.outbound, "outbound", 15001, "`PORT` that outbound connections are redirected to")
		fs.IntVar(&p.inbound, "inbound", 15006, "`PORT` that inbound connections are redirected to")
		fs.StringVar(&p.admin, "admin", ":15021", "`ADDRESS` of the admin server; empty for none")
		fs.StringVar(&p.inboundTo, "inbound-to", "localhost", "where inbound connections go on to: `WHERE` is localhost (127.0.0.1 or ::1) or original (the pod's own address)")
		fs.StringVar(&p.inboundFrom, "inbound-from", "", "source `ADDRESS` of inbound connections towards the app; Istio's is 127.0.0.6")
		fs.DurationVar(&p.readyAfter, "ready-after", 0, "not ready until `D` after coming up")
		fs.DurationVar(&p.drain, "drain", 5*time.Second, "after TERM wait up to `D` for open connections")
		fs.DurationVar(&p.dialTimeout, "dial-timeout", 5*time.Second, "time-out `D` of a dial onward")
		return p.run
	},
}

// A proxy is the transparent proxy of the examples.
type proxy struct {
	conduct
	outbound, inbound      int
	admin                  string
	inboundTo, inboundFrom string
	readyAfter             time.Duration
	drain, dialTimeout     time.Duration

	source   netip.Addr // inboundFrom, parsed
	log      *lines
	up       time.Time
	draining atomic.Bool
	open     connections // that clients made
	ups      connections // that the proxy made, onward
	own      ownPorts
	counts   struct{ outbound, inbound, failed, refused atomic.Int64 }
}

// A leg is one of the proxy's two directions.
type leg string

const (
	outward leg = "outbound"
	inward  leg = "inbound"
)

// errLoop says that going on would bring the connection back to the proxy.
var errLoop = errors.New("refused, it would be a loop")

func (p *proxy) run(ctx context.Context, proc *process, _ []string) error {
	if p.inboundTo != "localhost" && p.inboundTo != "original" {
		return fmt.Errorf("--inbound-to is localhost or original, not %q", p.inboundTo)
	}
	if p.inboundFrom != "" {
		var err error
		if p.source, err = netip.ParseAddr(p.inboundFrom); err != nil {
			return fmt.Errorf("--inbound-from: %w", err)
		}
	}
	p.log = &lines{out: []io.Writer{proc.out}}
	return p.conduct.run(ctx, proc, p.work)
}

// work serves until ctx ends, and drains if that was by TERM.
func (p *proxy) work(ctx context.Context) error {
	// What goes on while draining, the admin server above all, ends last, and for the reason that ctx did.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer func() { end(context.Cause(ctx)) }()

	listeners, err := p.listen(ctx)
	if err != nil {
		return err
	}
	p.up = time.Now()
	for _, l := range listeners {
		running.Go(func() { p.accept(life, l) })
	}
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	admin := make(chan error, 1)
	running.Go(func() { admin <- p.serveAdmin(life) })

	select {
	case <-ctx.Done():
	case err := <-admin:
		return err
	}
	if errors.Is(context.Cause(ctx), errTerm) {
		p.finish()
	}
	p.open.closeAll()
	p.ups.closeAll()
	return nil
}

// finish waits for the open connections, no longer than the drain time.
func (p *proxy) finish() {
	p.draining.Store(true)
	p.log.printf("draining %d connections", p.open.len())
	t := time.NewTimer(p.drain)
	defer t.Stop()
	select {
	case <-p.open.none():
	case <-t.C:
		p.log.printf("%d connections still open after %v are dropped", p.open.len(), p.drain)
	}
}

// A listener is a port of the proxy in one address family, and the leg it serves.
type listener struct {
	net.Listener
	leg leg
}

// listen opens both ports in both families; a machine without IPv6 does with one.
func (p *proxy) listen(ctx context.Context) ([]listener, error) {
	var out []listener
	for _, at := range []struct {
		leg  leg
		port int
	}{{outward, p.outbound}, {inward, p.inbound}} {
		for _, network := range []string{"tcp4", "tcp6"} {
			address := map[string]string{"tcp4": "0.0.0.0", "tcp6": "::"}[network]
			l, err := listen(ctx, network, net.JoinHostPort(address, strconv.Itoa(at.port)))
			if err != nil && network == "tcp6" && noIPv6(err) {
				p.log.printf("%s: no IPv6 here", at.leg)
				continue
			}
			if err != nil {
				for _, l := range out {
					l.Close()
				}
				return nil, err
			}
			out = append(out, listener{l, at.leg})
			p.log.printf("%s listening on %s", at.leg, l.Addr())
		}
	}
	return out, nil
}

// accept hands each connection to a goroutine of its own, and joins them when the listener closes.
func (p *proxy) accept(life context.Context, l listener) {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			p.log.printf("%s: accept: %v", l.leg, err)
			if !wait(life, 10*time.Millisecond) { // out of descriptors, most likely
				return
			}
			continue
		}
		handlers.Go(func() {
			defer p.open.add(conn)()
			p.handle(life, l.leg, conn.(*net.TCPConn))
		})
	}
}

// handle takes one connection to where it was meant to go.
func (p *proxy) handle(life context.Context, l leg, down *net.TCPConn) {
	if !p.conduct.serve() {
		abort(down)
		return
	}
	if p.hang {
		<-life.Done()
		return
	}
	p.count(l)
	meant, err := originalDestination(down)
	if err != nil {
		p.fail(l, down, "?", err)
		return
	}
	up, err := p.onward(life, l, down, meant)
	if err != nil {
		p.fail(l, down, meant.String(), err)
		return
	}
	defer p.own.remove(addrPort(up.LocalAddr()).Port())
	defer p.ups.add(up)()
	p.log.printf("%s %s to %s via %s to %s", l, down.RemoteAddr(), meant, up.LocalAddr(), up.RemoteAddr())
	splice(down, up)
}

func (p *proxy) count(l leg) {
	if l == outward {
		p.counts.outbound.Add(1)
		return
	}
	p.counts.inbound.Add(1)
}

// fail says why a connection goes nowhere, and resets it, so that the client learns it at once.
func (p *proxy) fail(l leg, down *net.TCPConn, meant string, err error) {
	if errors.Is(err, errLoop) {
		p.counts.refused.Add(1)
	} else {
		p.counts.failed.Add(1)
	}
	p.log.printf("%s %s to %s failed: %v", l, down.RemoteAddr(), meant, err)
	abort(down)
}

// abort closes conn with a reset.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// serveAdmin answers the admin port until life ends.
func (p *proxy) serveAdmin(life context.Context) error {
	if p.admin == "" {
		<-life.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz/ready", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case p.hang:
			<-r.Context().Done()
		case p.draining.Load():
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case time.Since(p.up) < p.readyAfter:
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ready")
		}
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"outbound":%d,"inbound":%d,"failed":%d,"refused":%d,"open":%d}`+"\n", p.counts.outbound.Load(),
			p.counts.inbound.Load(), p.counts.failed.Load(), p.counts.refused.Load(), p.open.len())
	})
	mux.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "bye")
		p.stop(errTerm)
	})
	return serveHTTP(life, []string{p.admin}, p.log, mux)
}
