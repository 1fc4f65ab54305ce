// Package probe makes the attempts that a kubelet's probes and HTTP lifecycle hooks are made of, from outside
// the container: httpGet, tcpSocket, gRPC health, and exec through a function that the caller gives.
//
// It owns what goes over the wire and how an answer is read: headers, redirects, limits, time-outs and the exact
// words of a failure (PB-02..10, PB-20, LH-05). It never schedules, counts thresholds, or decides what a result
// means: that is the planner's. It never chooses where a connection comes from: the caller gives the dialler, so
// that a probe can be made from the node or from inside a namespace.
//
//	corev1.Probe ──► Prober.Probe ──┬─ httpGet ───┐
//	Target                          ├─ tcpSocket ─┼─► Prober.Dial ──► pod IP, or the host the probe names
//	                                ├─ grpc ──────┘
//	                                └─ exec ────────► Target.Exec ──► in the container
//	                                       │
//	                                       ▼
//	                    Outcome: Success (perhaps with a warning), Failed, Unknown
//
// Every attempt leaves nothing behind: its connection is closed when it returns, and a goroutine that net/http or
// gRPC started for it outlives it by no more than it takes to notice that.
package probe
