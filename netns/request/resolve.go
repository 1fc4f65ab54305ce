package request

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A resolver resolves names as a container's C library would: hosts file, then the nameservers of its resolv.conf,
// with its search list, ndots, timeout and attempts.
type resolver struct {
	hosts map[string][]netip.Addr
	conf  *dns.ClientConfig
}

func newResolver(resolvConf, hosts string) (resolver, error) {
	conf, err := dns.ClientConfigFromReader(strings.NewReader(resolvConf))
	if err != nil {
		return resolver{}, fmt.Errorf("read resolv.conf: %w", err)
	}
	return resolver{hosts: parseHosts(hosts), conf: conf}, nil
}

func parseHosts(text string) map[string][]netip.Addr {
	out := make(map[string][]netip.Addr)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = dns.CanonicalName(name)
			out[name] = append(out[name], addr)
		}
	}
	return out
}

// A nameError is a name that could not be resolved.
type nameError struct {
	name string
	err  error
}

func (e *nameError) Error() string { return fmt.Sprintf("resolve %s: %v", e.name, e.err) }
func (e *nameError) Unwrap() error { return e.err }

var (
	errNoSuchName   = errors.New("no such name")
	errNoNameserver = errors.New("it is not in the hosts file, and resolv.conf names no server")
)

// lookup resolves a name, IPv4 addresses first. An IP literal is itself. Errors are *nameError, but for ctx's end.
func (r resolver) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if addrs := r.hosts[dns.CanonicalName(name)]; len(addrs) > 0 {
		return addrs, nil
	}
	if len(r.conf.Servers) == 0 {
		return nil, &nameError{name, errNoNameserver}
	}
	last := errNoSuchName
	for _, candidate := range r.conf.NameList(name) {
		addrs, err := r.ask(ctx, candidate)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err == nil && len(addrs) > 0:
			return addrs, nil
		case err != nil && !errors.Is(err, errNoSuchName):
			last = err
		}
	}
	return nil, &nameError{name, last}
}

// ask asks for one full name: its A records, and its AAAA records if it has none.
func (r resolver) ask(ctx context.Context, name string) ([]netip.Addr, error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		answer, err := r.query(ctx, name, kind)
		if err != nil {
			return nil, err
		}
		if addrs := addresses(answer); len(addrs) > 0 {
			return addrs, nil
		}
	}
	return nil, errNoSuchName
}

// query asks the servers in turn, as often as resolv.conf says; over tcp where udp has no room for the answer.
func (r resolver) query(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(name, kind)
	var last error
	for range max(r.conf.Attempts, 1) {
		for _, server := range r.conf.Servers {
			address := net.JoinHostPort(server, r.conf.Port)
			answer, err := r.exchange(ctx, "udp", address, question)
			if err == nil && answer.Truncated {
				answer, err = r.exchange(ctx, "tcp", address, question)
			}
			switch {
			case err != nil:
				last = err
			case answer.Rcode == dns.RcodeSuccess:
				return answer, nil
			case answer.Rcode == dns.RcodeNameError:
				return nil, errNoSuchName
			default:
				last = fmt.Errorf("%s answered %s", address, dns.RcodeToString[answer.Rcode])
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
	}
	return nil, last
}

func (r resolver) exchange(ctx context.Context, network, address string, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(r.conf.Timeout, 1))*time.Second)
	defer cancel()
	client := dns.Client{Net: network}
	answer, _, err := client.ExchangeContext(ctx, question, address)
	return answer, err
}

func addresses(m *dns.Msg) []netip.Addr {
	var out []netip.Addr
	for _, rr := range m.Answer {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, a.Unmap())
		}
	}
	return out
}
