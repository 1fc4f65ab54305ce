// Package scenarios is what people write about a pod, and what came of it: the YAML language, the script that
// carries a scenario's steps out, and the judgement of a run.
//
// It owns the scenario file (Load), the order in which steps ask for actions (Script, a driver's director), and
// the verdicts (Judge). It never performs anything: it imports neither the driver nor a host, reads no clock, and
// of files only the YAML it loads. Reports are in scenarios/report.
//
//	scenario.yaml ── Load ──► Scenario ──► Script ◄──► driver ──► timeline
//	                             │                                    │
//	                             └──────────► Judge ◄────────────────┘──► Result
//
// The script and the judge are the same machine, a fold over the timeline (course): the script asks it what to do
// next, the judge where it ended. So a stored timeline is judged as the live one was.
//
//	        ┌──────────────── next step ────────────────┐
//	        ▼                                           │
//	begin mark ──► round of actions ──► look ──► pass: end mark
//	                    ▲                │
//	                    └── 100 ms ──────┤ not yet, and time is left
//	                                     └─ fail: end mark, last log lines ──► finally ──► delete ──► gone
//
// A step's state is looked at after each record, so no state is missed between two polls; only what needs an action
// to be seen (a request, a file, a log) is asked for again every 100 ms. History (order, never, count) is read from
// the timeline's moments, and the flows from the ledger.
package scenarios
