package request

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"time"
)

// Command is the first argument of the helper process.
const Command = "__request"

// MaxBody is how many bytes of an answer are kept.
const MaxBody = 64 << 10

// A Protocol is how a request is made.
type Protocol string

// The protocols.
const (
	HTTP Protocol = "http"
	TCP  Protocol = "tcp"
)

// A Request is traffic to send.
type Request struct {
	Protocol Protocol
	// URL is an http request's target: http, or https with the host's certificate authorities. Host and Method may be
	// empty: the URL's, and GET.
	URL, Method, Host string
	Header            map[string][]string
	Body              string
	// Address is a tcp request's target, host:port. Send is written; then at most Expect bytes are read, until the end of
	// the stream. With Expect 0 the connection is closed after Send.
	Address, Send string
	Expect        int
}

// A Place is where a request is sent from. Empty fields are the process's own.
type Place struct {
	// Netns is the path of a network namespace.
	Netns string
	// Cgroup is a directory of the cgroup v2 hierarchy.
	Cgroup string
	// UID and GID are taken on, without further groups, if either is not nil; one that is nil is then 0.
	UID, GID *int
	// ResolvConf and Hosts are the contents of the container's /etc/resolv.conf and /etc/hosts. Names are resolved by
	// them alone: without a nameserver there, only what Hosts has.
	ResolvConf, Hosts string
}

// own reports whether the place is the process's own.
func (p Place) own() bool { return p.Netns == "" && p.Cgroup == "" && p.UID == nil && p.GID == nil }

// validate reports a user that is none. -1 in particular would mean "leave it as it is" to the kernel.
func (p Place) validate() error {
	for _, id := range []*int{p.UID, p.GID} {
		if id != nil && (*id < 0 || *id >= math.MaxUint32) {
			return fmt.Errorf("%d is no uid or gid", *id)
		}
	}
	return nil
}

// A Response is what came back. A failure of the network is a Response with an Error, not a Go error.
type Response struct {
	Error Class
	// Detail is the error's text.
	Detail string

	Status int                 // http
	Header map[string][]string // http
	// Body is the http body, or what a tcp request read: at most MaxBody bytes. Truncated says that there was more.
	Body      []byte
	Truncated bool

	// Local and Remote are the ends of the connection as the client saw them, host:port; empty if none was made.
	// They name its flow. After a failed attempt to connect, Remote is what was tried last.
	Local, Remote string
	// Elapsed is from the first attempt to connect, or to resolve, to the last byte.
	Elapsed time.Duration
}

// A Class is a kind of failure of the network.
type Class string

// The classes. The zero value is no failure.
const (
	Refused     Class = "refused"     // a reset answered the attempt to connect
	Reset       Class = "reset"       // the connection was reset
	Timeout     Class = "timeout"     // the time was up
	DNS         Class = "dns"         // the name could not be resolved
	Unreachable Class = "unreachable" // no route, or the network said so
	Closed      Class = "closed"      // the connection was closed before the answer
	Other       Class = "other"
)

// validate reports what cannot be sent.
func (r Request) validate() error {
	switch r.Protocol {
	case HTTP:
		u, err := url.Parse(r.URL)
		if err != nil {
			return err
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("%q is no http URL", r.URL)
		}
	case TCP:
		if _, port, err := net.SplitHostPort(r.Address); err != nil {
			return err
		} else if _, err := net.LookupPort("tcp", port); err != nil {
			return err
		}
		if r.Expect < 0 || r.Expect > MaxBody {
			return fmt.Errorf("expect %d bytes: at most %d can be kept", r.Expect, MaxBody)
		}
	default:
		return fmt.Errorf("protocol %q: there are %s and %s", r.Protocol, HTTP, TCP)
	}
	return nil
}

// A task is what the helper process is told.
type task struct {
	Request    Request
	ResolvConf string
	Hosts      string
	Drop       bool // take on the user
	UID, GID   int
	Timeout    time.Duration // zero: none
}

// A report is what the helper process answers.
type report struct {
	Response Response
	Failure  string // it could not even try
}
