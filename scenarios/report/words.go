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
	who = r.Action.Container
	if who == "" && r.Action.Pod != "" {
		who = "pod"
	}
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
	case pod.NoteWarning:
		return r.Subject, "warning: " + r.Detail, true
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
	}
	return ""
}

func ended(r timeline.Record) string {
	a := r.Action
	if r.Failure != nil {
		if a.Op == pod.OpPrepare {
			return ""
		}
		return strings.TrimSuffix(fmt.Sprintf("%s failed: %s: %s", doing(a), r.Failure.Reason, firstLine(r.Failure.Message)), ": ")
	}
	switch a.Op {
	case pod.OpSetUp:
		if r.Network != nil {
			return "network ready " + brackets(strings.Join(r.Network.PodIPs, ", "))
		}
		return "set up"
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
	case pod.OpRequest:
		return answered(r.Response)
	case pod.OpExec, pod.OpRun:
		if r.Output != nil {
			return fmt.Sprintf("command ended with code %d", r.Output.Code)
		}
	}
	return ""
}

func doing(a pod.Action) string {
	s := strings.TrimSuffix(a.String(), fmt.Sprintf(" #%d", a.Instance))
	if a.Container != "" {
		s = strings.Replace(s, " "+a.Container, "", 1)
	}
	return s
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
		return strings.TrimSuffix(fmt.Sprintf("%s probe failed: %s", r.Action.Probe, firstLine(r.Probe.Output)), ": ")
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
