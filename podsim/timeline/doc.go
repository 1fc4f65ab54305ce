// Package timeline is the record of a run: every event, in the order it was folded, append-only.
//
// It owns the log, its form on disk (JSON lines behind one header line), and the questions asked of it:
// what happened first, when an action began and ended, what was before what. It never knows who asks,
// reads no clock and does no I/O of its own: it writes to an io.Writer and reads from an io.Reader.
//
//	driver ── Append ──► Log ── View ──► planner's director, checks, reports
//	                      │
//	                      └── Sink ───► file, console        (a sink cannot influence a run)
//
// A stored timeline, read again, answers every question as the live one did.
package timeline
