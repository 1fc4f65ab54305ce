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
// plan is never repeated without an event in between.
package pod
