package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// serveTCP answers on l until the world closes.
func (w *World) serveTCP(ctx context.Context, s Stub, l net.Listener) {
	w.running.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				if !wait(ctx, 10*time.Millisecond) { // out of descriptors, for instance: it passes
					return
				}
				continue
			}
			w.running.Go(func() { w.attend(ctx, s, c) })
		}
	})
	w.closes = append(w.closes, func() error {
		if err := l.Close(); err != nil {
			return fmt.Errorf("stub %s: %w", s.Name, err)
		}
		return nil
	})
}

// attend serves one connection to its end.
func (w *World) attend(ctx context.Context, s Stub, c net.Conn) {
	v := w.witness(s.Name, c)
	done := make(chan struct{})
	w.running.Go(func() { // the world's end is the connection's
		select {
		case <-ctx.Done():
			c.Close()
		case <-done:
		}
	})
	defer close(done)
	defer v.Close()
	s.TCP.behave(ctx, v)
}

// behave does what the mode says. Errors of the connection are its end.
func (p TCP) behave(ctx context.Context, v *witness) {
	switch p.Mode {
	case Reset:
		v.tell()
		wait(ctx, p.Delay)
		_ = v.Conn.(*net.TCPConn).SetLinger(0)
	case Hang:
		v.tell()
		<-ctx.Done()
	case Silent:
		b := make([]byte, 4096)
		for {
			if _, err := v.Read(b); err != nil {
				return
			}
			v.tell()
		}
	case Banner:
		v.tell()
		if !wait(ctx, p.Delay) {
			return
		}
		if _, err := io.WriteString(v, p.Banner); err != nil {
			return
		}
		echo(v)
	case Echo:
		b := make([]byte, 4096)
		n, err := v.Read(b)
		v.tell()
		if !wait(ctx, p.Delay) {
			return
		}
		if _, werr := v.Write(b[:n]); err != nil || werr != nil {
			return
		}
		echo(v)
	}
}

// echo sends back what comes, to the end of what comes or of the connection.
func echo(v *witness) {
	_, _ = io.Copy(struct{ io.Writer }{v}, struct{ io.Reader }{v})
}
