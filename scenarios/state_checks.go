package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

// statusCheck compares the pod's status, as Kubernetes would report it.
type statusCheck struct {
	pos        Pos
	phase      string
	reason     string
	qosClass   string
	conditions map[string]string
	containers map[string]containerWant
}

// containerWant is what is wanted of one container's status. What is nil or empty is not compared.
type containerWant struct {
	state        string // running, waiting, terminated
	ready        *bool
	started      *bool
	restartCount *bound
	exitCode     *bound // of the state if terminated, else of the last one
	reason       string // of the state
	message      textMatch
	image        string // of the newest instance that was started, as the pod named it
}

func (c *statusCheck) needs(scene) needs { return needs{} }

func (c *statusCheck) look(s scene) Finding {
	st := s.status()
	var wants, wrong []string
	compare := func(what, want, got string) {
		if want == "" {
			return
		}
		wants = append(wants, what+" "+want)
		if want != got {
			wrong = append(wrong, fmt.Sprintf("%s is %s", what, orUnknown(got)))
		}
	}
	compare("phase", c.phase, string(st.Phase))
	compare("reason", c.reason, st.Reason)
	compare("qosClass", c.qosClass, string(st.QOSClass))
	for _, name := range slices.Sorted(maps.Keys(c.conditions)) {
		compare("condition "+name, c.conditions[name], condition(st, name))
	}
	f, h := Finding{Pos: c.pos, Check: "status"}, soon
	for _, name := range slices.Sorted(maps.Keys(c.containers)) {
		got, ok := s.containerStatus(name)
		w := c.containers[name]
		wants = append(wants, name+" "+w.String())
		if over := w.restartCount; ok && over != nil && over.high >= 0 && int(got.RestartCount) > over.high {
			h = never // it never falls
		}
		if bad := w.wrong(got, ok); bad != "" {
			wrong = append(wrong, name+": "+bad)
			f.Containers = append(f.Containers, name)
		}
	}
	f.Wanted = strings.Join(wants, ", ")
	if len(wrong) > 0 {
		return f.fail(h, "%s%s", strings.Join(wrong, ", "), inParentheses(s.waits()))
	}
	return f.pass("as wanted")
}

func condition(st corev1.PodStatus, name string) string {
	for _, c := range st.Conditions {
		if string(c.Type) == name {
			return string(c.Status)
		}
	}
	return ""
}

func (w containerWant) wrong(c corev1.ContainerStatus, ok bool) string {
	if !ok {
		return "is not there"
	}
	state, reason, message := "", "", ""
	switch t := c.State; {
	case t.Running != nil:
		state = "running"
	case t.Waiting != nil:
		state, reason, message = "waiting", t.Waiting.Reason, t.Waiting.Message
	case t.Terminated != nil:
		state, reason, message = "terminated", t.Terminated.Reason, t.Terminated.Message
	}
	switch {
	case w.restartCount != nil && !w.restartCount.holds(int(c.RestartCount)):
		return fmt.Sprintf("restartCount is %d", c.RestartCount)
	case w.state != "" && w.state != state:
		return "is " + orUnknown(stateText(c))
	case w.ready != nil && *w.ready != c.Ready:
		return fmt.Sprintf("ready is %v", c.Ready)
	case w.started != nil && *w.started != (c.Started != nil && *c.Started):
		return fmt.Sprintf("started is %v", !*w.started)
	case w.image != "" && w.image != c.Image:
		return "image is " + orNone(c.Image)
	case w.reason != "" && w.reason != reason:
		return "reason is " + orNone(reason)
	}
	if ok, why := w.message.holds(message); !ok {
		return "message: " + why
	}
	return w.wrongExit(c)
}

func (w containerWant) wrongExit(c corev1.ContainerStatus) string {
	if w.exitCode == nil {
		return ""
	}
	t := c.State.Terminated
	if t == nil {
		t = c.LastTerminationState.Terminated
	}
	switch {
	case t == nil:
		return "has not exited"
	case !w.exitCode.holds(int(t.ExitCode)):
		return fmt.Sprintf("exitCode is %d", t.ExitCode)
	}
	return ""
}

func (w containerWant) String() string {
	var parts []string
	add := func(set bool, format string, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(w.state != "", "%s", w.state)
	if w.ready != nil {
		add(true, "ready %v", *w.ready)
	}
	if w.started != nil {
		add(true, "started %v", *w.started)
	}
	if w.restartCount != nil {
		add(true, "restartCount %s", w.restartCount)
	}
	if w.exitCode != nil {
		add(true, "exitCode %s", w.exitCode)
	}
	add(w.reason != "", "reason %s", w.reason)
	add(w.image != "", "image %s", w.image)
	add(!w.message.empty(), "message %s", w.message)
	return strings.Join(parts, " and ")
}

func orNone(s string) string {
	if s == "" {
		return "empty"
	}
	return s
}

// logCheck reads a container's log.
type logCheck struct {
	pos       Pos
	container string
	previous  bool
	want      textMatch
}

func (c *logCheck) read() *pod.Read { return &pod.Read{Previous: c.previous} }

func (c *logCheck) needs(scene) needs { return needs{container: c.container, read: c.read()} }

func (c *logCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "logs", Wanted: fmt.Sprintf("the log of %s %s", c.container, c.want), Containers: []string{c.container}}
	got, seq, err := s.content(c.container, *c.read())
	f.Proof = proofOf(seq)
	switch {
	case err != "":
		return f.fail(soon, "the log of %s: %s", c.container, err)
	case got.Missing:
		return f.fail(soon, "%s has no log", c.container)
	}
	if ok, why := c.want.holds(got.Data); !ok {
		return f.fail(soon, "%s", why)
	}
	return f.pass("%d bytes of log are as wanted", len(got.Data))
}

func proofOf(seq int) []int {
	if seq == 0 {
		return nil
	}
	return []int{seq}
}

// fileCheck reads a file in a container.
type fileCheck struct {
	pos       Pos
	container string
	path      string
	exists    bool
	dir       *bool
	mode      *uint32
	uid, gid  *int64
	want      textMatch
}

func (c *fileCheck) needs(scene) needs {
	return needs{container: c.container, read: &pod.Read{File: c.path}}
}

func (c *fileCheck) look(s scene) Finding {
	f := Finding{Pos: c.pos, Check: "files", Wanted: c.String(), Containers: []string{c.container}}
	got, seq, err := s.content(c.container, pod.Read{File: c.path})
	f.Proof = proofOf(seq)
	switch {
	case err != "":
		return f.fail(soon, "%s in %s: %s", c.path, c.container, err)
	case got.Missing && !c.exists:
		return f.pass("it is not there")
	case got.Missing:
		return f.fail(soon, "%s has no %s", c.container, c.path)
	case !c.exists:
		return f.fail(soon, "it is there, %d bytes", got.Size)
	case c.dir != nil && *c.dir != got.Dir:
		return f.fail(soon, "it is %s", map[bool]string{true: "a directory", false: "no directory"}[got.Dir])
	case c.mode != nil && *c.mode != got.Mode&0o7777:
		return f.fail(soon, "its mode is %04o", got.Mode&0o7777)
	case c.uid != nil && *c.uid != int64(got.UID):
		return f.fail(soon, "its owner is %d", got.UID)
	case c.gid != nil && *c.gid != int64(got.GID):
		return f.fail(soon, "its group is %d", got.GID)
	}
	if ok, why := c.want.holds(got.Data); !ok {
		return f.fail(soon, "%s", why)
	}
	return f.pass("it is as wanted, %d bytes", got.Size)
}

func (c *fileCheck) String() string {
	if !c.exists {
		return fmt.Sprintf("no %s in %s", c.path, c.container)
	}
	parts := []string{fmt.Sprintf("%s in %s", c.path, c.container)}
	if c.dir != nil {
		parts = append(parts, fmt.Sprintf("directory %v", *c.dir))
	}
	if c.mode != nil {
		parts = append(parts, fmt.Sprintf("mode %04o", *c.mode))
	}
	if c.uid != nil {
		parts = append(parts, fmt.Sprintf("uid %d", *c.uid))
	}
	if c.gid != nil {
		parts = append(parts, fmt.Sprintf("gid %d", *c.gid))
	}
	if !c.want.empty() {
		parts = append(parts, c.want.String())
	}
	return strings.Join(parts, ", ")
}
