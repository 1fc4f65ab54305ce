// Package ctrd runs containers through containerd. It is the only package of podsim that knows containerd, and
// no type of containerd's appears in what it exports.
//
// It owns the private containerd of a state directory (Open, Stop, KeeperMain), images (Load, Pull, FromBinary),
// the OCI specification of a container (Spec, a pure value), and containers with their tasks, output and
// processes (Create and the methods of Container). It never decides anything about a pod: not whether to pull, not
// what to start, not what an exit means.
//
// # The private daemon
//
// One containerd serves all podsim processes of a state directory. Nobody owns it; locks that the kernel drops
// with their holder say who needs what:
//
//	users.lock   shared: each podsim process, for its life.   exclusive: who stops the daemon
//	keeper.lock  exclusive: the keeper, for its life; handed to it, already locked, by the process that starts it
//	start.lock   exclusive: a podsim process while it starts containerd
//	meta.db      exclusive: containerd itself, on its own database
//
//	podsim ──flock users SH──► dial ──refused──► flock start ──► exec containerd ──► dial until it answers
//	   └──flock keeper free?──► exec keeper          (both at once)
//	keeper ──flock users EX (blocks while anyone lives)──► linger ──► TERM, wait, KILL containerd ──► exit
//
// A starter that is killed leaves a containerd that the next process finds by dialling. A containerd that lost a
// race for its database ends by itself, and its starter uses the winner. The keeper ends every process that runs
// containerd with the state directory's configuration, also one that never came to answer. A killed keeper is replaced by the next
// process that opens or closes a Client. A containerd that dies is started again by Revive, and takes its running
// shims back. There is no PID file and no heartbeat.
//
// # Containers without leases
//
// containerd's garbage collector keeps what a container record points to, whether it exists yet or not. So the
// record is written before the snapshot it names, and removed after it: no lease is needed to protect the moment
// between the two, and the records, found by label, are at every moment the complete list of what a run owns.
//
// # Containers of other processes
//
// A container's creator alone reads its output and looks after it. What any other process may want of it is found by
// its ID (Client.Attach): containerd runs further processes in it, and beside its pipes lie the door to its input
// and a socket that passes its output on.
//
//	run's pipes/<container>/stdin    a pipe, open in the shim until stdinOnce: whoever writes to it is read
//	                        output   a socket of the creator's: see broadcast
//	                        x1 e...  the pipes of further processes, while they are being started
//
// All of it goes with the container.
//
// Everything but this file is Linux-only; import the package from Linux-only files.
package ctrd
