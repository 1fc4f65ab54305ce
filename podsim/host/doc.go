// Package host performs a run's actions on this machine: containers through containerd, namespaces, network,
// volumes, probes, requests. It is the real side of the driver's Host interface.
//
// It owns the names of everything a run makes (each a function of the run's ID), the order in which things are
// made ready, the reaper, the list of leftovers, and the preflight (Doctor). It decides nothing about a pod: what
// to do and when is in the action; what came of it goes back as an event.
//
//	          Do(action)
//	             │
//	setUp ───────┼──► volumes ─────────────┐ each is a stage: made once, waited for
//	             │    namespaces ──┬───────┤ by whatever needs it
//	             │                 └► network ──► rules ──► ledger
//	prepare ─────┤ waits for namespaces and volumes (and the network, if its environment names the
//	             │ pod's address), then creates from a local image
//	pull, create, start, await, signal, remove ──► podsim/internal/ctrd
//	probe, hook ──► podsim/probe         exec, read, request, flows ──► for scenarios
//	             │
//	          Reap ──► every step, errors joined, the run's directory last
//
// There is one way out: Reap, `podsim clean` and a crash's recovery are the same reap, from the same names.
package host
