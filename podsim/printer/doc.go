// Package printer shows pods and events as kubectl (v1.36) does: tables, describe, JSON, YAML, names and JSONPath.
//
// It owns the form of what is shown, to the character, so that who knows kubectl, or has a script that reads its
// output, is at home. It writes to an io.Writer, takes the time as an argument and objects as they are, and never
// changes one. It knows nothing of podsim.
//
//	corev1.Pod ────┬─► PodRow ───► Table   NAME READY STATUS RESTARTS AGE
//	               ├─► Describe            describe pod
//	               └─► Format              -o json, yaml, name, jsonpath=
//	corev1.Event ──┬─► EventRow ─► Table   LAST SEEN TYPE REASON OBJECT MESSAGE
//	               └─► Format
package printer
