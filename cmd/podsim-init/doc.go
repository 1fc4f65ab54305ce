// Podsim-init is the first process of a pod whose containers share one PID namespace (shareProcessNamespace, NS-11).
//
// It owns the namespace's life: it takes in orphans and reaps them, and ends on TERM or INT, and with it everything in
// the namespace. It does nothing else: it reads nothing, prints nothing and passes no signal on. A container's signals
// go to that container's own main process.
package main
