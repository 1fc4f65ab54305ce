package world

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Stub is one server outside the pod. It answers HTTP, TCP or both.
type Stub struct {
	Name string
	// Hosts are the names under which the resolver knows it, beside Name.
	Hosts []string
	// Addresses are where it listens. They must be the world's (Prepare). At least one.
	Addresses []netip.Addr
	HTTP      *HTTP
	TCP       *TCP
}

// HTTP is a stub's HTTP/1.1 server.
type HTTP struct {
	Port int
	// Routes are tried in order. A request that none fits is answered with 404, and recorded like any other.
	Routes []Route
}

// A Route is the answer to the requests that fit it.
type Route struct {
	Method string // empty: any
	// Path is the whole path, without a query; one that ends in /* stands for all below it; empty: any.
	Path   string
	Status int // 0: 200
	Header map[string][]string
	Body   string
	// Delay is waited before the answer, after the request was recorded.
	Delay time.Duration
}

// TCP is a stub's plain server.
type TCP struct {
	Port int
	Mode Mode
	// Banner is what a server of the mode Banner says first.
	Banner string
	// Delay is waited before the first byte of an answer, or the reset.
	Delay time.Duration
}

// A Mode is how a plain server behaves.
type Mode uint8

// The modes.
const (
	_      Mode = iota
	Echo        // sends back what it reads
	Banner      // speaks first, then echoes
	Silent      // reads and never answers
	Hang        // never reads
	Reset       // answers a connection with a reset
)

var modeNames = [...]string{Echo: "echo", Banner: "banner", Silent: "silent", Hang: "hang", Reset: "reset"}

// Modes lists the modes in order.
func Modes() []Mode { return []Mode{Echo, Banner, Silent, Hang, Reset} }

// String is the mode's name.
func (m Mode) String() string {
	if m > 0 && int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// MarshalText is the mode's name; a value that is none is an error.
func (m Mode) MarshalText() ([]byte, error) {
	if m == 0 || int(m) >= len(modeNames) {
		return nil, fmt.Errorf("no such mode: %d", uint8(m))
	}
	return []byte(modeNames[m]), nil
}

// UnmarshalText reads a mode's name.
func (m *Mode) UnmarshalText(text []byte) error {
	i := slices.Index(modeNames[:], string(text))
	if i <= 0 {
		return fmt.Errorf("no such mode: %q (there are %s)", text, strings.Join(modeNames[1:], ", "))
	}
	*m = Mode(i)
	return nil
}

// A Connection is one that a stub accepted, or one of the further requests on it.
type Connection struct {
	Stub string
	// Time is when the connection was accepted; for a Request after the first, when that was read.
	Time time.Time
	// Source is the client as the stub saw it, Target what it asked for.
	Source, Target netip.AddrPort
	// First is what the client sent first, at most 256 bytes, as far as it was read.
	First []byte
	// Request counts the HTTP requests on the connection from 1; 0: it has shown none. Each is reported. Method, Path
	// (with the query) and Host are the request's.
	Request            int
	Method, Path, Host string
}

// validate reports what the stub cannot be.
func (s Stub) validate() error {
	switch {
	case s.Name == "":
		return errors.New("a stub has no name")
	case len(s.Addresses) == 0:
		return fmt.Errorf("stub %s has no address", s.Name)
	case s.HTTP == nil && s.TCP == nil:
		return fmt.Errorf("stub %s serves nothing: give it http or tcp", s.Name)
	}
	if h := s.HTTP; h != nil {
		if h.Port < 1 || h.Port > 65535 {
			return fmt.Errorf("stub %s: %d is no port", s.Name, h.Port)
		}
		for _, r := range h.Routes {
			if r.Status != 0 && (r.Status < 200 || r.Status > 599) {
				return fmt.Errorf("stub %s: route %s: status %d is none of 200 to 599", s.Name, r.Path, r.Status)
			}
		}
	}
	if p := s.TCP; p != nil {
		if p.Port < 1 || p.Port > 65535 {
			return fmt.Errorf("stub %s: %d is no port", s.Name, p.Port)
		}
		if _, err := p.Mode.MarshalText(); err != nil {
			return fmt.Errorf("stub %s: %w", s.Name, err)
		}
	}
	return nil
}

// route finds what answers a request.
func (h HTTP) route(r *http.Request) (Route, bool) {
	for _, route := range h.Routes {
		if (route.Method == "" || route.Method == r.Method) && pathFits(route.Path, r.URL.Path) {
			return route, true
		}
	}
	return Route{}, false
}

func pathFits(pattern, path string) bool {
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path == below || strings.HasPrefix(path, below+"/")
	}
	return pattern == "" || pattern == path
}
