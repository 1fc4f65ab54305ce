package pod

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Kubelet is how the kubelet behaves that the planner stands for. An OpUp carries it, so that a timeline says all of
// it. Its zero value is DefaultVersion's kubelet as it comes, with podsim's own clock: it acts at once on what it sees.
type Kubelet struct {
	// Version says which feature gates are on; Gates turns single ones on or off.
	Version Version       `json:"version,omitzero"`
	Gates   map[Gate]bool `json:"gates,omitempty"`
	// Pace is how fast back-offs pass.
	Pace Pace `json:"backoff,omitzero"`
	// MaxBackOff is the kubelet's crashLoopBackOff.maxContainerRestartPeriod, 1 to 300 s; 0: as the release has it
	// (BO-07).
	MaxBackOff time.Duration `json:"maxBackOff,omitempty"`
	// Ticks is what the ticks of probes are counted from (PB-21).
	Ticks Ticks `json:"ticks,omitzero"`
	// Poll is how often the kubelet looks whether a container has ended, where no sync has just told it (ST-14). A real
	// one does every second; 0: it is told at once.
	Poll time.Duration `json:"poll,omitempty"`
	// Pause is how long after a container's start the next sync begins that starts another one, as a sidecar's start is
	// followed by that of the container after it (ST-14). A real kubelet has to see the first one run, and then to create
	// the second; 0: it begins at once, with a container that was created ahead.
	Pause time.Duration `json:"pause,omitempty"`
}

// On reports whether a gate is on.
func (k Kubelet) On(g Gate) bool { return gatesOf(k.Version, k.Gates).has(g) }

// Check says what is wrong with the options, as an error for the user; nil if nothing is.
func (k Kubelet) Check() error {
	switch {
	case k.Version != 0 && (k.Version < FirstVersion || k.Version > LastVersion):
		return fmt.Errorf("podsim cannot follow Kubernetes %s: use one of %s to %s", k.Version, FirstVersion, LastVersion)
	case k.MaxBackOff != 0 && (k.MaxBackOff < time.Second || k.MaxBackOff > backOffMax):
		return fmt.Errorf("a longest back-off of %s is not possible: use %s to %s (BO-07)", k.MaxBackOff, time.Second, backOffMax)
	case k.MaxBackOff != 0 && !k.On(GateCrashLoopBackOffMax):
		return fmt.Errorf("a longest back-off cannot be given in Kubernetes %s: turn on feature gate %s (BO-07)", k.Version, GateCrashLoopBackOffMax)
	case k.Poll < 0:
		return errors.New("a kubelet cannot look back in time: use a poll of 0 or more")
	}
	if k.Pause < 0 {
		return errors.New("a kubelet cannot start a container before the one before it: use a pause of 0 or more")
	}
	return checkGates(k.Version, k.Gates)
}

// KubeletPoll is a real kubelet's Poll.
const KubeletPoll = time.Second

// KubeletPause is about the least that a real kubelet can do with on a quick machine. What a container does as it starts,
// in its first moments, is done before the next one starts, and programs have come to rely on that.
const KubeletPause = 200 * time.Millisecond

// Notes say in words what k has that differs from the zero value, one thing each. Reports print them: nobody shall take a
// run for one of another release or clock.
func (k Kubelet) Notes() (notes []string) {
	if k.Version.Minor() != DefaultVersion.Minor() {
		notes = append(notes, fmt.Sprintf("Kubernetes %s", k.Version))
	}
	for _, g := range Gates() {
		if on, asked := k.Gates[g]; asked && on != g.Default(k.Version) {
			notes = append(notes, fmt.Sprintf("feature gate %s=%t", g, on))
		}
	}
	switch {
	case k.Pace == PaceOff:
		notes = append(notes, "backoff off: containers restart at once")
	case k.Pace > 1:
		notes = append(notes, fmt.Sprintf("backoff %s: back-offs pass %d times as fast as a kubelet's", k.Pace, k.Pace))
	}
	if k.MaxBackOff > 0 {
		notes = append(notes, fmt.Sprintf("max backoff %s", k.MaxBackOff))
	}
	if k.Ticks == TicksSync {
		notes = append(notes, "probe ticks from the pod's sync, as a kubelet's are")
	}
	if k.Poll > 0 {
		notes = append(notes, fmt.Sprintf("kubelet timing: a look every %s whether a container has ended", k.Poll))
	}
	if k.Pause > 0 {
		notes = append(notes, fmt.Sprintf("kubelet timing: %s from a container's start to the next one's", k.Pause))
	}
	return notes
}

// A Pace is how fast back-offs pass. Its zero value is as fast as a real kubelet's; N > 1 is N times as fast. It bears
// on the delays between restarts and between pulls, and on when they are forgotten.
type Pace int

// PaceOff has every restart at once. A pull that failed is tried again as any other step that did (BO-11).
const PaceOff Pace = -1

func (p Pace) String() string {
	switch {
	case p < 0:
		return "off"
	case p <= 1:
		return "real"
	}
	return "x" + strconv.Itoa(int(p))
}

// MarshalText gives "real", "xN" or "off".
func (p Pace) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes "real", "xN" with a whole N of at least 1, or "off".
func (p *Pace) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "real":
		*p = 0
		return nil
	case "off":
		*p = PaceOff
		return nil
	default:
		if n, err := strconv.ParseUint(strings.TrimPrefix(s, "x"), 10, 16); err == nil && strings.HasPrefix(s, "x") && n > 0 {
			*p = Pace(n)
			if n == 1 {
				*p = 0
			}
			return nil
		}
	}
	return fmt.Errorf("no such pace of back-offs: %q; use real, xN for N times as fast, or off", text)
}

// of is how long d lasts at this pace.
func (p Pace) of(d time.Duration) time.Duration {
	if p > 1 {
		return d / time.Duration(p)
	}
	return d
}

// Ticks says what the ticks of a container's probes are counted from.
type Ticks uint8

// What ticks are counted from. The zero value is TicksStart.
const (
	_ Ticks = iota
	// TicksStart: the container's start, the earliest phase that a kubelet's ticks can have.
	TicksStart
	// TicksSync: the pod's first sync, as a real kubelet's are; a first attempt then comes up to a period later (PB-21).
	TicksSync
)

var ticksNames = [...]string{TicksStart: "start", TicksSync: "sync"}

// TicksValues lists what ticks can be counted from, in order.
func TicksValues() []Ticks { return enumerate[Ticks](len(ticksNames)) }

func (t Ticks) String() string               { return enumString("Ticks", ticksNames[:], int(t)) }
func (t Ticks) MarshalText() ([]byte, error) { return enumText("Ticks", ticksNames[:], int(t)) }
func (t *Ticks) UnmarshalText(b []byte) error {
	return enumParse("origin of probe ticks", ticksNames[:], b, t)
}

// options are a Kubelet and what follows from it. They are made once, and never changed.
type options struct {
	Kubelet
	gates gateSet
	crash backOffTimes
	pull  backOffTimes
}

func newOptions(k Kubelet) *options {
	o := &options{Kubelet: k, gates: gatesOf(k.Version, k.Gates)}
	o.crash = backOffTimes{first: backOffFirst, max: backOffMax, forget: backOffForget}
	if o.gates.has(GateReduceCrashLoopBackOff) {
		o.crash.first, o.crash.max = backOffReducedFirst, backOffReducedMax
	}
	if o.gates.has(GateCrashLoopBackOffMax) { // what the kubelet is given counts, and a default is (BO-07)
		o.crash.max = backOffMax
		if k.MaxBackOff > 0 {
			o.crash.max = k.MaxBackOff
		}
		o.crash.first = min(o.crash.first, o.crash.max)
	}
	o.pull = backOffTimes{first: backOffFirst, max: backOffMax, forget: backOffForget}.at(k.Pace)
	o.crash = o.crash.at(k.Pace)
	if k.Pace == PaceOff {
		o.crash = backOffTimes{}
		o.pull = backOffTimes{first: syncRetry, max: syncRetry, forget: backOffForget}
	}
	return o
}

var defaultOptions = newOptions(Kubelet{})
