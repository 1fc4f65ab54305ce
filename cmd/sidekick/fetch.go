package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"syscall"
)

// maxFetched bounds how much of an answer is kept, in bytes.
const maxFetched = 1 << 20

// A fetching is one HTTP request to make.
type fetching struct {
	url, method string
	header      http.Header
	host        string
	body        io.Reader
}

// A fetched is what came back on it, and the two ends of the connection it came on.
type fetched struct {
	status        int
	header        http.Header
	body          []byte
	local, remote string
}

// fetch makes one request on a connection of its own, and follows no redirect.
func fetch(ctx context.Context, f *fetching) (*fetched, error) {
	got := &fetched{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		got.local, got.remote = c.Conn.LocalAddr().String(), c.Conn.RemoteAddr().String()
	}})
	req, err := http.NewRequestWithContext(ctx, f.method, f.url, f.body)
	if err != nil {
		return nil, err
	}
	if f.header != nil {
		req.Header = f.header
	}
	req.Host = f.host
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got.status, got.header = resp.StatusCode, resp.Header
	if got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxFetched)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return got, nil
}

// converse makes a connection, sends a line if there is one, and copies what comes to out until expect bytes have come.
func converse(ctx context.Context, out io.Writer, address, send string, expect int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", classify(err), err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a connection that is closed says so below
	}
	if send != "" {
		if _, err := fmt.Fprintln(conn, send); err != nil {
			return fmt.Errorf("%s: send: %w", classify(err), err)
		}
	}
	if _, err := io.CopyN(out, conn, int64(expect)); err != nil {
		return fmt.Errorf("%s: expected %d bytes: %w", classify(err), expect, err)
	}
	return nil
}

// classify puts a transport error in one word.
func classify(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	}
	return "other"
}
