package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/supervisor"
)

// lines starts a command that goes on until the test is over, and gives the lines that it prints.
func (m *machine) lines(t *testing.T, args ...string) <-chan string {
	t.Helper()
	cmd := m.command(t, m.state, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(out)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range lines { // to its end, as the pipe is closed by Wait
		}
		_ = cmd.Wait()
	})
	return lines
}

// labelled is podOf with a label by which a test finds its own pods.
func labelled(name, more string) string {
	return strings.Replace(podOf(name, "Always", more), "metadata: {name: "+name, "metadata: {labels: {test: "+name+"}, name: "+name, 1)
}

const served = `args: [app], readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}`

func TestAppliedPodsAreShownAsKubectlShowsThem(t *testing.T) {
	t.Parallel()
	m := site(t)
	get := func(args ...string) outcome { return m.perform(t, m.state, append([]string{"get"}, args...)...) }
	if o := get("pods", "-n", "empty"); o.code != exitOK || o.stdout != "" || o.stderr != "No resources found in empty namespace.\n" {
		t.Error(o)
	}
	if o := get("pods", "-n", "empty", "-o", "jsonpath={.kind} {.items}"); o.code != exitOK || o.stdout != "List []" {
		t.Error(o)
	}
	if o := m.apply(t, "shown", labelled("shown", served)); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "shown", "it is ready", ready)

	table := regexp.MustCompile(`^NAME +READY +STATUS +RESTARTS +AGE\nshown +1/1 +Running +0 +\d+s\n$`)
	for _, args := range [][]string{{"pod", "shown"}, {"pod/shown"}, {"pods", "-l", "test=shown"}} {
		if o := get(args...); o.code != exitOK || !table.MatchString(o.stdout) {
			t.Errorf("get %v: %s", args, o)
		}
	}
	if o := get("po", "-A", "-l", "test in (shown)", "--no-headers", "-o", "wide"); !regexp.MustCompile(`^default +shown +1/1 +Running +0 +\d+s +\d+(\.\d+){3} +podsim +<none> +<none>\n$`).MatchString(o.stdout) {
		t.Error(o)
	}
	var p corev1.Pod
	o := get("pod", "shown", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &p); err != nil || p.Kind != "Pod" || p.Status.Phase != corev1.PodRunning || p.Status.ContainerStatuses[0].ContainerID == "" {
		t.Errorf("%v %s", err, o)
	}
	var list corev1.PodList
	o = get("pods", "-l", "test=shown", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || list.Kind != "List" || len(list.Items) != 1 || list.Items[0].UID != p.UID {
		t.Errorf("%v %s", err, o)
	}
	if o := get("pods", "-l", "test=shown", "-o", "name"); o.stdout != "pod/shown\n" {
		t.Error(o)
	}
	if o := get("pod", "shown", "absent"); o.code != exitFailed || !table.MatchString(o.stdout) || !strings.Contains(o.stderr, `Error from server (NotFound): pods "absent" not found`) {
		t.Error(o)
	}
	if o := get("pod", "absent", "--ignore-not-found"); o.code != exitOK || o.stdout+o.stderr != "" {
		t.Error(o)
	}
	for _, args := range [][]string{{}, {"nodes"}, {"pods", "-o", "xml"}, {"pod", "shown", "-A"}, {"pods", "--output-watch-events"}, {"pods", "-l", "a in"}} {
		if o := get(args...); o.code != exitUsage || o.stdout != "" {
			t.Errorf("get %v: %s", args, o)
		}
	}
	described(t, m)
}

// described looks at what describe and events say of the pod named shown.
func described(t *testing.T, m *machine) {
	o := m.perform(t, m.state, "describe", "pod", "show") // a name's beginning is enough
	for _, want := range []string{"Name: +shown\n", "Labels: +test=shown\n", "Status: +Running\n", "    Readiness: +http-get http://:8080/ ", "  Ready +True \n",
		`  Normal +Scheduled +\d+s +default-scheduler +Successfully assigned default/shown to podsim\n`, `  Normal +Started +\d+s +kubelet +spec.containers{main}: Container started\n`} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(o.stdout) {
			t.Errorf("describe does not say %q: %s", want, o)
		}
	}
	if o := m.perform(t, m.state, "describe", "pod", "absent"); o.code != exitFailed || !strings.Contains(o.stderr, `pods "absent" not found`) {
		t.Error(o)
	}
	o = m.perform(t, m.state, "events", "pod/shown", "--types", "normal")
	var reasons []string
	for line := range strings.Lines(o.stdout) {
		reasons = append(reasons, strings.Fields(line)[2])
	}
	if want := []string{"TYPE", "Scheduled", "Pulled", "Created", "Started"}; !slices.Equal(reasons, want) {
		t.Errorf("events tells of %v, want %v: %s", reasons, want, o)
	}
	if o := m.perform(t, m.state, "get", "events", "-o", `jsonpath={.items[?(@.involvedObject.name=="shown")].involvedObject.fieldPath}`); !strings.HasPrefix(o.stdout, "spec.containers{main} spec.containers{main}") {
		t.Error(o)
	}
	if o := m.perform(t, m.state, "events", "-n", "empty"); o.code != exitOK || o.stderr != "No events found in empty namespace.\n" {
		t.Error(o)
	}
}

func TestWhoMayNotSeePodsIsToldWhoMay(t *testing.T) {
	t.Parallel()
	err := podError(&fs.PathError{Op: "open", Path: "/var/lib/podsim/pods", Err: fs.ErrPermission})
	if e, ok := errors.AsType[*exit](err); !ok || e.code != exitHost || !strings.Contains(err.Error(), "run podsim as root, or with sudo") {
		t.Errorf("got %v", err)
	}
}

func TestAWatchShowsAPodFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	m := site(t)
	changes := m.lines(t, "get", "pods", "-l", "test=watched", "-w", "-o", "json", "--output-watch-events")
	rows := m.lines(t, "get", "pods", "-l", "test=watched", "-w", "--output-watch-events")
	happens := m.lines(t, "events", "-w")
	if o := m.apply(t, "watched", labelled("watched", served)); o.code != exitOK {
		t.Fatal(o)
	}
	seen := map[string]bool{}
	last := supervisor.Event{}
	var deleted chan outcome
	for line := range changes {
		var e supervisor.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Pod.Kind != "Pod" {
			t.Fatalf("%v: %s", err, line)
		}
		if len(seen) == 0 != (e.Type == supervisor.Added) {
			t.Errorf("%s is version %s", e.Type, e.Pod.ResourceVersion)
		}
		seen[string(e.Pod.Status.Phase)] = true
		if last = e; e.Type == supervisor.Deleted {
			break
		}
		if deleted == nil && ready(e) {
			deleted = make(chan outcome, 1)
			go func() { deleted <- m.perform(t, m.state, "delete", "pod", "watched", "--now") }()
		}
	}
	if deleted == nil {
		t.Fatalf("the pod was never ready; last %+v", last)
	}
	if o := <-deleted; o.code != exitOK {
		t.Error(o)
	}
	if !seen["Pending"] || !seen["Running"] || last.Type != supervisor.Deleted || last.Pod.Status.ContainerStatuses[0].State.Terminated == nil {
		t.Errorf("seen %v, and last %+v", seen, last)
	}
	var table []string
	for row := range rows {
		table = append(table, row)
		if strings.HasPrefix(row, "DELETED") {
			break
		}
	}
	if text := strings.Join(table, "\n"); !regexp.MustCompile(`(?s)^EVENT +NAME +READY +STATUS .*\nADDED +watched +0/1 .*\nMODIFIED +watched +1/1 +Running .*\nMODIFIED +watched +1/1 +Terminating .*\nDELETED +watched +0/1 `).MatchString(text) {
		t.Errorf("the table says\n%s", text)
	}
	var reasons []string
	for line := range happens {
		if words := strings.Fields(line); strings.Contains(line, "Pod/watched ") {
			reasons = append(reasons, words[slices.Index(words, "Pod/watched")-1])
			if reasons[len(reasons)-1] == "Killing" {
				break
			}
		}
	}
	reasons = slices.DeleteFunc(reasons, func(r string) bool { return r == "Unhealthy" }) // it depends on how fast the app is
	if want := []string{"Scheduled", "Pulled", "Created", "Started", "Killing"}; !slices.Equal(reasons, want) {
		t.Errorf("events -w told of %v, want %v", reasons, want)
	}
}

func TestALostPodIsListedAsLost(t *testing.T) {
	t.Parallel()
	m := site(t)
	if o := m.apply(t, "list-lost", labelled("list-lost", served)); o.code != exitOK {
		t.Fatal(o)
	}
	m.await(t, "list-lost", "it is ready", ready)
	rows := m.lines(t, "get", "pods", "-l", "test=list-lost", "-w")
	if header, row := <-rows, <-rows; !strings.HasPrefix(header, "NAME") || !strings.Contains(row, "Running") {
		t.Errorf("the watch begins with\n%s\n%s", header, row)
	}
	f, err := supervisor.Get(context.Background(), m.where(), corev1.NamespaceDefault, "list-lost")
	if err != nil {
		t.Fatal(err)
	}
	kill(t, supervisorOf(t, m, f.Run))
	if row := <-rows; !regexp.MustCompile(`^list-lost +1/1 +Lost `).MatchString(row) {
		t.Errorf("the watch goes on with\n%s", row)
	}
	if o := m.perform(t, m.state, "get", "pod", "list-lost", "--no-headers"); o.code != exitOK || !regexp.MustCompile(`^list-lost +1/1 +Lost `).MatchString(o.stdout) {
		t.Error(o)
	}
	if o := m.perform(t, m.state, "describe", "pod", "list-lost"); !regexp.MustCompile(`(?m)^Status: +Lost$`).MatchString(o.stdout) || !strings.Contains(o.stdout, "Container started") {
		t.Error(o)
	}
}
