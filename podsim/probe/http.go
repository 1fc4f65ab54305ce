package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxRedirects bounds how many redirects of its own host a request follows (PB-09).
const maxRedirects = 10

// httpGet requests and judges: 200 to 399 is success, anything else and every transport error is failure (PB-02).
// A body that breaks off is an error, as in a kubelet: the attempt says nothing (PB-20).
func (p *Prober) httpGet(ctx context.Context, get *corev1.HTTPGetAction, t Target, timeout time.Duration) Outcome {
	ctx, end := bounded(ctx)
	defer end()
	req, err := request(ctx, get, t, "probe")
	if err != nil {
		return unknown(err)
	}
	p.transports()
	// The time-out is the client's, not the context's, so that its error reads as the kubelet's does.
	client := &http.Client{Transport: p.probe, Timeout: timeout, CheckRedirect: sameHost}
	resp, err := client.Do(req)
	if err != nil {
		return failure(err.Error())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	if err != nil {
		return unknown(fmt.Errorf("read the probe's response: %w", err))
	}
	switch code := resp.StatusCode; {
	case code < 200 || code >= 400:
		return failure(fmt.Sprintf("HTTP probe failed with statuscode: %d", code))
	case code >= 300:
		o := success("Probe terminated redirects, Response body: " + string(body))
		o.Warning = true
		return o
	}
	return success(string(body))
}

// transports makes both transports on first use. Neither keeps a connection, verifies a certificate, or asks a
// proxy (PB-08).
func (p *Prober) transports() {
	p.once.Do(func() {
		insecure := &tls.Config{InsecureSkipVerify: true} // PB-08: a kubelet does not verify
		p.probe = &http.Transport{
			DialContext:        p.dialBounded,
			TLSClientConfig:    insecure,
			DisableKeepAlives:  true,
			DisableCompression: true, // a kubelet sends no Accept-Encoding
			ForceAttemptHTTP2:  true, // but it does offer h2 to a TLS server
		}
		p.hook = &http.Transport{DialContext: p.dialBounded, TLSClientConfig: insecure.Clone(), DisableKeepAlives: true}
	})
}

// bound is the key under which a request's context carries the context that ends with the attempt.
type bound struct{}

// bounded returns a context for the requests of one attempt, and what ends the attempt. A transport dials and
// shakes hands detached from the request, in the hope that another will want the connection; none ever will here,
// and against a server that hangs, they would pile up. The detached context keeps its values: so the end of the
// attempt travels as one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	attempt, end := context.WithCancel(context.WithoutCancel(ctx))
	return context.WithValue(ctx, bound{}, attempt), end
}

// dialBounded dials for a request: when its attempt ends, the dial is given up, or the connection closed.
func (p *Prober) dialBounded(ctx context.Context, network, address string) (net.Conn, error) {
	attempt := ctx.Value(bound{}).(context.Context)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(attempt, cancel)
	conn, err := p.dial(ctx, network, address)
	stop()
	if err != nil {
		return nil, err
	}
	context.AfterFunc(attempt, func() { _ = conn.Close() })
	return conn, nil
}

// request builds the GET of a probe or a hook: purpose is the second half of the User-Agent's name.
func request(ctx context.Context, get *corev1.HTTPGetAction, t Target, purpose string) (*http.Request, error) {
	port, err := ResolvePort(get.Port, t.Container)
	if err != nil {
		return nil, err
	}
	host, err := t.host(get.Host)
	if err != nil {
		return nil, err
	}
	target := location(string(get.Scheme), host, port, get.Path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = header(get.HTTPHeaders, "kube-"+purpose+"/"+kubernetes)
	req.Host = req.Header.Get("Host")
	return req, nil
}

// location is the URL that is asked for. A path that does not parse is passed on as it is.
func location(scheme, host string, port int, path string) *url.URL {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	u.Scheme = "http"
	if scheme != "" {
		u.Scheme = strings.ToLower(scheme)
	}
	u.Host = net.JoinHostPort(host, strconv.Itoa(port))
	return u
}

// header holds the probe's own headers, and a User-Agent and an Accept where it gives none. An Accept given as
// empty is left out altogether.
func header(own []corev1.HTTPHeader, userAgent string) http.Header {
	h := make(http.Header, len(own)+2)
	for _, o := range own {
		h.Add(o.Name, o.Value)
	}
	if _, given := h["User-Agent"]; !given {
		h.Set("User-Agent", userAgent)
	}
	if accept, given := h["Accept"]; !given {
		h.Set("Accept", "*/*")
	} else if accept[0] == "" {
		h.Del("Accept")
	}
	return h
}

// sameHost follows redirects to the host that was asked first, whatever the port, and stops at any other with
// the redirect itself as the answer (PB-09).
func sameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}
