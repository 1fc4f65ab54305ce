package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A trial is one pod, from its creation to its end, with every version of it that a watch has shown.
type trial struct {
	*testing.T
	m    *machine
	pod  *corev1.Pod // as applied last
	name string

	mu       sync.Mutex
	versions []version
	at       int // the version that the trial has come to
	more     chan struct{}
	gone     bool
	broken   error // why the watch ended
}

// A version is one event of the watch.
type version struct {
	kind string
	pod  *corev1.Pod
	at   time.Time
}

// run creates a pod, with flags of podsim apply, and returns when the watch shows it. The name is the test's.
func run(t *testing.T, pod *corev1.Pod, flags ...string) *trial {
	t.Helper()
	return runAs(t, nameOf(t.Name()), pod, flags...)
}

// runAs is run for a test that has several pods.
func runAs(t *testing.T, name string, pod *corev1.Pod, flags ...string) *trial {
	t.Helper()
	tr := &trial{T: t, m: site(t), pod: pod, name: name, more: make(chan struct{})}
	pod.Name = tr.name
	tr.m.watch.follow(tr)
	t.Cleanup(func() {
		tr.end()
		tr.m.watch.leave(tr)
	})
	tr.apply(flags...)
	tr.await("is there", func(*corev1.Pod) bool { return true })
	return tr
}

// nameOf makes a pod's name of a test's.
func nameOf(test string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimPrefix(test, "Test")) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	name := b.String()
	if len(name) > 60 {
		name = name[:25] + "-" + name[len(name)-34:]
	}
	return strings.Trim(name, "-")
}

// apply applies the pod as it is now.
func (tr *trial) apply(flags ...string) {
	tr.Helper()
	if err := tr.tryApply(flags...); err != nil {
		tr.Fatal(err)
	}
}

func (tr *trial) tryApply(flags ...string) error {
	text, err := json.Marshal(tr.pod)
	if err == nil {
		_, err = tr.m.podsim(context.Background(), text, append([]string{"apply", "-f", "-"}, flags...)...)
	}
	return err
}

// setImage changes the image of a container.
func (tr *trial) setImage(c *corev1.Container, ref string) {
	tr.Helper()
	tr.Logf("%s the image of %s becomes %s", now(), c.Name, ref)
	c.Image = ref
	tr.apply()
}

func now() string { return time.Now().Format("15:04:05.000") }

// cut says that no more versions come.
func (tr *trial) cut(why error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.broken = why
	close(tr.more)
	tr.more = make(chan struct{})
}

func (tr *trial) add(v version) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.versions = append(tr.versions, v)
	tr.gone = tr.gone || v.kind == "DELETED"
	close(tr.more)
	tr.more = make(chan struct{})
}

// patience is how long a case waits for what must come at once, or so.
const patience = 40 * time.Second

// await goes on through the versions until one is as said, and returns it. The current one may be it already.
func (tr *trial) await(what string, so func(*corev1.Pod) bool) *corev1.Pod {
	tr.Helper()
	return tr.awaitFor(patience, what, so)
}

func (tr *trial) awaitFor(limit time.Duration, what string, so func(*corev1.Pod) bool) *corev1.Pod {
	tr.Helper()
	p, err := tr.seek(limit, so)
	if err != nil {
		tr.Fatalf("waiting for a pod that %s: %v\n%s", what, err, tr.story())
	}
	tr.Logf("%s a pod that %s", now(), what)
	return p
}

func (tr *trial) seek(limit time.Duration, so func(*corev1.Pod) bool) (*corev1.Pod, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		tr.mu.Lock()
		for ; tr.at < len(tr.versions); tr.at++ {
			if p := tr.versions[tr.at].pod; so(p) {
				tr.mu.Unlock()
				return p, nil
			}
		}
		if len(tr.versions) > 0 {
			tr.at = len(tr.versions) - 1
		}
		more, gone, broken := tr.more, tr.gone, tr.broken
		tr.mu.Unlock()
		switch {
		case gone:
			return nil, errors.New("it is gone")
		case broken != nil:
			return nil, broken
		}
		select {
		case <-more:
		case <-deadline.C:
			return nil, fmt.Errorf("after %s it is still not so", limit)
		}
	}
}

// stays watches for a time, and fails if a version is not as said.
func (tr *trial) stays(d time.Duration, what string, so func(*corev1.Pod) bool) {
	tr.Helper()
	if p, err := tr.seek(d, func(p *corev1.Pod) bool { return !so(p) }); err == nil {
		tr.Fatalf("a pod that no longer %s:\n%s\n%s", what, statusLine(p), tr.story())
	}
	tr.Logf("%s still a pod that %s", now(), what)
}

// newest is the pod as it is.
func (tr *trial) newest() *corev1.Pod {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.versions[len(tr.versions)-1].pod
}

// history is all versions so far.
func (tr *trial) history() []version {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.versions
}

// delete asks for the pod's deletion, with a grace period in seconds unless it is negative.
func (tr *trial) delete(grace int) {
	tr.Helper()
	args := []string{"delete", "pod", tr.name, "--wait=false"}
	if grace >= 0 {
		args = append(args, fmt.Sprintf("--grace-period=%d", grace))
	}
	if _, err := tr.m.podsim(context.Background(), nil, args...); err != nil {
		tr.Fatal(err)
	}
	tr.Logf("%s deleted", now())
}

// awaitGone waits for the DELETED event, and returns its pod.
func (tr *trial) awaitGone(limit time.Duration) *corev1.Pod {
	tr.Helper()
	_, err := tr.seek(limit, func(*corev1.Pod) bool { return false })
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !tr.gone {
		tr.Fatalf("waiting for the pod to go: %v\n%s", err, story(tr.versions))
	}
	return tr.versions[len(tr.versions)-1].pod
}

// end deletes the pod, if it is still there, and holds its whole history to the invariants.
func (tr *trial) end() {
	tr.mu.Lock()
	gone, seen := tr.gone, len(tr.versions) > 0
	tr.mu.Unlock()
	if !seen {
		return
	}
	if !gone {
		if _, err := tr.m.podsim(context.Background(), nil, "delete", "pod", tr.name, "--now"); err != nil {
			tr.Error(err)
		}
		if _, err := tr.seek(patience, func(*corev1.Pod) bool { return false }); err != nil && !strings.Contains(err.Error(), "it is gone") {
			tr.Errorf("delete the pod: %v\n%s", err, tr.story())
			return
		}
	}
	if err := invariants(tr.history()); err != nil {
		tr.Errorf("%v\n%s", err, tr.story())
	}
	if tr.Failed() || testing.Verbose() {
		tr.Log(tr.story())
	}
}

// journal reads what the pod's scripts have said: of each container its log, or the previous one's where that is empty, as
// one has not begun to speak.
func (tr *trial) journal() (j journal) {
	tr.Helper()
	for _, s := range statusesOf(tr.newest()) {
		var err error
		if j, err = j.add(tr.lines(s)); err != nil {
			tr.Fatalf("the log of %s: %v", s.Name, err)
		}
	}
	return j
}

// lines is what a container's script has said.
func (tr *trial) lines(s corev1.ContainerStatus) string {
	if s.ContainerID == "" && s.LastTerminationState.Terminated == nil {
		return ""
	}
	out, err := tr.m.podsim(context.Background(), nil, "logs", tr.name, "-c", s.Name)
	if err == nil && out != "" {
		return out
	}
	previous, perr := tr.m.podsim(context.Background(), nil, "logs", tr.name, "-c", s.Name, "--previous")
	if perr != nil && err != nil {
		tr.Logf("no log of %s: %v, %v", s.Name, err, perr)
	}
	return previous
}

// log is the log of a container that was never restarted.
func (tr *trial) log(container string) string {
	tr.Helper()
	out, err := tr.m.podsim(context.Background(), nil, "logs", tr.name, "-c", container)
	if err != nil {
		tr.Fatal(err)
	}
	return out
}

// events is what podsim events says of the pod.
func (tr *trial) events() string {
	tr.Helper()
	out, err := tr.m.podsim(context.Background(), nil, "events", tr.name)
	if err != nil {
		tr.Fatal(err)
	}
	return out
}

// check holds the journal to claims.
func (tr *trial) check(claims ...claim) journal {
	tr.Helper()
	j := tr.journal()
	for _, c := range claims {
		if !c.so(j) {
			tr.Errorf("it is not so that %s:\n%s", c.text, j)
		}
	}
	return j
}

// story is the pod's history, in brief.
func (tr *trial) story() string { return story(tr.history()) }

func story(versions []version) string {
	var b strings.Builder
	last := ""
	for _, v := range versions {
		if line := v.kind + " " + statusLine(v.pod); line != last {
			fmt.Fprintf(&b, "\t%s %s\n", v.at.Format("15:04:05.000"), line)
			last = line
		}
	}
	return b.String()
}

// statusLine is a pod's status, in brief.
func statusLine(p *corev1.Pod) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", p.Status.Phase)
	if p.Status.Reason != "" {
		fmt.Fprintf(&b, "(%s)", p.Status.Reason)
	}
	for _, c := range p.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			fmt.Fprintf(&b, " +%s", c.Type)
		}
	}
	for _, s := range statusesOf(p) {
		fmt.Fprintf(&b, " %s#%d=%s", s.Name, s.RestartCount, stateWord(s.State))
		if s.Ready {
			b.WriteString("+ready")
		}
		if s.LastTerminationState.Terminated != nil {
			fmt.Fprintf(&b, "(last %s)", stateWord(s.LastTerminationState))
		}
	}
	return b.String()
}

func stateWord(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("%s:%d", s.Terminated.Reason, s.Terminated.ExitCode)
	case s.Waiting != nil:
		return s.Waiting.Reason
	}
	return "none"
}

// statusesOf lists the statuses of all of a pod's containers, in the order in which they start.
func statusesOf(p *corev1.Pod) (all []corev1.ContainerStatus) {
	all = append(all, p.Status.InitContainerStatuses...)
	all = append(all, p.Status.ContainerStatuses...)
	return append(all, p.Status.EphemeralContainerStatuses...)
}

// status is one container's; the zero one where there is none yet.
func status(p *corev1.Pod, name string) corev1.ContainerStatus {
	for _, s := range statusesOf(p) {
		if s.Name == name {
			return s
		}
	}
	return corev1.ContainerStatus{}
}

// started waits until a container's script says that it has started, in the log of its newest instance.
func (tr *trial) started(name string) {
	tr.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		s := status(tr.newest(), name)
		j, err := journal(nil).add(tr.lines(s))
		if err != nil {
			tr.Fatal(err)
		}
		if j.count(name, "Started") > int(s.RestartCount) {
			return
		}
		if time.Now().After(deadline) {
			tr.Fatalf("%s does not start:\n%s", name, tr.journal())
		}
	}
}
