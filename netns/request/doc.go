// Package request sends one request from a container's place in the network, without a binary in its image.
//
// It owns the helper process: podsim's own executable once more, told apart by its first argument, started in
// the namespace and the cgroup, that takes on the user before it makes a socket. So owner rules (uid, gid, cgroup)
// and the flow ledger see what they would see of the container itself. It knows nothing of pods, judges no answer,
// follows no redirect, retries nothing and keeps no connection.
//
//	Do ── thread in the netns ── clone into the cgroup ──► helper: Main
//	 │                                                       │ groups cleared, gid, uid
//	 ├── JSON ── stdin ─────────────────────────────────────►│ resolve, connect, send, receive
//	 ◄── JSON ── stdout ─────────────────────────────────────┘
//
// main must call Main before anything else if os.Args[1] is Command, and so must TestMain of a package whose tests send
// requests.
//
// A Place without a namespace, cgroup and user is the process's own: then no helper is started.
package request
