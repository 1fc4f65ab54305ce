package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
)

var listenMode = &mode{
	name:    "listen",
	args:    "ADDRESS...",
	summary: "A TCP server that says a word, echoes, or keeps silent",
	least:   1, most: -1,
	setup: func(fs *flag.FlagSet) action {
		l := &tcpServer{}
		l.conduct.flags(fs)
		fs.StringVar(&l.banner, "send", "", "`TEXT` to send on each connection first, with a newline")
		fs.BoolVar(&l.echo, "echo", false, "send back what comes; otherwise it is read and dropped")
		fs.BoolVar(&l.once, "close", false, "close each connection at once (after --send)")
		return l.run
	},
}

var runMode = &mode{
	name:    "run",
	summary: "Nothing at all, until TERM",
	setup: func(fs *flag.FlagSet) action {
		c := &conduct{}
		c.flags(fs)
		return func(ctx context.Context, p *process, _ []string) error {
			return c.run(ctx, p, func(ctx context.Context) error { <-ctx.Done(); return nil })
		}
	},
}

// A tcpServer is a plain TCP server.
type tcpServer struct {
	conduct
	banner     string
	echo, once bool
}

func (l *tcpServer) run(ctx context.Context, p *process, addresses []string) error {
	log := &lines{out: []io.Writer{p.out}}
	return l.conduct.run(ctx, p, func(ctx context.Context) error {
		var running sync.WaitGroup
		defer running.Wait()
		var open connections
		defer open.closeAll()
		for _, address := range addresses {
			listener, err := listen(ctx, "tcp", address)
			if err != nil {
				return err
			}
			defer listener.Close()
			log.printf("listening on %s", listener.Addr())
			running.Go(func() { l.accept(ctx, listener, &open, log) })
		}
		<-ctx.Done()
		return nil
	})
}

func (l *tcpServer) accept(ctx context.Context, from net.Listener, open *connections, log *lines) {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer open.closeAll()
	for {
		conn, err := from.Accept()
		if err != nil {
			if ctx.Err() == nil {
				log.printf("accept: %v", err)
			}
			return
		}
		log.printf("connection from %s", conn.RemoteAddr())
		handlers.Go(func() {
			defer open.add(conn)()
			l.handle(ctx, conn.(*net.TCPConn))
		})
	}
}

func (l *tcpServer) handle(ctx context.Context, conn *net.TCPConn) {
	if !l.conduct.serve() {
		abort(conn)
		return
	}
	if l.hang {
		<-ctx.Done()
		return
	}
	if l.banner != "" {
		fmt.Fprintln(conn, l.banner)
	}
	switch {
	case l.once:
	case l.echo:
		_, _ = io.Copy(conn, conn) // until the client ends it, one way or the other
	default:
		_, _ = io.Copy(io.Discard, conn)
	}
}
