package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestTCPProbe(t *testing.T) {
	open, closed := silent(t), closedPort(t)
	container := &corev1.Container{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(open)}}}

	t.Run("PB-04: a connection is a success", func(t *testing.T) {
		dialler := &counting{}
		if o := (&Prober{Dial: dialler.dial}).Probe(t.Context(), tcpSocket(open), loopback); o.Result != pod.Success {
			t.Errorf("got %v with %q; want success", o.Result, o.Output)
		}
		if n := dialler.open.Load(); n != 0 {
			t.Errorf("%d connections are still open; want none", n)
		}
	})
	t.Run("PB-10: a named port is the container's own", func(t *testing.T) {
		probe := tcpSocket(0)
		probe.TCPSocket.Port = intstr.FromString("web")
		if o := new(Prober).Probe(t.Context(), probe, Target{PodIP: "127.0.0.1", Container: container}); o.Result != pod.Success {
			t.Errorf("got %v, error %v; want success", o.Result, o.Err)
		}
	})
	t.Run("PB-03: the probe's host wins over the pod's address", func(t *testing.T) {
		probe := tcpSocket(open)
		probe.TCPSocket.Host = "127.0.0.1"
		if o := new(Prober).Probe(t.Context(), probe, Target{PodIP: "192.0.2.1"}); o.Result != pod.Success {
			t.Errorf("got %v with %q; want success", o.Result, o.Output)
		}
	})
	t.Run("a refused connection is a failure", func(t *testing.T) {
		o := new(Prober).Probe(t.Context(), tcpSocket(closed), loopback)
		want := fmt.Sprintf("dial tcp 127.0.0.1:%d: connect: connection refused", closed)
		if o.Result != pod.Failed || o.Output != want {
			t.Errorf("got %v with %q; want failure with %q", o.Result, o.Output, want)
		}
	})
	t.Run("running out of time is a failure", func(t *testing.T) {
		p := &Prober{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			<-ctx.Done() // a network that swallows everything
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		o := p.Probe(t.Context(), tcpSocket(80), loopback)
		if want := "dial tcp 127.0.0.1:80: i/o timeout"; o.Result != pod.Failed || o.Output != want {
			t.Errorf("got %v with %q; want failure with %q", o.Result, o.Output, want)
		}
	})
	t.Run("the socket lingers as the kubelet's does", func(t *testing.T) {
		var socket lingering
		p := &Prober{Dial: func(context.Context, string, string) (net.Conn, error) { return &socket, nil }}
		if o := p.Probe(t.Context(), tcpSocket(80), loopback); o.Result != pod.Success || socket.seconds != 1 || !socket.closed {
			t.Errorf("got %v, linger %d s, closed %v; want success, 1 s, closed", o.Result, socket.seconds, socket.closed)
		}
	})
}

type lingering struct {
	net.Conn
	seconds int
	closed  bool
}

func (l *lingering) SetLinger(sec int) error { l.seconds = sec; return nil }
func (l *lingering) Close() error            { l.closed = true; return nil }

func TestResolvePort(t *testing.T) {
	c := &corev1.Container{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}, {Name: "99", ContainerPort: 9}, {Name: "zero"}}}
	tests := []struct {
		name string
		port intstr.IntOrString
		in   *corev1.Container
		want int // 0: an error
	}{
		{"a number stands for itself", intstr.FromInt32(80), c, 80},
		{"a number needs no container", intstr.FromInt32(80), nil, 80},
		{"a name is looked up", intstr.FromString("web"), c, 8080},
		{"a name that looks like a number is a name first", intstr.FromString("99"), c, 9},
		{"a number in quotes is a number", intstr.FromString("8081"), c, 8081},
		{"a number in quotes needs no container", intstr.FromString("8081"), nil, 8081},
		{"an unknown name is an error", intstr.FromString("admin"), c, 0},
		{"zero is an error", intstr.FromInt32(0), c, 0},
		{"a named zero is an error", intstr.FromString("zero"), c, 0},
		{"too large is an error", intstr.FromInt32(65536), c, 0},
		{"negative is an error", intstr.FromString("-1"), c, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ResolvePort(tt.port, tt.in)
			if got != tt.want || (err != nil) != (tt.want == 0) {
				t.Errorf("got %d, error %v; want %d", got, err, tt.want)
			}
		})
	}
}

// PB-20: what cannot even be tried is tried three times, and is then no result.
func TestErrorsAreTriedThreeTimes(t *testing.T) {
	broken := errors.New("no such executable")
	calls := 0
	target := Target{Exec: func(context.Context, []string) (int, []byte, error) { calls++; return 0, nil, broken }}
	o := new(Prober).Probe(t.Context(), execProbe("x"), target)
	if o.Result != pod.Unknown || !errors.Is(o.Err, broken) || calls != 3 {
		t.Errorf("got %v, error %v after %d tries; want unknown, %v after 3", o.Result, o.Err, calls, broken)
	}

	calls = 0
	target.Exec = func(context.Context, []string) (int, []byte, error) {
		if calls++; calls < 3 {
			return 0, nil, broken
		}
		return 0, []byte("third time lucky"), nil
	}
	if o := new(Prober).Probe(t.Context(), execProbe("x"), target); o.Result != pod.Success || calls != 3 {
		t.Errorf("got %v after %d tries; want success after 3", o.Result, calls)
	}
}
