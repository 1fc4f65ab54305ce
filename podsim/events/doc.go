// Package events tells a run in Kubernetes' events: what `kubectl describe` and `kubectl get events` would show of it.
//
// It derives them from a timeline alone, by the places in which a kubelet (v1.36, pkg/kubelet) and the scheduler record
// theirs, with their reasons, types and messages, and it counts them as the kubelet's recorder does. It keeps no state
// but that of the timeline read so far, reads no clock and does no I/O; equal timelines give equal events.
//
//	timeline.Record ─► Recorder.Add ─► pod.Status, folded again
//	                       │  what a kubelet would say of it
//	                       ▼
//	                   correlator: counts, combines, drops ─► corev1.Event
//
// Where it differs from a kubelet, because a timeline tells no more:
//   - A kubelet says that a container is in back-off at every sync that passes it over, among them one a minute that
//     nothing causes. Here it is said when the back-off begins and at every sync that does something else.
//   - DeadlineExceeded is counted once; a kubelet says it whenever it makes a status.
//   - FailedSync, SandboxChanged and NetworkNotReady are never said: nothing here goes wrong in that way.
package events
