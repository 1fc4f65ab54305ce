// Package netfiles writes, as text, the files by which a pod knows its own name and resolves others: /etc/hosts,
// /etc/hostname and /etc/resolv.conf, as the kubelet and the runtime do. It is pure: the node's own resolv.conf is
// an argument.
package netfiles
