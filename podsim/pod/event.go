package pod

import "time"

// A Kind says how an event relates to its action.
type Kind uint8

// The kinds of events.
const (
	_ Kind = iota
	// Began: the driver has handed the action on. The event carries the whole action.
	Began
	// Ended: the action is over. The event carries the action's Ref and its answer.
	Ended
	// Noted: something was seen that no action asked for; Note says what.
	Noted
)

var kindNames = [...]string{Began: "began", Ended: "ended", Noted: "noted"}

// Kinds lists the kinds in order.
func Kinds() []Kind { return enumerate[Kind](len(kindNames)) }

func (k Kind) String() string                { return enumString("Kind", kindNames[:], int(k)) }
func (k Kind) MarshalText() ([]byte, error)  { return enumText("Kind", kindNames[:], int(k)) }
func (k *Kind) UnmarshalText(b []byte) error { return enumParse("event kind", kindNames[:], b, k) }

// What a Noted event may say.
const (
	NoteRules     = "rules"     // interception rules are in force (Detail: whose)
	NoteConnected = "connected" // a stub accepted a connection (Connection)
	NoteWarning   = "warning"   // something the user should know once (Detail)
	NoteLedger    = "ledger"    // the flow ledger was loaded (Detail: when, relative to the rules)
	NotePulling   = "pulling"   // an image is not here, or not surely the newest, and is being fetched (Action names container and image)
	NoteRefused   = "refused"   // something asked for from outside came too late, or too early (Detail: what and why)
	NoteEnded     = "ended"     // the run is over, and reaped (Detail: what broke it, empty if nothing did); the last record
)

// An Event is one thing that was observed. Events are the only thing that changes a Status.
type Event struct {
	Kind Kind `json:"kind"`
	// Time is when it happened, as exactly as it is known: an exit's is the kernel's, not when it was noticed.
	Time   time.Time `json:"time"`
	Action Action    `json:"action,omitzero"`

	// Failure says that the action did not do what it was for, as a fact about the pod. (A failure of podsim
	// or of its host is an error of Host.Do, and ends the run.)
	Failure *Failure `json:"failure,omitempty"`

	Network  *Network     `json:"network,omitempty"`  // OpSetUp
	Image    *Image       `json:"image,omitempty"`    // OpPull
	Instance *Instance    `json:"instance,omitempty"` // OpCreate, OpStart
	Exit     *Exit        `json:"exit,omitempty"`     // OpAwait
	Probe    *ProbeResult `json:"probe,omitempty"`    // OpProbe
	Output   *Output      `json:"output,omitempty"`   // OpExec, OpRun, and OpHook of an exec
	Response *Response    `json:"response,omitempty"` // OpRequest
	Content  *Content     `json:"content,omitempty"`  // OpRead
	Ledger   *Ledger      `json:"ledger,omitempty"`   // OpFlows

	// Note, Detail and Connection are of Noted events. Subject is the stub's name, where there is one.
	Note       string      `json:"note,omitempty"`
	Subject    string      `json:"subject,omitempty"`
	Detail     string      `json:"detail,omitempty"`
	Connection *Connection `json:"connection,omitempty"`
}

// A Failure is why an action did not succeed: a Kubernetes reason (PH-14) and a message for people.
type Failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// Network is what a pod's set-up came to.
type Network struct {
	// PodIPs are the pod's addresses, the primary one first; only 127.0.0.1 for a pod without a network.
	PodIPs []string `json:"podIPs,omitempty"`
	HostIP string   `json:"hostIP,omitempty"`
}

// Image is what a pull came to.
type Image struct {
	// ID is the digest of the image's config. Ref names it by its repository and digest, and is what a status shows as
	// imageID; an image that came from no registry has none, and its ID is shown (PH-20).
	ID      string `json:"id,omitempty"`
	Ref     string `json:"ref,omitempty"`
	Present bool   `json:"present,omitempty"` // it was there already; nothing was fetched
	// Size is what was fetched, compressed, in bytes; 0 if nothing was.
	Size int64 `json:"size,omitempty"`
	// StopSignal is the image's STOPSIGNAL without SIG, empty for none (TM-14).
	StopSignal string `json:"stopSignal,omitempty"`
}

// Instance is one created or started container instance.
type Instance struct {
	// ContainerID is the runtime's, without a scheme.
	ContainerID string `json:"containerID,omitempty"`
	PID         int    `json:"pid,omitempty"` // OpStart: in the host's PID namespace
}

// Exit is how a container's main process ended.
type Exit struct {
	Code int `json:"code"` // 128+n for signal n, as runtimes report it
	// Signal is the signal's number where the code says that one ended it; 0 otherwise.
	Signal    int  `json:"signal,omitempty"`
	OOMKilled bool `json:"oomKilled,omitempty"`
	// Message is the termination message (MS-01, MS-02); LastLog the last log lines, for reports only.
	Message string   `json:"message,omitempty"`
	LastLog []string `json:"lastLog,omitempty"`
}

// A Result is what one probe attempt came to.
type Result uint8

// Results of a probe attempt. Unknown is an attempt that could not be made: thrown away (PB-20).
const (
	_ Result = iota
	Success
	Failed
	Unknown
)

var resultNames = [...]string{Success: "success", Failed: "failure", Unknown: "unknown"}

// Results lists the results in order.
func Results() []Result { return enumerate[Result](len(resultNames)) }

func (r Result) String() string                { return enumString("Result", resultNames[:], int(r)) }
func (r Result) MarshalText() ([]byte, error)  { return enumText("Result", resultNames[:], int(r)) }
func (r *Result) UnmarshalText(b []byte) error { return enumParse("result", resultNames[:], b, r) }

// ProbeResult is one probe attempt's outcome.
type ProbeResult struct {
	Result Result `json:"result"`
	Output string `json:"output,omitempty"`
}

// Output is what a command printed and how it ended. Both texts are cut to 64 KiB.
type Output struct {
	Code   int    `json:"code"`
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
}

// Response is what came back on a Request.
type Response struct {
	// Error is the class of a transport failure: refused, reset, timeout, dns, unreachable, closed or other;
	// empty if there was none. Detail is the error's text.
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`

	Status int                 `json:"status,omitempty"` // http
	Header map[string][]string `json:"header,omitempty"` // http
	Body   string              `json:"body,omitempty"`   // http body, or the bytes a tcp request read; cut to 64 KiB

	// Local and Remote are the connection's two ends as the client saw them, host:port; they name its flow.
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`
	// Elapsed is from the first packet to the last byte.
	Elapsed time.Duration `json:"elapsed,omitempty"`
}

// Content is what a Read found.
type Content struct {
	Missing bool   `json:"missing,omitempty"` // no such file, or no log yet
	Data    string `json:"data,omitempty"`    // cut to 1 MiB, from the end of a log and the start of a file
	Mode    uint32 `json:"mode,omitempty"`    // file: permission bits
	UID     int    `json:"uid,omitempty"`
	GID     int    `json:"gid,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Dir     bool   `json:"dir,omitempty"`
}

// A Connection is one that a stub accepted.
type Connection struct {
	Source string `json:"source"` // host:port as the stub saw it
	Target string `json:"target"` // host:port that was asked for
	First  string `json:"first,omitempty"`
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Host   string `json:"host,omitempty"`
}
