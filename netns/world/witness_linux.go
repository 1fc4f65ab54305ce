package world

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	firstBytes = 256
	// patience is how long a connection that shows nothing goes unreported.
	patience = time.Second
)

// A witness is a connection that is reported when it first shows something: its first request, its first bytes if
// the server asks for them, an answer, its end; or when it shows nothing for a second. It is always reported
// before the first byte is written.
type witness struct {
	net.Conn
	report func(Connection)
	timer  *time.Timer

	mu       sync.Mutex
	seen     Connection
	reported bool
}

func (w *World) witness(stub string, c net.Conn) *witness {
	v := &witness{Conn: c, report: w.report, seen: Connection{
		Stub: stub, Time: time.Now(), Source: addrPort(c.RemoteAddr()), Target: addrPort(c.LocalAddr()),
	}}
	v.mu.Lock()
	defer v.mu.Unlock()
	w.running.Add(1)
	v.timer = time.AfterFunc(patience, func() {
		defer w.running.Done()
		v.tell()
	})
	// A stopped timer's function never runs; whoever stops it answers for it.
	v.report = func(c Connection) {
		if v.timer.Stop() {
			w.running.Done()
		}
		w.report(c)
	}
	return v
}

// tell reports the connection unless that has been done.
func (v *witness) tell() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.reported {
		v.reported = true
		v.report(v.seen)
	}
}

// request reports a request on the connection.
func (v *witness) request(r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.Request++
	v.seen.Method, v.seen.Path, v.seen.Host = r.Method, r.URL.RequestURI(), r.Host
	told := v.seen
	if told.Request > 1 {
		told.Time = time.Now()
	}
	v.reported = true
	v.report(told)
}

func (v *witness) Read(b []byte) (int, error) {
	n, err := v.Conn.Read(b)
	v.mu.Lock()
	defer v.mu.Unlock()
	if room := firstBytes - len(v.seen.First); room > 0 && n > 0 && !v.reported {
		v.seen.First = append(v.seen.First, b[:min(n, room)]...)
	}
	return n, err
}

func (v *witness) Write(b []byte) (int, error) {
	v.tell()
	return v.Conn.Write(b)
}

func (v *witness) Close() error {
	v.tell()
	return v.Conn.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
