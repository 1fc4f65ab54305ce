package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

const (
	// kubernetes is the release whose kubelet the probes introduce themselves as.
	kubernetes = "1.36"
	// attempts is how often a probe that cannot be made is tried before its result is thrown away (PB-20).
	attempts = 3
	// maxOutput bounds what is kept of a body or of a command's output, in bytes (PB-08).
	maxOutput = 10 << 10
	// lingerSeconds is the SO_LINGER of a probe's socket, the kubelet's own: the close waits this long at most
	// for the peer to acknowledge what was sent.
	lingerSeconds = 1
)

// A DialFunc connects to address from where probes are to come from. It must give up when ctx ends, and its
// error's text becomes part of the probe's output.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// An ExecFunc runs command in the target's container and returns its exit code and what it wrote to stdout and
// stderr together. When ctx ends it kills the command and returns. Its error says that the command could not be
// run or not be waited for; a command that ran and failed is no error.
type ExecFunc func(ctx context.Context, command []string) (code int, output []byte, err error)

// A Target is the container that is probed.
type Target struct {
	// Container is asked for its ports, where a probe names one, and for its env, where a command refers to it.
	Container *corev1.Container
	// PodIP is the pod's primary address: the host of every probe that names none.
	PodIP string
	// Exec is needed for exec probes only.
	Exec ExecFunc
}

// A Prober makes probes. Its zero value dials from the caller's own network namespace. It may be used by many
// goroutines at once, must not be copied after its first use, and needs no closing.
type Prober struct {
	// Dial makes the connections; nil means an ordinary dialler. It must not change after the first use.
	Dial DialFunc

	once  sync.Once
	probe *http.Transport // for probes
	hook  *http.Transport // for lifecycle hooks
}

// An Outcome is what a probe came to.
type Outcome struct {
	Result pod.Result
	// Warning marks a Success that Kubernetes reports with a ProbeWarning event (PB-09).
	Warning bool
	// Output is what Kubernetes shows of a failure or warning, in its own words, and the answer itself of a
	// success. 10 KiB at most.
	Output string
	// Err says why the Result is Unknown.
	Err error
}

// ProbeResult is the outcome in the planner's words. Like a kubelet's events it says nothing about a plain
// success; so a Success with an Output is a warning.
func (o Outcome) ProbeResult() pod.ProbeResult {
	r := pod.ProbeResult{Result: o.Result}
	switch {
	case o.Result == pod.Unknown && o.Err != nil:
		r.Output = o.Err.Error()
	case o.Result != pod.Success || o.Warning:
		r.Output = o.Output
	}
	return r
}

// Probe makes p once, the way a kubelet's worker does: an attempt that errs is repeated at once, three times in
// all, and is then Unknown (PB-20). Each attempt may take timeoutSeconds, 1 if unset (PB-01), and running out of
// that is a failure. Should ctx end first the outcome is Unknown, since that tells nothing about the container.
func (p *Prober) Probe(ctx context.Context, probe *corev1.Probe, t Target) Outcome {
	timeout := max(time.Duration(probe.TimeoutSeconds)*time.Second, time.Second)
	var o Outcome
	for range attempts {
		o = p.attempt(ctx, probe.ProbeHandler, t, timeout)
		if ctx.Err() != nil {
			return unknown(context.Cause(ctx))
		}
		if o.Result != pod.Unknown {
			break
		}
	}
	return o
}

var (
	errNoHandler = errors.New("the probe has no handler: give it one of httpGet, tcpSocket, grpc or exec")
	errNoExec    = errors.New("no way to run a command in the container")
	errNoAddress = errors.New("the pod has no address to probe; give the probe a host, or the pod a network")
)

func (p *Prober) attempt(ctx context.Context, h corev1.ProbeHandler, t Target, timeout time.Duration) Outcome {
	switch {
	case h.Exec != nil:
		return execute(ctx, h.Exec, t, timeout)
	case h.HTTPGet != nil:
		return p.httpGet(ctx, h.HTTPGet, t, timeout)
	case h.TCPSocket != nil:
		return p.tcpSocket(ctx, h.TCPSocket, t, timeout)
	case h.GRPC != nil:
		return p.grpc(ctx, h.GRPC, t, timeout)
	}
	return unknown(errNoHandler)
}

// dial connects for a probe, with the kubelet's linger on the socket.
func (p *Prober) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		if err := l.SetLinger(lingerSeconds); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// host is the host that a probe goes to: its own, or the pod's address (PB-03).
func (t Target) host(own string) (string, error) {
	if own != "" {
		return own, nil
	}
	if t.PodIP == "" {
		return "", errNoAddress
	}
	return t.PodIP, nil
}

func success(output string) Outcome { return Outcome{Result: pod.Success, Output: output} }
func failure(output string) Outcome { return Outcome{Result: pod.Failed, Output: output} }
func unknown(err error) Outcome     { return Outcome{Result: pod.Unknown, Err: err} }
