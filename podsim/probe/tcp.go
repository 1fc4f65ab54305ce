package probe

import (
	"context"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// tcpSocket succeeds when a connection is made (PB-04). It sends nothing and closes at once.
func (p *Prober) tcpSocket(ctx context.Context, socket *corev1.TCPSocketAction, t Target, timeout time.Duration) Outcome {
	port, err := ResolvePort(socket.Port, t.Container)
	if err != nil {
		return unknown(err)
	}
	host, err := t.host(socket.Host)
	if err != nil {
		return unknown(err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := p.dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return failure(err.Error())
	}
	// The connection was made, and that is what was asked: how it closes says nothing more.
	_ = conn.Close()
	return success("")
}
