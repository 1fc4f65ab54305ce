// Package flows is the flow ledger: for every connection in a pod's network namespace, who opened it, what it
// asked for, who took it, and what that means under a declared interception.
//
// It owns the tagger (a table of nftables rules of its own), the reader of conntrack's events, and the fold of
// those events into flows and verdicts. It knows nothing of pods: a container is a name and a cgroup. It never
// changes, delays, marks or redirects a packet, and it needs no program of the host.
//
//	      opener's socket                                              taker's socket
//	            │                                                            ▲
//	┌───────────▼─────────────┐   ┌──────┐   ┌─────────────┐   ┌─────────────┴───────────┐
//	│ output, -150            │   │ nat  │   │ postrouting │   │ input, 100              │
//	│ label 1+i: opener i     ├──►│ mesh ├──►│ last: count ├─┬►│ label 65+i: taker i     │
//	│ label 0: another        │   │rules │   │ what leaves │ │ │ label 64: another, none │
//	└─────────────────────────┘   └──────┘   └─────────────┘ │ └─────────────────────────┘
//	                                                         └─► the world
//	      conntrack: NEW, UPDATE (label, reply), DESTROY ──► stream ──► table ──► judge ──► Ledger
//
// A socket belongs to the cgroup in which it was made, and the kernel matches it exactly (nft's socket
// cgroupv2), so the opener and the taker are facts and not guesses, whatever marks and uids a mesh uses. What the
// rules find out travels as conntrack labels, which no mesh uses; one event a label brings it here.
//
// # Completeness
//
// Two counters stand at the last place before conntrack confirms a connection, and a third where takers are
// labelled. A ledger is complete if the events that were read match the counters, and the kernel reports no
// event lost. Anything else is said in Ledger.Why, and then the absence of a flow proves nothing.
//
// # When to load
//
// Observing changes behaviour: with no conntrack user in the namespace, a connection that was opened before
// a mesh's rules is reset when they arrive; with conntrack active already it survives and bypasses the proxy for
// ever. So Load belongs with or right after the mesh's rules, never before. Connections that are older than the ledger
// and are seen again are in it as PreRule.
//
// # Limits
//
// 58 containers a namespace. A flow that the pod's own rules drop on the way out never becomes a conntrack entry:
// Ledger.Blocked counts those. ICMP errors that answer an attempt are not seen: such an attempt is Dropped. Under
// TPROXY the listener's port is the declared one, since no tuple shows it.
package flows
