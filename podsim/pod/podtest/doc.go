// Package podtest is a host for tests: it performs a pod's actions from a script, and keeps the promises of a real
// one, which Conformance puts to both.
//
// It owns Host, with its faults, and the conformance suite. It never touches the machine. It keeps time with the
// standard time package, so that inside a testing/synctest bubble hours of a pod's life pass in no time.
//
//	planner ─► driver ─► Host.Do ─┬─ Fault? ──► error, or hangs until ctx ends
//	                              └─ pod.Script ──► sleeps as long as the effect takes, and answers
//
// A scripted process is no goroutine: it is the moment at which it will end, which a signal may move. Who awaits it
// waits for that moment.
package podtest
