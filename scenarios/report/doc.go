// Package report writes what came of scenarios: for people on a console, live and afterwards, and for machines as
// JUnit XML and JSON.
//
// Every report is a pure function of results and timelines to an io.Writer; Live is a timeline.Sink, and cannot
// influence the run it shows. The package decides nothing about a scenario.
//
//	timeline ──► Live     one line a record that tells something, as it happens
//	results  ──► Verdict  one scenario's steps and, where one failed, why
//	         ──► Summary  the last line
//	         ──► JUnit, JSON
//	         ──► ExitCode
package report
