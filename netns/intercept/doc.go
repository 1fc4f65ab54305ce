// Package intercept sends a network namespace's traffic through a proxy, as a service mesh does.
//
// It owns the redirect rules as values and the way they get into a namespace:
//
//	annotations ─► Config ─► Render ─► Ruleset ─► Apply ─► the kernel, one transaction
//	                                      │                   │
//	                                      ▼                   ▼
//	                                   String (nft)       ReadBack, Detect
//
// A Config says what is wanted, beginning with a profile's defaults. Render turns it into a Ruleset, an inert value
// that prints in nft's own syntax, so that a profile is reviewed as text. Apply writes a Ruleset in one transaction;
// nothing is ever half installed, and applying again replaces what was applied before and nothing else.
// Detect finds redirect rules that somebody else installed: an init container of the pod.
//
// It never observes traffic (netns/flows does), never runs a program, and knows nothing of pods.
//
// Where the mesh's own backends differ, podsim follows the nftables one: IPv6 is captured as IPv4 is, whatever
// the family of the pod's first address. IPv6Bypass gives what Istio's iptables backend does on a pod
// whose first address is IPv4. In a namespace without IPv6 its half is left out, with a note.
//
// Every rule counts its packets and carries a comment that says why it is there; the comments are part of the rules
// in the kernel, and are what a report names as the reason that a flow was not captured.
package intercept
