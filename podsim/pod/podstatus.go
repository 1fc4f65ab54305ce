package pod

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// byName orders statuses as the kubelet does those of mains and of ephemeral containers, but not of init containers.
func byName(a, b corev1.ContainerStatus) int { return cmp.Compare(a.Name, b.Name) }

// PodStatus is what Kubernetes would report of the pod (PH). The caller owns it. now decides between reasons that
// follow each other in time, such as ErrImagePull and ImagePullBackOff.
//
// It differs from a kubelet's in one thing: a kubelet reports once a sync, and so a little late, what podsim tells at
// once. Told at every event, it never goes back on itself: what is over stays over, and no time goes back.
func (s Status) PodStatus(p *corev1.Pod, now time.Time) corev1.PodStatus {
	st := s.ComingStatus(p, now)
	(&report{p: p, s: &s, now: now}).hold(&st)
	return st
}

// ComingStatus is PodStatus with the phase, and its reason, that the pod comes to: a final one is decided, and acted on,
// before it is reported, which is when nothing of the pod can run any more (TM-18).
func (s Status) ComingStatus(p *corev1.Pod, now time.Time) corev1.PodStatus {
	r := report{p: p, s: &s, now: now}
	st := corev1.PodStatus{Phase: corev1.PodPending, QOSClass: p.Status.QOSClass}
	if !s.Up() {
		return st
	}
	st.StartTime = metaTime(s.up)
	r.addresses(&st)
	for i := range p.Spec.InitContainers {
		st.InitContainerStatuses = append(st.InitContainerStatuses, r.container(&p.Spec.InitContainers[i]))
	}
	for i := range p.Spec.Containers {
		st.ContainerStatuses = append(st.ContainerStatuses, r.container(&p.Spec.Containers[i]))
	}
	for i := range p.Spec.EphemeralContainers {
		c := r.container(ephemeral(p, i))
		c.Started = nil // the kubelet does not look for it
		st.EphemeralContainerStatuses = append(st.EphemeralContainerStatuses, c)
	}
	st.Phase = r.phase(&st)
	if s.Deleting() && s.Gone() {
		r.giveUp(&st)
	}
	if s.end.reason == StopDeadline {
		st.Phase, st.Reason = corev1.PodFailed, "DeadlineExceeded"
		st.Message = "Pod was active on the node longer than the specified deadline"
	}
	st.Conditions = r.conditions(&st)
	slices.SortStableFunc(st.ContainerStatuses, byName)
	slices.SortStableFunc(st.EphemeralContainerStatuses, byName)
	return st
}

// Phase is the pod's phase (PH-01..07), as in PodStatus.
func (s Status) Phase(p *corev1.Pod) corev1.PodPhase { return s.PodStatus(p, s.up).Phase }

// Initialized reports whether initialisation is complete: every regular init container has ended with code 0 and
// every sidecar was started. Once true it stays true (PH-08).
func (s Status) Initialized(p *corev1.Pod) bool {
	return s.Up() && (!s.progressed().initialized.IsZero() || len(s.incompleteInits(p)) == 0)
}

// Ready reports whether every main container and every sidecar is ready (PH-09).
func (s Status) Ready(p *corev1.Pod) bool {
	return s.Up() && s.end.down.IsZero() && len(s.unready(p)) == 0
}

// incompleteInits names the init containers that are not through, in order.
func (s *Status) incompleteInits(p *corev1.Pod) (names []string) {
	for i := range p.Spec.InitContainers {
		spec := &p.Spec.InitContainers[i]
		c := s.seen(spec.Name)
		if initRole(spec) == RoleSidecar && !c.Started || initRole(spec) == RoleInit && !c.exitedZero() {
			names = append(names, spec.Name)
		}
	}
	return names
}

// unready names the sidecars and mains that are not ready, in order (SC-15).
func (s *Status) unready(p *corev1.Pod) (names []string) {
	for spec := range containersOf(p) {
		if RoleOf(p, spec.Name) != RoleInit && !s.seen(spec.Name).Ready {
			names = append(names, spec.Name)
		}
	}
	return names
}

// A report makes one PodStatus.
type report struct {
	p   *corev1.Pod
	s   *Status
	now time.Time
}

func (r *report) addresses(st *corev1.PodStatus) {
	n := r.s.setUp.network
	for _, ip := range n.PodIPs {
		st.PodIPs = append(st.PodIPs, corev1.PodIP{IP: ip})
	}
	if len(n.PodIPs) > 0 {
		st.PodIP = n.PodIPs[0]
	}
	if n.HostIP != "" {
		st.HostIP, st.HostIPs = n.HostIP, []corev1.HostIP{{IP: n.HostIP}}
	}
}

// container reports one container (PH-13, PH-15).
func (r *report) container(spec *corev1.Container) corev1.ContainerStatus {
	c := r.s.seen(spec.Name)
	started := c.Started
	st := corev1.ContainerStatus{Name: spec.Name, Image: cmp.Or(c.ImageName, spec.Image), ImageID: imageID(c.Image), Ready: c.Ready,
		RestartCount: int32(c.RestartCount()), Started: &started}
	if c.ContainerID != "" {
		st.ContainerID = runtimeScheme + c.ContainerID
	}
	if r.s.on(GateContainerStopSignals) && c.made != "" { // SG-04
		signal := corev1.Signal("SIG" + r.s.stopSignal(spec, c))
		st.StopSignal = &signal
	}
	if c.Last != nil {
		st.LastTerminationState.Terminated = terminated(c.Last)
	}
	switch c.State {
	case StateRunning:
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}
	case StateExited:
		st.State.Terminated = terminated(c.Exit)
	case StateCreated:
		if c.Last != nil && r.s.Ending() && !r.s.startsNow(spec.Name) {
			// It will never be started; what it last came to is its end.
			st.State.Terminated = terminated(c.Last)
			return st
		}
	}
	if w := r.waiting(spec, c); w != nil {
		switch {
		case w.Reason == restartingAll:
			st.LastTerminationState.Terminated = terminated(restartingAllEnd())
		case st.State.Terminated != nil:
			st.LastTerminationState = st.State
		}
		st.State = corev1.ContainerState{Waiting: w}
	}
	return st
}

// runtimeScheme stands before a container's ID in a status.
const runtimeScheme = "containerd://"

func imageID(i Image) string {
	if i.Ref != "" {
		return i.Ref // PH-20
	}
	return i.ID
}

// waiting says what a container waits for that does not run, nil if it has ended and nothing keeps it from its next
// start, or there is none.
func (r *report) waiting(spec *corev1.Container, c *ContainerStatus) *corev1.ContainerStateWaiting {
	n := planner{p: r.p, s: r.s}
	if r.s.resetShown(c) {
		return &corev1.ContainerStateWaiting{Reason: restartingAll, Message: restartingAllMessage}
	}
	switch {
	case c.Running(), r.s.Ending() && c.State == StateExited:
		return nil
	case c.State == StateExited && !n.toStart(spec, c) && r.s.due(spec.Name):
		// It is replaced although its policy would not restart it, and so is not over.
		return &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	case c.State == StateExited && (!n.toStart(spec, c) || r.s.resetsAll(spec)):
		return nil
	}
	if c.State == StateExited && c.Failure == nil && r.now.Before(c.Exit.FinishedAt.Add(min(relist, c.held/2))) {
		return nil // the kubelet reports the end, and then finds the back-off (BO-04)
	}
	underway := r.s.sync.active && !r.s.sync.stopping && r.s.sync.turn == spec.Name
	if w := waitingFor(r.p, c, r.now); w.Reason != "" && (!underway || c.Failure != nil) {
		return &w
	}
	if c.State == StateExited && c.Failure == nil && c.held > 0 {
		// A kubelet forgets this reason only when the container has been started again: what was shown as in back-off does
		// not go back to its end when the back-off is over (BO-04).
		w := crashLoop(r.p, c.Name, c.held)
		return &w
	}
	switch {
	case c.State == StateExited:
		return nil
	case len(r.p.Spec.InitContainers) > 0 && (c.State == 0 || c.Last == nil): // also when it is created: a kubelet hears of it when it runs
		return &corev1.ContainerStateWaiting{Reason: "PodInitializing"} // IN-11
	}
	return &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
}

// waitingFor is the reason of a container that could not be started or is held back by back-off (PH-14); its Reason is
// empty for any other. The reason of a failed start is shown until the kubelet would have looked again, and then,
// where back-off holds the container, that (BO-04, BO-10).
func waitingFor(p *corev1.Pod, c *ContainerStatus, now time.Time) (w corev1.ContainerStateWaiting) {
	if c.Failure != nil {
		w.Reason, w.Message = c.Failure.Reason, c.Failure.Message
		if now.Before(c.FailedAt.Add(relist)) {
			return w
		}
	}
	switch {
	case c.FailedOp == OpPull && pullBacksOff(c.Failure.Reason):
		w.Reason = "ImagePullBackOff"
		w.Message = fmt.Sprintf("Back-off pulling image: %s: %s", c.Failure.Reason, c.Failure.Message)
		if spec := containerOf(p, c.Name); spec != nil {
			w.Message = fmt.Sprintf("Back-off pulling image %q: %s: %s", spec.Image, c.Failure.Reason, c.Failure.Message)
		}
	case now.Before(c.retryAt):
	case now.Before(c.crashUntil()):
		w = crashLoop(p, c.Name, c.crash.delay)
	}
	return w
}

// crashLoop is the reason of a container that is held back by its crashes (BO-04).
func crashLoop(p *corev1.Pod, container string, delay time.Duration) corev1.ContainerStateWaiting {
	return corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
		Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, container, p.Name, p.Namespace, p.UID)}
}

// pullBacksOff reports whether a failed pull of this reason is repeated with a back-off of its own (BO-10). The others
// are found before anything is pulled, and are tried again with the next sync (BO-11).
func pullBacksOff(reason string) bool {
	switch reason {
	case "ErrImageNeverPull", "InvalidImageName", "ImageInspectError":
		return false
	}
	return true
}

// terminated reports how an instance ended. Its signal stays 0 even where one ended it: containerd tells a kubelet the
// code alone.
func terminated(t *Termination) *corev1.ContainerStateTerminated {
	out := &corev1.ContainerStateTerminated{ExitCode: int32(t.Code), Reason: t.Reason, Message: t.Message,
		StartedAt: metav1.NewTime(t.StartedAt), FinishedAt: metav1.NewTime(t.FinishedAt)}
	if t.ContainerID != "" {
		out.ContainerID = runtimeScheme + t.ContainerID
	}
	return out
}

// giveUp closes the status of a pod that was deleted: what never came to an end is reported as failed.
func (r *report) giveUp(st *corev1.PodStatus) {
	unknown := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "ContainerStatusUnknown",
		Message: "The container could not be located when the pod was terminated", ExitCode: unknownCode}}
	if len(r.p.Spec.InitContainers) == 0 || r.s.Initialized(r.p) {
		for i := range st.ContainerStatuses {
			if st.ContainerStatuses[i].State.Terminated == nil {
				st.ContainerStatuses[i].State = unknown
			}
		}
	}
	// All init containers up to the last that was ever started count as failed, and the first one in any case.
	reached := -1
	for i, c := range st.InitContainerStatuses {
		if i == 0 || c.State.Waiting == nil || c.LastTerminationState.Terminated != nil {
			reached = i
		}
	}
	for i := range reached + 1 {
		if st.InitContainerStatuses[i].State.Terminated == nil {
			st.InitContainerStatuses[i].State = unknown
		}
	}
	if st.Phase != corev1.PodSucceeded {
		st.Phase = corev1.PodFailed
	}
}

// conditions reports the pod's conditions, in the kubelet's order.
func (r *report) conditions(st *corev1.PodStatus) []corev1.PodCondition {
	containersReady := r.containersReady(st)
	ready := containersReady
	ready.Type = corev1.PodReady
	r.gates(&ready)
	out := slices.DeleteFunc(slices.Clone(r.p.Status.Conditions), func(c corev1.PodCondition) bool { return owned[c.Type] })
	out = append(out, r.readyToStart(), r.initialized(st), ready, containersReady,
		condition(corev1.PodScheduled, true, r.s.up, "", ""))
	if r.s.on(GateRestartAllContainers) && couldReset(r.p) {
		out = append(out, r.restarting(st))
	}
	return out
}

// owned are the conditions that a kubelet sets; all others are kept as the manifest has them (PH-10).
var owned = map[corev1.PodConditionType]bool{corev1.PodReadyToStartContainers: true, corev1.PodInitialized: true,
	corev1.PodReady: true, corev1.ContainersReady: true, corev1.PodScheduled: true,
	corev1.AllContainersRestarting: true}

func condition(t corev1.PodConditionType, is bool, since time.Time, reason, message string) corev1.PodCondition {
	c := corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message}
	if is {
		c.Status = corev1.ConditionTrue
	}
	if !since.IsZero() {
		c.LastTransitionTime = metav1.NewTime(since)
	}
	return c
}

// What the kubelet says, since 1.37, of a pod that has no sandbox.
const (
	noSandboxReason  = "PodSandboxNotReady"
	noSandboxYet     = "no pod sandbox exists"
	noSandboxAnyMore = "pod sandbox is not ready"
)

// readyToStart is true while there is a network to start containers in (ST-02, PH-11). Of a set-up that failed it
// tells the reason, which a kubelet only puts into an event.
func (r *report) readyToStart() corev1.PodCondition {
	su := &r.s.setUp
	reason, yet, anyMore := noSandboxReason, noSandboxYet, noSandboxAnyMore
	if r.s.options().Version.Minor() < 37 {
		reason, yet, anyMore = "", "", ""
	}
	switch {
	case !r.s.end.down.IsZero() && !su.done.IsZero():
		return condition(corev1.PodReadyToStartContainers, false, r.s.end.down, reason, anyMore)
	case su.failure != nil && r.s.end.down.IsZero():
		return condition(corev1.PodReadyToStartContainers, false, r.s.up, su.failure.Reason, su.failure.Message)
	case su.done.IsZero():
		return condition(corev1.PodReadyToStartContainers, false, r.s.up, reason, yet)
	}
	return condition(corev1.PodReadyToStartContainers, true, su.done, "", "")
}

func (r *report) initialized(st *corev1.PodStatus) corev1.PodCondition {
	since := r.s.progressed().initialized
	if since.IsZero() || len(r.p.Spec.InitContainers) == 0 {
		since = r.s.up
	}
	switch {
	case st.Phase == corev1.PodSucceeded:
		return condition(corev1.PodInitialized, true, since, "PodCompleted", "")
	case r.s.Initialized(r.p):
		return condition(corev1.PodInitialized, true, since, "", "")
	}
	return condition(corev1.PodInitialized, false, r.s.up, "ContainersNotInitialized",
		fmt.Sprintf("containers with incomplete status: %s", r.s.incompleteInits(r.p)))
}

func (r *report) containersReady(st *corev1.PodStatus) corev1.PodCondition {
	since := r.s.progressed().since
	if since.IsZero() {
		since = r.s.up
	}
	unready := r.s.unready(r.p)
	switch {
	case st.Phase == corev1.PodSucceeded:
		return condition(corev1.ContainersReady, false, since, "PodCompleted", "")
	case st.Phase == corev1.PodFailed:
		return condition(corev1.ContainersReady, false, since, "PodFailed", "")
	case len(unready) > 0:
		return condition(corev1.ContainersReady, false, since, "ContainersNotReady",
			fmt.Sprintf("containers with unready status: %s", unready))
	}
	return condition(corev1.ContainersReady, true, since, "", "")
}

// gates keeps a Ready condition false for a readiness gate that is not True in the manifest's status (PH-10).
func (r *report) gates(ready *corev1.PodCondition) {
	whole := ready.Status == corev1.ConditionTrue
	for _, g := range r.p.Spec.ReadinessGates {
		i := slices.IndexFunc(r.p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == g.ConditionType })
		message := ""
		switch {
		case i < 0:
			message = fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType)
		case r.p.Status.Conditions[i].Status != corev1.ConditionTrue:
			message = fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", g.ConditionType, r.p.Status.Conditions[i].Status)
		default:
			continue
		}
		ready.LastTransitionTime = metav1.NewTime(r.s.up) // it has never been ready
		if !whole {
			continue
		}
		if ready.Reason != "" {
			message = ready.Message + ", " + message
		}
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", message
	}
}

func metaTime(t time.Time) *metav1.Time {
	m := metav1.NewTime(t)
	return &m
}
