package request

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// A sender sends one request from where the process stands.
type sender struct {
	resolver *resolver // nil: the process's own
	response Response
}

// send sends r; what goes wrong is in the response.
func (s *sender) send(ctx context.Context, r Request) Response {
	began := time.Now()
	var err error
	if r.Protocol == HTTP {
		err = s.http(ctx, r)
	} else {
		err = s.tcp(ctx, r)
	}
	s.response.Elapsed = time.Since(began)
	if err != nil {
		s.response.Error, s.response.Detail = classify(ctx, err), err.Error()
	}
	return s.response
}

func (s *sender) http(ctx context.Context, r Request) error {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return err
	}
	for name, values := range r.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	if r.Host != "" {
		request.Host = r.Host
	}
	// Connecting is not left to the transport: it would do it on a goroutine that may outlive the request.
	conn, err := s.dial(ctx, "tcp", authority(request.URL))
	if err != nil {
		return err
	}
	defer conn.Close()
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true, DisableCompression: true,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	s.response.Status, s.response.Header = response.StatusCode, response.Header
	return s.keep(response.Body)
}

// authority is the host and port that a URL is served at.
func authority(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// keep reads a body, and one byte more than there is room for to see whether there is more.
func (s *sender) keep(from io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(from, MaxBody+1))
	s.response.Truncated = len(b) > MaxBody
	s.response.Body = b[:min(len(b), MaxBody)]
	return err
}

func (s *sender) tcp(ctx context.Context, r Request) error {
	conn, err := s.dial(ctx, "tcp", r.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // one that is closed has ended
	defer stop()
	if _, err := io.WriteString(conn, r.Send); err != nil {
		return err
	}
	if r.Expect == 0 {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(conn, int64(r.Expect)))
	s.response.Body = b
	if err == nil && len(b) == 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// dial resolves and connects, to one address after the other.
func (s *sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := s.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	for _, a := range addrs {
		s.response.Remote = net.JoinHostPort(a.String(), port)
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, s.response.Remote); err == nil {
			s.response.Local, s.response.Remote = conn.LocalAddr().String(), conn.RemoteAddr().String()
			return conn, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (s *sender) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if s.resolver != nil {
		return s.resolver.lookup(ctx, host)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// classify finds an error's class. The end of the time counts before what it caused.
func classify(ctx context.Context, err error) Class {
	var name *nameError
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Timeout
	case errors.As(err, &name), errors.As(err, &lookup):
		return DNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return Unreachable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Closed
	case strings.Contains(err.Error(), "server closed idle connection"): // net/http exports no value for it
		return Closed
	}
	return Other
}
