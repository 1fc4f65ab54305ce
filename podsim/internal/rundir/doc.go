// Package rundir is a run's own directory: its record, its lock, its timeline and its logs.
//
// It owns the layout below <state>/runs and the run's ID. It never knows what a run's resources are: the record's
// contents are the host's. It removes nothing but the directory itself.
//
//	<state>/runs/<id>/
//	    record.json      what must be known to take the run away; synced to disk before the first effect
//	    lock             flock'ed for the life of the process that owns the run: the kernel says whether it lives
//	    timeline.jsonl   every record of the run so far
//	    logs/<pod>/<container>/<instance>.log               in CRI's format (MS-03), of the last two instances
//	                           <instance>.log.<stamp>       the file before, rotated when it was full (MS-04)
//	                           <instance>.log.<stamp>.gz    older ones, packed; the oldest go
//	<state>/pods/<namespace>/<name>    the ID of the run that is the pod of this name, of applied pods (claim.go)
//
// A directory without a whole record is what a process leaves that died before its first effect, or while writing it;
// it is listed as a dead run with nothing but its ID, and that is enough, as every name is a function of the ID.
package rundir
