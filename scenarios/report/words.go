package report

import (
	"fmt"
	"strings"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
)

// Words says what a record tells, to people: who it is about (a container, pod, a stub, or "" for the run) and what
// happened. ok is false for a record that says nothing new to them.
func Words(r timeline.Record) (who, what string, ok bool) {
	who = about(r)
	switch r.Kind {
	case pod.Noted:
		return noted(r)
	case pod.Began:
		what = began(r)
	case pod.Ended:
		what = ended(r)
	}
	return who, what, what != ""
}

// about is the container that a record is about, or else its pod.
func about(r timeline.Record) string {
	if r.Action.Container == "" && r.Action.Pod != "" {
		return "pod"
	}
	return r.Action.Container
}

func noted(r timeline.Record) (who, what string, ok bool) {
	switch r.Note {
	case pod.NoteEnded:
		return "", "", false
	case pod.NoteRules:
		return "pod", strings.TrimSpace("interception rules installed " + brackets(r.Detail)), true
	case pod.NoteConnected:
		return r.Subject, connected(r.Connection), true
	case pod.NoteLedger:
		return "pod", strings.TrimSpace("flow ledger loaded " + brackets(r.Detail)), true
	case pod.NotePulling:
		return about(r), "pulling image " + r.Action.Image, true
	case pod.NoteWarning:
		return about(r), "warning: " + r.Detail, true
	}
	return r.Subject, strings.TrimSpace(r.Note + " " + r.Detail), true
}

func connected(c *pod.Connection) string {
	if c == nil {
		return "connected"
	}
	what := "connected from " + c.Source
	if c.Method != "" {
		what += fmt.Sprintf(": %s %s%s", c.Method, c.Host, c.Path)
	}
	return what
}

// began speaks of actions whose beginning matters: what takes long, what somebody asked for, what ends a container.
func began(r timeline.Record) string {
	a := r.Action
	switch a.Op {
	case pod.OpUp:
		if a.Kubelet != nil && len(a.Kubelet.Notes()) > 0 {
			return "kubelet: " + strings.Join(a.Kubelet.Notes(), "; ")
		}
	case pod.OpMark:
		switch m, ok := scenarios.MarkOf(r); {
		case !ok, m.Outcome == scenarios.Pass:
		case m.Begins != "":
			return fmt.Sprintf("step %d: %s", m.Step, m.Begins)
		case m.GaveUp != "":
			return m.GaveUp
		default:
			return fmt.Sprintf("step %d: %s", m.Step, m.Outcome)
		}
	case pod.OpHook:
		return a.Hook.String() + " hook begins"
	case pod.OpSignal:
		return strings.TrimSpace("signal " + a.Signal + " " + brackets(a.Why))
	case pod.OpDelete:
		return strings.TrimSpace("deletion asked for " + brackets(a.Why))
	case pod.OpUpdate:
		return strings.TrimSpace("change asked for " + brackets(a.Why))
	}
	return ""
}

func ended(r timeline.Record) string {
	a := r.Action
	if r.Failure != nil {
		return failure(a.Op, *r.Failure)
	}
	switch a.Op {
	case pod.OpSetUp:
		if r.Network != nil {
			return strings.TrimSpace("network ready " + brackets(strings.Join(r.Network.PodIPs, ", ")))
		}
		return "network and volumes ready"
	case pod.OpPull:
		if r.Image != nil && r.Image.Present {
			return ""
		}
		return "image pulled"
	case pod.OpStart:
		return started(r)
	case pod.OpAwait:
		return exited(r.Exit)
	case pod.OpProbe:
		return probed(r)
	case pod.OpHook:
		return a.Hook.String() + " hook ended"
	case pod.OpTearDown:
		return "gone"
	case pod.OpRefresh:
		return "ConfigMaps, Secrets and metadata brought up to date"
	case pod.OpRequest:
		return answered(r.Response)
	case pod.OpExec, pod.OpRun:
		if r.Output != nil {
			return fmt.Sprintf("command ended with code %d", r.Output.Code)
		}
	}
	return ""
}

// failure says why an action did not do what it was for. What Kubernetes has an event or a container's reason for is
// said by that.
func failure(op pod.Op, f pod.Failure) string {
	message := firstLine(f.Message)
	begin := f.Reason
	switch op {
	case pod.OpPrepare: // only a hint was not followed
		return ""
	case pod.OpSetUp:
		if f.Reason == "FailedCreatePodSandBox" {
			begin += ": Failed to create pod sandbox"
		}
	case pod.OpExec, pod.OpRun:
		begin = "command failed"
	case pod.OpRequest:
		begin = "request failed"
	case pod.OpRead:
		begin = "reading failed"
	}
	return trimmed(begin + ": " + message)
}

// names are the operations as people call them, for what Words has no line for.
var names = map[pod.Op]string{
	pod.OpSetUp: "set-up of network and volumes", pod.OpPrepare: "creation ahead of its turn", pod.OpPull: "image pull",
	pod.OpCreate: "creation", pod.OpStart: "start", pod.OpAwait: "wait for its end", pod.OpRemove: "removal of the ended instance",
	pod.OpTearDown: "removal of network and volumes", pod.OpExec: "command", pod.OpRun: "command on the host",
	pod.OpRead: "reading of a log or file", pod.OpFlows: "reading of the flow ledger", pod.OpUp: "acceptance of the pod",
	pod.OpDelete: "deletion", pod.OpMark: "mark", pod.OpUpdate: "change of the pod",
	pod.OpRefresh: "refresh of the volumes",
}

// doing names what an action does.
func doing(a pod.Action) string {
	switch a.Op {
	case pod.OpProbe:
		return a.Probe.String() + " probe"
	case pod.OpHook:
		return a.Hook.String() + " hook"
	case pod.OpSignal:
		return "signal " + a.Signal
	}
	if name := names[a.Op]; name != "" {
		return name
	}
	return a.Op.String()
}

func started(r timeline.Record) string {
	what := "started"
	if r.Action.Instance > 0 {
		what = fmt.Sprintf("started again, instance %d", r.Action.Instance)
	}
	if r.Instance != nil && r.Instance.PID > 0 {
		what += fmt.Sprintf(" (pid %d)", r.Instance.PID)
	}
	return what
}

func exited(e *pod.Exit) string {
	switch {
	case e == nil:
		return "ended"
	case e.OOMKilled:
		return fmt.Sprintf("exited with code %d (out of memory)", e.Code)
	case e.Signal > 0:
		return fmt.Sprintf("exited with code %d (signal %d)", e.Code, e.Signal)
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// probed speaks of every failure, and of the success that a startup probe ends with.
func probed(r timeline.Record) string {
	if r.Probe == nil {
		return ""
	}
	switch {
	case r.Probe.Result == pod.Failed:
		return trimmed(fmt.Sprintf("%s probe failed: %s", r.Action.Probe, firstLine(r.Probe.Output)))
	case r.Probe.Result == pod.Success && r.Action.Probe == pod.ProbeStartup:
		return "startup probe succeeded"
	}
	return ""
}

func answered(r *pod.Response) string {
	switch {
	case r == nil:
		return ""
	case r.Error != "":
		return "request: " + r.Error
	case r.Status != 0:
		return fmt.Sprintf("request: status %d", r.Status)
	}
	return "request: answered"
}

// trimmed takes a colon away that nothing follows.
func trimmed(s string) string { return strings.TrimRight(s, ": ") }

func brackets(s string) string {
	if s == "" {
		return ""
	}
	return "(" + firstLine(s) + ")"
}

// firstLine is the first line of s. A long one loses its middle: what failed is said at an error's beginning, and why
// at its end.
func firstLine(s string) string {
	const most, head = 200, 60
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if len(line) <= most {
		return line
	}
	begin, end := line[:head], line[len(line)-(most-head):]
	if i := strings.LastIndex(begin, " "); i > 0 {
		begin = begin[:i]
	}
	if i := strings.Index(end, " "); i >= 0 && i < len(end)/2 {
		end = end[i+1:]
	}
	return strings.ToValidUTF8(begin+" ... "+end, "")
}

// flowLine is a flow in one line.
func flowLine(f pod.Flow) string {
	who := f.Opener
	if who == "" {
		who = "somebody"
	}
	s := fmt.Sprintf("flow %d: %s %s %s -> %s, %s", f.ID, f.Protocol, who, f.Source, f.Destination, f.Verdict)
	if f.Reason != "" {
		s += " (" + f.Reason + ")"
	}
	if f.Taker != "" {
		s += ", taken by " + f.Taker
		if f.Listener != 0 {
			s += fmt.Sprintf(" on port %d", f.Listener)
		}
	}
	switch {
	case f.OnwardTo != "":
		s += ", onward to " + f.OnwardTo
	case len(f.Candidates) > 0:
		s += fmt.Sprintf(", onward one of flows %v", f.Candidates)
	}
	return s
}
