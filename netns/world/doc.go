// Package world is what lies outside a pod: stubs that answer and record every connection, and the resolver that
// knows their names.
//
// It owns the addresses of its namespace, the routes that lead a pod there, the stub servers and the DNS server. It
// knows nothing of pods and judges nothing: each Connection goes to a callback, before its client sees an answer.
// It resolves no name of its own accord and opens no connection, but for forwarded queries where that is asked for.
//
//	pod's netns                          world's netns
//	┌──────────────────────┐             ┌──────────────────────────────────────────────────┐
//	│ 198.18.0.0/15 via ───┼── bridge ──►│ eth0 ──► lo: 198.18.0.10, .11, ... stubs         │
//	│ (offline: default)   │             │             198.18.0.53           resolver       │
//	└──────────────────────┘             │          offline: every other address is local   │
//	                                     │          and closed: a reset, and nothing leaves │
//	                                     └──────────────────────────────────────────────────┘
//
// The resolver is across the pod's link, as in a cluster: on the pod's own loopback, rules that capture DNS would
// see something else. Every world has a namespace of its own, so worlds share addresses without meeting.
//
// The resolver answers for what it knows with A (and AAAA) records, and with an empty answer for other types. What
// it does not know it forwards, or answers with NXDOMAIN: a refusal (REFUSED) would make resolvers try again and call
// the failure temporary, and a search list would stop at its first name. Names under cluster.local never leave.
package world
