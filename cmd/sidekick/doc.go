// Sidekick is the one small static program that podsim's example and test images are made of: an HTTP app, a
// transparent proxy, a log shipper, an init container, and the few commands that a test would otherwise need a
// shell image for. Each long-running mode can be told to be slow, to hang, to crash, or to ignore TERM.
//
// It uses the standard library and golang.org/x/sys alone, so that it stays small and starts in a millisecond.
// It never imports podsim: it is what podsim runs, and knows no more of it than any other container does.
//
//	sidekick MODE [FLAGS] [ARGS]
//	   │
//	   ├─ app, proxy, shipper, init, listen, run ──► conduct ──► work, until TERM, a time, or a count ends it
//	   └─ get, cat, stat, id, kill, exit, ... ─────► once, and out
//
// README.md lists the modes and their flags; a test holds it to the code.
package main
