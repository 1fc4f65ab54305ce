package main

import (
	"io"
	"net"
	"sync"
)

// connections are those that are open now. Its zero value is empty.
type connections struct {
	mu    sync.Mutex
	open  map[net.Conn]struct{}
	empty chan struct{} // closed when the last one goes; nil if nobody waits
	over  bool          // closeAll was called: what comes now is closed at once
}

// add remembers conn; what it returns closes and forgets it.
func (c *connections) add(conn net.Conn) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[net.Conn]struct{}{}
	}
	c.open[conn] = struct{}{}
	if c.over {
		conn.Close()
	}
	return func() {
		conn.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
		if len(c.open) == 0 && c.empty != nil {
			close(c.empty)
			c.empty = nil
		}
	}
}

func (c *connections) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// none is closed once no connection is open. It is for one waiter.
func (c *connections) none() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	empty := make(chan struct{})
	if len(c.open) == 0 {
		close(empty)
		return empty
	}
	c.empty = empty
	return empty
}

// closeAll closes every connection, and every one that is added from now on; their owners forget them.
func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for conn := range c.open {
		conn.Close()
	}
}

// splice copies both ways until both sides have ended, and passes on each side's end as it comes, so that a
// half-closed connection stays useful. A side that breaks takes the other with it.
func splice(a, b *net.TCPConn) {
	var both sync.WaitGroup
	one := func(to, from *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil {
			abort(to)
			abort(from)
			return
		}
		_ = to.CloseWrite()
	}
	both.Go(func() { one(a, b) })
	both.Go(func() { one(b, a) })
	both.Wait()
}
