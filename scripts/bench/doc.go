// Bench measures how fast podsim starts and stops pods, against what the kernel and runc need at least, in one run
// on one machine:
//
//	make build && sudo go run ./scripts/bench
//
// For a pod of one app and two sidecars, and one of one and eight, it prints medians of
//
//   - the floor: `runc create` and `runc start` of as many containers, all at once, in namespaces that are ready,
//     and `runc kill` and `runc delete` of them;
//   - podsim: from the start of the command to the last main container's start, as the timeline has it, and from
//     Ctrl-C to the end of the command, when everything is gone; warm, with the containerd of the run before, and the one
//     cold start, which boots it, by itself;
//   - `podman kube play` and `kube down` of the same containers, where podman is installed;
//
// the ratios to the floor, and the memory of podsim's helpers while the pod runs. The containers are sidekick's,
// doing nothing. --json prints the same as JSON, and --floor the floor alone.
package main
