// Package podsim drives runs: it asks the planner and the director what to do, has a Host do it, and folds what
// came of it back into the pods' statuses.
//
// It owns the loop and the run's timeline. One goroutine owns all state; each action in flight has a goroutine of
// its own, joined before the reap. It never decides anything about a pod (package pod does), never performs an
// effect (a Host does), and knows nothing of containerd, YAML or verdicts.
//
//	          ┌────────────────────────────── one goroutine ──────────────────────────────┐
//	          │  pod.Next ┐                                                               │
//	          │           ├─► Plan ─► began ─► Log, Status ─┬─► go Host.Do ─► answers ─┐   │
//	          │  Director ┘                   ▲             │                          │   │
//	          │                               └── ended ◄───┼──────────────────────────┘   │
//	          │                               ▲             │                              │
//	Asks ─────┼───────────────────────────────┘   Notes ────┴─► noted      timer ─► ask again
//	          └────────────────────────────────────────────────────────────────────────────┘
//	                            then, always: cancel, join, Host.Reap
package podsim
