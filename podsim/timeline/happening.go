package timeline

import "fmt"

// A Happening is a kind of moment: what a scenario's order, never and count speak of.
type Happening uint8

// The happenings. Those of a container come first, then those of a pod, of the interception rules and of a stub.
const (
	_ Happening = iota

	Pulled         // the image was found to be present, or was fetched
	Created        // the container was created
	Started        // its main process was started
	StartupOK      // its startup probe succeeded
	Ready          // its readiness, as Kubernetes reports it, became true
	NotReady       // ... became false
	PostStartBegin // podsim set about the hook
	PostStartEnd   // podsim had the hook's result
	PreStopBegin
	PreStopEnd
	SignalTERM // TERM was delivered, whoever asked for it
	SignalKILL
	Exited    // its main process ended; Arg is the exit code
	Restarted // an instance after the first was started
	BackOff   // it began to wait in CrashLoopBackOff or ImagePullBackOff
	OOM       // its end was the kernel's out-of-memory killer
	ProbeFail // one attempt of a probe failed; Arg is the probe's kind

	PodNetwork // volumes, namespaces and network are there
	PodInitialized
	PodRunning         // its phase became Running
	PodContainersReady // the condition of that name became true
	PodReady
	PodNotReady  // its readiness became false
	PodUpdated   // it is asked for in another form
	PodRefreshed // its volumes show ConfigMaps, Secrets and metadata as they are now
	PodDeleteRequested
	PodSucceeded
	PodFailed

	RulesInstalled // interception rules came into force

	StubConnected // a stub accepted a connection
)

var happeningNames = [...]string{
	Pulled: "pulled", Created: "created", Started: "started", StartupOK: "startup.ok", Ready: "ready", NotReady: "notReady",
	PostStartBegin: "postStart.begin", PostStartEnd: "postStart.end", PreStopBegin: "preStop.begin", PreStopEnd: "preStop.end",
	SignalTERM: "signal.TERM", SignalKILL: "signal.KILL", Exited: "exited", Restarted: "restarted", BackOff: "backoff",
	OOM: "oom", ProbeFail: "probe.fail",
	PodNetwork: "pod.network", PodInitialized: "pod.initialized", PodRunning: "pod.running",
	PodContainersReady: "pod.containersReady", PodReady: "pod.ready", PodNotReady: "pod.notReady",
	PodUpdated: "pod.updated", PodRefreshed: "pod.refreshed",
	PodDeleteRequested: "pod.deleteRequested", PodSucceeded: "pod.succeeded", PodFailed: "pod.failed",
	RulesInstalled: "rules.installed", StubConnected: "connected",
}

// Happenings lists every happening in order.
func Happenings() []Happening {
	out := make([]Happening, 0, len(happeningNames)-1)
	for h := Happening(1); int(h) < len(happeningNames); h++ {
		out = append(out, h)
	}
	return out
}

// OfContainer reports whether h happens to a container. RulesInstalled happens to nobody.
func (h Happening) OfContainer() bool { return h >= Pulled && h <= ProbeFail }

// OfPod reports whether h happens to a pod.
func (h Happening) OfPod() bool { return h >= PodNetwork && h <= PodFailed }

// OfStub reports whether h happens to a stub.
func (h Happening) OfStub() bool { return h == StubConnected }

func (h Happening) String() string {
	if h > 0 && int(h) < len(happeningNames) {
		return happeningNames[h]
	}
	return fmt.Sprintf("Happening(%d)", uint8(h))
}

// MarshalText gives the happening's name, as scenarios write it behind the container's or the stub's.
func (h Happening) MarshalText() ([]byte, error) {
	if h == 0 || int(h) >= len(happeningNames) {
		return nil, fmt.Errorf("no such happening: %d", uint8(h))
	}
	return []byte(happeningNames[h]), nil
}

// UnmarshalText reads what MarshalText gives.
func (h *Happening) UnmarshalText(text []byte) error {
	for _, v := range Happenings() {
		if v.String() == string(text) {
			*h = v
			return nil
		}
	}
	return fmt.Errorf("no such happening: %q", text)
}
