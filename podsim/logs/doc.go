// Package logs tells which log is meant when a container's is asked for, and prints it, by the rules of kubectl and the
// kubelet.
//
// It owns what they say of a container that has no log, and the options of `kubectl logs`. It differs from a kubelet in
// two things: that one prints the newest of a log's files only, and a long line's pieces as they come, among those of the
// other stream. It never waits for a container: whoever follows a log says when that has ended.
package logs
