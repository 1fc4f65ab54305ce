// Package manifest turns Kubernetes YAML into one pod, ready to be run, and the resources it refers to.
//
// It owns reading (Parse, FromNode, Load), choosing one pod where a file holds several (Manifest.Pod), defaulting
// as an API server does, validation in the API server's own words, and the table of pod fields that podsim acts
// on (Fields). Everything it finds is a diag.Diagnostic with file, line and column. It never looks at the machine:
// apart from Load, which reads one file, it is a pure function of bytes.
//
//	bytes ─► diag.Source.Parse ─► strict.Decode ─► Manifest ──Pod(select)──► report of fields ─► defaults ─► validation
//	          syntax, aliases      names, types    by kind    one template      Options.Strict                 *corev1.Pod
//
// Its sub-packages stand alone: diag (positions), strict (decoding), env (a container's environment), payload (the
// files of configMap, secret, downwardAPI and projected volumes) and netfiles (hosts, hostname, resolv.conf).
//
// Where podsim differs from an API server: a pod without a name in a file with generateName is called
// <generateName>podsim; a controller's pod has its controller's name; a resource without a namespace is in the
// pod's; uid and creationTimestamp are kept and status is ignored.
package manifest
