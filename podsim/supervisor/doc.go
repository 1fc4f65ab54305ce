// Package supervisor runs pods that outlive the command that asked for them, and finds them again.
//
// An applied pod has a process of its own, its supervisor: the same driver as a foreground run's, with a director that
// goes on until the pod is deleted, and a socket by which others ask it. The supervisor keeps the pod as Kubernetes' API
// would show it: its object, with a new resourceVersion for every change. Others find it by its name, which its run
// holds; where the supervisor has died, the pod is lost, and what its timeline tells is shown instead.
//
//	Apply ── starts ──► Main ─► podsim.Run ─► host.Host
//	  │                   │          │ records
//	  │                   ▼          ▼
//	  │                 server ◄── object ── versions ──► those who watch
//	  └── asks ──► socket ▲
//	List, Get, Watch, Delete ── claims, then the socket or, of a lost pod, the timeline
//
// It owns: the form of the requests between a command and a supervisor, which changes a running pod may take, and the
// life of the supervisor's process. It never decides what happens in a pod, and never touches containers or networks.
package supervisor
