// Package pod is podsim's core: the lifecycle of one pod, by Kubernetes' rules, as a pure function.
//
// It owns the vocabulary (Action, Event), the planner (Next), the observed status and its fold (Status,
// Apply), what Kubernetes would report of it (PodStatus), and the rehearsal of a pod in virtual time
// (Rehearse). It never does I/O, never reads a clock, never starts a goroutine: time is an argument.
//
//	     ┌───────────────── Next(pod, status, now) ──────────────────┐
//	     │                                                           ▼
//	┌────┴────┐                                                  ┌──────┐
//	│ Status  │◄── Apply ◄── Event(began) ◄── the driver ◄────── │ Plan │ Actions, Wake, Waiting
//	└─────────┘◄── Apply ◄── Event(ended) ◄── Host.Do(action) ◄──└──────┘
//
// An action is an interval. Its beginning and its end are both events, both are folded into the status,
// and nothing else changes a status; so the timeline of a run, folded again, gives the same status, and a
// plan is never repeated without an event in between. Apply does not know the pod's spec: what of it the fold
// needs travels in the action (Then, Role, Probes, Failures), which makes a timeline complete by itself.
//
// A pod goes through this, and at each point a delete leads to its end:
//
//	OpUp ─► set-up ─► sync ─► sync ─► ... ─► end: hooks, signals in order, tear-down ─► gone
//	         │  ▲      │ one look at the pod (look.go) makes a list; it is walked one container at a time (sync.go)
//	         └──┘      └ beside it: an await for each running container, and its probes (probe.go)
//	       10 s later
//
// Which kubelet it is, by release, gates, pace of back-offs and clock, an OpUp says (kubelet.go, gate.go, GATES.md).
//
// Where to look: next.go has the order of things, look.go what a sync finds to do, sync.go how it is walked,
// termination.go how containers stop, reset.go how all are restarted at once, update.go what a changed pod means,
// restart.go and backoff.go whether and when containers start again, probe.go when they are probed; fold.go what an
// event changes; podstatus.go and phase.go what is reported, waiting.go the same in words.
// testdata shows every rule, by its id, as a case that can be read in a minute; RULES.md says which case that is.
//
// Where podsim decides otherwise than the kubelet, because it is driven by events and not by polling:
//   - A sync begins at once when there is reason for one, unless the Kubelet has it pause after a start. What the kubelet tries again "about every 10 s" is tried
//     exactly 10 s after it failed (BO-11), and by no other sync before but one that a changed pod causes.
//   - A status is not held back until a sync ends. Started and Ready are, since they decide about traffic and order.
//   - A delete cuts a sync short. What is in flight ends; nothing more is started, and a postStart hook that hangs
//     holds up nobody. A kubelet would finish the sync first, however long that takes.
//   - A container that is stopped for a failed probe or a changed image and is to be started again, though its policy
//     would not restart it, is reported as waiting in between. A kubelet reports nothing in the middle of a sync.
//   - A delete that shortens the grace period shortens everything that is under way (TM-09).
//   - A probe's ticks have the earliest phase that a kubelet's can have, unless the Kubelet asks for a real one's
//     (PB-21), and readiness is tried at once when the container is started, but not at every status update (PB-22).
//   - A failed pull backs off by container, not by image. Containers that a probe failed stop in the spec's order.
package pod
