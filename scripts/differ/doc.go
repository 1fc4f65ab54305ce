// Differ compares two recorded runs of one pod, podsim's and one from elsewhere, and prints the first difference:
//
//	go run ./scripts/differ podsim/timeline.jsonl kubelet/
//
// Either side is a file, or a directory of files that belong together. A file is a timeline of podsim's, events in
// differ's own plain form, or a recording of kubectl's: events, or versions of the pod. README.md has the forms and how
// to record a real kubelet.
//
// Every side is reduced to the same vocabulary (what.go), and a timeline in the same way as a kubelet's recording: by
// Kubernetes' events and the versions of the pod's status.
//
//	timeline ─► events.Recorder, PodStatus ─┐
//	kubectl get events ─────────────────────┼─► reduce ─► Recording ─┐
//	kubectl get pod -w ─────────────────────┘                        ├─► Compare ─► the first Difference
//	plain lines ───────────────────────────────────► Recording ──────┘
//
// Two things that happened on both sides differ in order only if the order is forced: by their container, whose events
// are a chain, or by a rule between containers (order.go). What two concurrent things do is not compared; nor is an
// order that a recording does not tell, since its clock shows whole seconds.
//
// It exits with 0 where there is no difference, with 1 where there is one, and with 2 if it cannot compare.
package main
