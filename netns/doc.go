// Package netns is the network a pod stands in: its pinned namespaces, the way into them, and the link that
// joins them to the machine.
//
// It owns
//
//   - the pins: net, ipc and uts namespaces kept alive by bind mounts, with no process in them (Pins);
//   - the way in: Do, Dialer, Listen and ListenPacket work in the namespace of a pin and nowhere else;
//   - the bridge that the pods of one state directory share, with what the machine needs beside it: masquerading,
//     forwarding, the way past Docker's filter (Network);
//   - the CNI attachment of one namespace (CNI);
//   - what is left behind (Leftovers) and what the machine lacks (Findings).
//
// It knows nothing of pods, containers or runs: an ID is a string that names what it made. It calls no program
// of the host; the only programs it runs are CNI plugins. It never leaves a thread in a namespace that is
// not the process's own: where the way back fails, the thread ends with its goroutine.
//
// The way from a pod to the world, and who makes which part:
//
//	pod's netns                     machine's netns
//	┌────────────┐                 ┌──────────────────────────────────────────────────────────────┐
//	│ lo (Pins)  │     veth        │ vethXXXX ─── podsim0 ─── forwarding ─── masquerade ─── eth0 ─┼──►
//	│ eth0 ──────┼─────────────────┼─►  └─ CNI ─┘  └ Network.Join, undone by the last Leave ┘     │
//	└────────────┘                 └──────────────────────────────────────────────────────────────┘
//
// Where the machine has IPv6, all of this is there twice: a pod has an address of each family, the IPv4 one first
// (NW-14). Where it has none, or podsim may not make it forward it, Findings says so and pods have IPv4 alone.
//
// What the members of all state directories on a machine share (the forwarding switches, the nftables tables) is
// guarded by one lock, a flock on the machine's network namespace itself, and remembered in the kernel beside
// it: both have exactly the lifetime of what they guard, and tests that run in a namespace of their own have
// their own.
package netns
