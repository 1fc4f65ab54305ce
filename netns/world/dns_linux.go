package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/podsim/podsim/netns"
)

// ttl of an answer, in seconds: that of a cluster's resolver.
const ttl = 5

// clusterDomain is never forwarded.
const clusterDomain = "cluster.local."

// openDNS starts the resolver on udp and tcp.
func (w *World) openDNS(ctx, servers context.Context) error {
	address := netip.AddrPortFrom(w.config.DNS, 53).String()
	r := resolver{names: w.config.names(), forward: w.config.Forward}
	handler := dns.HandlerFunc(func(rw dns.ResponseWriter, query *dns.Msg) { r.reply(servers, rw, query) })
	packets, err := netns.ListenPacket(ctx, w.config.Netns, "udp", address)
	if err != nil {
		return err
	}
	if err := w.serveDNS(ctx, &dns.Server{PacketConn: packets, Handler: handler}); err != nil {
		return err
	}
	streams, err := netns.Listen(ctx, w.config.Netns, "tcp", address)
	if err != nil {
		return err
	}
	return w.serveDNS(ctx, &dns.Server{Listener: streams, Handler: handler})
}

// serveDNS starts a server and waits until it can be shut down.
func (w *World) serveDNS(ctx context.Context, s *dns.Server) error {
	started, failed := make(chan struct{}), make(chan error, 1)
	s.NotifyStartedFunc = func() { close(started) }
	w.running.Go(func() { failed <- s.ActivateAndServe() })
	select {
	case <-started:
	case err := <-failed:
		return err
	case <-ctx.Done():
		<-started
	}
	w.closes = append(w.closes, func() error {
		if err := s.Shutdown(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("resolver: %w", err)
		}
		return nil
	})
	return context.Cause(ctx)
}

// names is what the resolver knows: fully qualified, in lower case.
func (c Config) names() map[string][]netip.Addr {
	out := make(map[string][]netip.Addr)
	for name, addrs := range c.Names {
		out[dns.CanonicalName(name)] = addrs
	}
	for _, s := range c.Stubs {
		for _, host := range append([]string{s.Name}, s.Hosts...) {
			out[dns.CanonicalName(host)] = s.Addresses
		}
	}
	return out
}

// A resolver answers queries.
type resolver struct {
	names   map[string][]netip.Addr
	forward []string
}

// reply answers one query. A forwarded one ends with ctx.
func (r resolver) reply(ctx context.Context, rw dns.ResponseWriter, query *dns.Msg) {
	answer := r.answer(ctx, query, rw.LocalAddr().Network())
	if rw.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		answer.Truncate(size)
	}
	_ = rw.WriteMsg(answer) // a client that has gone needs no answer
}

func (r resolver) answer(ctx context.Context, query *dns.Msg, network string) *dns.Msg {
	m := new(dns.Msg)
	if len(query.Question) != 1 || query.Opcode != dns.OpcodeQuery {
		return m.SetRcode(query, dns.RcodeNotImplemented)
	}
	q := query.Question[0]
	name := dns.CanonicalName(q.Name)
	addrs, known := r.names[name]
	switch {
	case known && q.Qclass == dns.ClassINET:
		m.SetReply(query)
		m.RecursionAvailable = true
		m.Answer = records(q, addrs)
		return m
	case len(r.forward) > 0 && name != clusterDomain && !strings.HasSuffix(name, "."+clusterDomain):
		return r.ask(ctx, query, network)
	}
	m.SetRcode(query, dns.RcodeNameError)
	m.RecursionAvailable = true
	return m
}

func records(q dns.Question, addrs []netip.Addr) []dns.RR {
	var out []dns.RR
	for _, a := range addrs {
		header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
		switch {
		case q.Qtype == dns.TypeA && a.Is4():
			out = append(out, &dns.A{Hdr: header, A: net.IP(a.AsSlice())})
		case q.Qtype == dns.TypeAAAA && a.Is6():
			out = append(out, &dns.AAAA{Hdr: header, AAAA: net.IP(a.AsSlice())})
		}
	}
	return out
}

// ask forwards a query to each server in turn until one answers.
func (r resolver) ask(ctx context.Context, query *dns.Msg, network string) *dns.Msg {
	client := dns.Client{Net: network, Timeout: 2 * time.Second}
	for _, server := range r.forward {
		answer, _, err := client.ExchangeContext(ctx, query, server)
		if err == nil {
			return answer
		}
	}
	return new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
}

// HostResolvers lists the servers that a resolv.conf file names, as Config.Forward wants them. The usual file
// is /etc/resolv.conf.
func HostResolvers(file string) ([]string, error) {
	c, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("read resolvers from %s: %w", file, err)
	}
	var out []string
	for _, server := range c.Servers {
		out = append(out, net.JoinHostPort(server, c.Port))
	}
	return out, nil
}
