// Soak runs pods whose containers crash at random, and holds what is reported of them to what happened:
//
//	go run ./scripts/soak --for 10m --seed 7
//
// Four pods with init containers, sidecars and mains, under all three restart policies and a rule that restarts all
// containers, are applied with podsim, at a twentieth of a kubelet's back-offs. Their containers are killed, made to
// exit, and made unready, as the seed has it; pods that have ended, and now and then one that has not, are deleted and
// applied again.
//
//	podsim apply ─► supervisor ─► watch ────► versions ─┐
//	                          └─► timeline ─► records ──┴─► checker, watcher ─► the first inconsistency, both sides
//	the seed ─► tormentor ─► signals, /exit, /readyz
//
// For every version of every pod: it is what pod.Status makes of the records up to a point (check.go), points never go
// back, no change between two of them was left out, and nothing in the status goes back on itself (watcher.go). In the
// end, when all pods are deleted, nothing is left on the machine that was not there before (scripts/leaks).
//
// It prints a line a minute and a summary, and exits with 1 at the first inconsistency. It needs root and bin/ (make
// build), works in a network namespace of its own, and what a seed decides is what is done to whom, not when the
// machine gets to it.
package main
