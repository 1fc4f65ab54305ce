// Leaks prints what podsim may have left on this machine, a sorted line each, so that `diff` of the output before
// and after a run is the list of leaks:
//
//	go run ./scripts/leaks > before; podsim run pod.yaml; go run ./scripts/leaks | diff before -
//
// It looks at mounts, links, nftables, forwarding, namespaces, cgroups, processes, and the files under podsim's
// state and run directories, address reservations among them. What podsim keeps on purpose, the image store and
// the private containerd's own files, is left out. It needs root, changes nothing, and runs no other program.
package main
