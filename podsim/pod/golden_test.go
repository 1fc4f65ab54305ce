package pod

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// TestRules plays every case in testdata/*.txt. A file holds the cases of one group of rules. A case begins with a
// line that names the rules it shows and says in a sentence what happens:
//
//	== SC-02, SC-03: the main waits until the sidecar's startup probe has succeeded
//
// It goes on with blocks: commands, a line of four dashes, and what the commands came to, up to an empty line. -update
// rewrites the latter. The commands are:
//
//	pod                           the pod, as YAML in the indented lines that follow
//	up [OPTION=VALUE...]          what a user does; the options are a Kubelet's: version, gates, backoff, maxBackOff,
//	                              ticks, poll and pause, the gates as +NAME or -NAME with commas between
//	delete [SECONDS]
//	image CONTAINER IMAGE         the pod is changed: a container's image
//	deadline SECONDS              or its activeDeadlineSeconds
//	debug CONTAINER               or an ephemeral container is added
//	hold OP [CONTAINER [KIND]]    from now on, such actions are answered only by end
//	free OP [CONTAINER [KIND]]    and now they are again, and those in flight are answered at once
//	answer OP CONTAINER [KIND] REASON MESSAGE   from now on, such actions fail; REASON ok: they succeed again
//	end OP CONTAINER [KIND]       the action in flight succeeds
//	fail OP CONTAINER [KIND] REASON MESSAGE     the action in flight fails
//	exit CONTAINER CODE [oom]     the container's process ends
//	after DURATION                time passes; the planner is asked whenever it wants to be
//	show times|images|signals     from now on, the outputs also show when each condition changed last, or the
//	                              containers' images and their IDs, or their stop signals
//
// What is not held is answered at once, with success; an await is always held. In the output, > is an action that
// begins and < one that ends, with the time since the case's beginning. What is neither held nor fails is shown
// in short: pull, start, signal and setUp by their beginning; prepare, remove, create and await not at all.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no golden files in testdata (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playFile(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s is not what the planner does; see the difference, and rewrite it with -update if that is right:\n%s", file, firstDifference(string(text), got))
			}
		})
	}
}

// playFile returns the file's text with every output made anew.
func playFile(t *testing.T, text string) string {
	var out, commands strings.Builder
	var g *game
	inOutput := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case inOutput && line != "":
			continue
		case inOutput:
			inOutput = false
			out.WriteString("\n")
		case strings.HasPrefix(line, "== "):
			g = newGame()
			fmt.Fprintln(&out, line)
		case line == "----":
			if g == nil {
				t.Fatalf("commands stand before the first case (== ...): %s", commands.String())
			}
			fmt.Fprintf(&out, "%s----\n%s", commands.String(), g.play(t, commands.String()))
			commands.Reset()
			inOutput = true
		case line == "" && commands.Len() == 0, strings.HasPrefix(line, "#") && commands.Len() == 0:
			fmt.Fprintln(&out, line)
		default:
			fmt.Fprintln(&commands, line)
		}
	}
	if inOutput {
		out.WriteString("\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n\n"
}

// A game is one case being played.
type game struct {
	begin, now time.Time
	p          *corev1.Pod
	s          Status
	plan       Plan
	held       []string
	answers    map[string]Failure
	lastID     int
	shown      []string
	out        strings.Builder
}

func newGame() *game {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &game{begin: begin, now: begin, answers: map[string]Failure{}}
}

// play performs commands and returns what came of them.
func (g *game) play(t *testing.T, commands string) string {
	t.Helper()
	g.out.Reset()
	lines := strings.Split(strings.TrimSuffix(commands, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] == "pod" {
			j := i + 1
			for j < len(lines) && strings.HasPrefix(lines[j], " ") {
				j++
			}
			g.p = parsePod(t, strings.Join(lines[i+1:j], "\n"))
			i = j - 1
			continue
		}
		if err := g.command(strings.Fields(lines[i])); err != nil {
			fmt.Fprintf(&g.out, "error: %v\n", err)
		}
	}
	g.show()
	return g.out.String()
}

func parsePod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	p := new(corev1.Pod)
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		t.Fatalf("parse pod: %v\n%s", err, text)
	}
	if p.Name == "" {
		p.Name, p.Namespace, p.UID = "web", "default", "uid-1"
	}
	return p
}

func (g *game) command(w []string) error {
	switch w[0] {
	case "up":
		a := Action{Op: OpUp, Pod: g.p.Name}
		if len(w) > 1 {
			k, err := parseKubelet(w[1:])
			if err != nil {
				return err
			}
			a.Kubelet = &k
		}
		g.begins(a)
	case "delete":
		a := Action{Op: OpDelete, Pod: g.p.Name}
		if len(w) > 1 {
			n, err := strconv.ParseInt(w[1], 10, 64)
			if err != nil {
				return err
			}
			a.Grace = &n
		}
		g.begins(a)
	case "image", "deadline", "debug":
		return g.update(w)
	case "show":
		g.shown = append(g.shown, w[1])
		return nil
	case "hold":
		g.held = append(g.held, strings.Join(w[1:], " "))
		return nil
	case "free":
		g.held = slices.DeleteFunc(g.held, func(h string) bool { return h == strings.Join(w[1:], " ") })
		for _, a := range g.s.InFlight() {
			if matches(a, strings.Join(w[1:], " ")) {
				g.answer(a)
			}
		}
	case "answer":
		key, rest := splitKey(w[1:])
		delete(g.answers, key)
		if rest[0] != "ok" {
			g.answers[key] = Failure{Reason: rest[0], Message: strings.Join(rest[1:], " ")}
		}
		return nil
	case "end", "fail":
		key, rest := splitKey(w[1:])
		a, ok := g.flying(key)
		if !ok {
			return fmt.Errorf("%s is not in flight", key)
		}
		var f *Failure
		if w[0] == "fail" {
			f = &Failure{Reason: rest[0], Message: strings.Join(rest[1:], " ")}
		}
		g.ends(a, f)
	case "exit":
		return g.exit(w[1:])
	case "after":
		d, err := time.ParseDuration(w[1])
		if err != nil {
			return err
		}
		g.pass(g.now.Add(d))
		return nil
	default:
		return fmt.Errorf("there is no command %q", w[0])
	}
	return g.settle()
}

// update changes the pod.
func (g *game) update(w []string) error {
	p := g.p.DeepCopy()
	switch w[0] {
	case "image":
		containerOf(p, w[1]).Image = w[2]
	case "debug":
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: w[1], Image: "i:1"}})
	case "deadline":
		n, err := strconv.ParseInt(w[1], 10, 64)
		if err != nil {
			return err
		}
		p.Spec.ActiveDeadlineSeconds = &n
	}
	g.p = p
	if w[0] == "image" && !slices.Contains(g.shown, "image") {
		g.shown = append(g.shown, "image")
	}
	g.begins(Action{Op: OpUpdate, Pod: p.Name, Spec: p})
	return g.settle()
}

// parseKubelet reads a Kubelet from the words of an up command.
func parseKubelet(words []string) (k Kubelet, err error) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "version":
			err = k.Version.UnmarshalText([]byte(value))
		case "backoff":
			err = k.Pace.UnmarshalText([]byte(value))
		case "ticks":
			err = k.Ticks.UnmarshalText([]byte(value))
		case "maxBackOff":
			k.MaxBackOff, err = time.ParseDuration(value)
		case "poll":
			k.Poll, err = time.ParseDuration(value)
		case "pause":
			k.Pause, err = time.ParseDuration(value)
		case "gates":
			k.Gates = map[Gate]bool{}
			for name := range strings.SplitSeq(value, ",") {
				var g Gate
				err = errors.Join(err, g.UnmarshalText([]byte(name[1:])))
				k.Gates[g] = name[0] == '+'
			}
		default:
			err = fmt.Errorf("there is no option %q", key)
		}
		if err != nil {
			return k, err
		}
	}
	return k, k.Check()
}

// splitKey splits the words of a command into what names an action and the rest.
func splitKey(w []string) (key string, rest []string) {
	n := 2
	switch w[0] {
	case "setUp", "tearDown":
		n = 1
	case "probe", "hook", "signal":
		n = 3
	}
	return strings.Join(w[:n], " "), w[n:]
}

// matches reports whether an action is named by a key; what the key leaves out may be anything.
func matches(a Action, key string) bool {
	have := a.Op.String() + " " + a.Container
	switch a.Op {
	case OpProbe:
		have += " " + a.Probe.String()
	case OpHook:
		have += " " + a.Hook.String()
	case OpSignal:
		have += " " + a.Signal
	}
	return have+" " == key+" " || strings.HasPrefix(have+" ", key+" ")
}

func (g *game) flying(key string) (Action, bool) {
	for _, a := range g.s.InFlight() {
		if matches(a, key) {
			return a, true
		}
	}
	return Action{}, false
}

func (g *game) exit(w []string) error {
	a, ok := g.flying("await " + w[0])
	if !ok {
		return fmt.Errorf("%s does not run", w[0])
	}
	code, err := strconv.Atoi(w[1])
	if err != nil {
		return err
	}
	g.fold(Event{Kind: Ended, Action: a.Ref(), Exit: &Exit{Code: code, OOMKilled: len(w) > 2}}, fmt.Sprintf("exited %d", code))
	return g.settle()
}

// begins folds an action's beginning and, if it is not held, its end.
func (g *game) begins(a Action) {
	g.lastID++
	a.ID = g.lastID
	line := fmt.Sprintf("%-6s > %-28s", g.since(g.now), a)
	if a.Timeout > 0 {
		line += " within " + a.Timeout.String() + ","
	}
	if len(a.ThenStop)+len(a.Then) > 0 {
		line += fmt.Sprintf(" then %s,", strings.Join(append(prefixed("stop ", a.ThenStop), a.Then...), ", "))
	}
	held := slices.ContainsFunc(g.held, func(h string) bool { return matches(a, h) })
	if held || !g.short(a) || a.Op == OpPull || a.Op == OpStart || a.Op == OpSignal || a.Op == OpSetUp {
		fmt.Fprintln(&g.out, strings.TrimRight(line+" "+a.Why, " "))
	}
	g.apply(Event{Kind: Began, Time: g.now, Action: a})
	switch {
	case a.Op.ByDriver():
		g.apply(Event{Kind: Ended, Time: g.now, Action: a.Ref()})
	case a.Op == OpAwait || held:
	default:
		g.answer(a)
	}
}

// short reports whether an action that is not held is shown in short.
func (g *game) short(a Action) bool {
	for key := range g.answers {
		if matches(a, key) {
			return false
		}
	}
	switch a.Op {
	case OpSetUp, OpPrepare, OpPull, OpRemove, OpCreate, OpStart, OpAwait, OpSignal:
		return true
	}
	return false
}

func prefixed(prefix string, names []string) (out []string) {
	for _, n := range names {
		out = append(out, prefix+n)
	}
	return out
}

func (g *game) answer(a Action) {
	for key, f := range g.answers {
		if matches(a, key) {
			g.ends(a, &f)
			return
		}
	}
	g.ends(a, nil)
}

// ends folds an action's end; a probe that is to fail has its answer, not a failure.
func (g *game) ends(a Action, f *Failure) {
	e := Event{Kind: Ended, Action: a.Ref(), Failure: f}
	what := "ok"
	if f != nil {
		what = strings.TrimSpace(f.Reason + ": " + f.Message)
	}
	switch a.Op {
	case OpSetUp:
		e.Network = &Network{PodIPs: []string{"192.0.2.1"}, HostIP: "192.0.2.254"}
	case OpProbe:
		e.Failure, e.Probe = nil, &ProbeResult{Result: Success}
		if f != nil {
			e.Probe.Result = Failed
			if f.Reason == "unknown" {
				e.Probe.Result = Unknown
			}
			what = e.Probe.Result.String()
		}
	case OpPull:
		e.Image = &Image{ID: "sha256:" + a.Container, Ref: a.Image + "@sha256:" + a.Container, StopSignal: g.p.Annotations["stopSignal/"+a.Container]}
	}
	if g.short(a) && f == nil && !slices.ContainsFunc(g.held, func(h string) bool { return matches(a, h) }) {
		what = ""
	}
	g.fold(e, what)
}

func (g *game) fold(e Event, what string) {
	if what != "" {
		fmt.Fprintf(&g.out, "%-6s < %-28s %s\n", g.since(g.now), e.Action, what)
	}
	e.Time = g.now
	g.apply(e)
}

func (g *game) apply(e Event) {
	s, err := g.s.Apply(e)
	if err != nil {
		fmt.Fprintf(&g.out, "error: %v\n", err)
	}
	g.s = s
}

// settle asks the planner until it asks for nothing more.
func (g *game) settle() error {
	for range 1000 {
		g.plan = Next(g.p, g.s, g.now)
		if len(g.plan.Actions) == 0 {
			return nil
		}
		for _, a := range g.plan.Actions {
			g.begins(a)
		}
	}
	return fmt.Errorf("the planner does not come to rest")
}

// pass lets time pass, asking the planner whenever it wants to be.
func (g *game) pass(until time.Time) {
	for {
		if err := g.settle(); err != nil {
			fmt.Fprintf(&g.out, "error: %v\n", err)
			return
		}
		wake := g.plan.Wake
		if wake.IsZero() || wake.After(until) {
			break
		}
		if !wake.After(g.now) {
			fmt.Fprintf(&g.out, "error: the planner wants to be asked at %s, which is not later\n", g.since(wake))
			return
		}
		g.now = wake
	}
	g.now = until
	if err := g.settle(); err != nil {
		fmt.Fprintf(&g.out, "error: %v\n", err)
	}
}

func (g *game) since(t time.Time) string { return t.Sub(g.begin).String() }

// show prints the plan's other parts and the whole status, as Kubernetes would report it.
func (g *game) show() {
	if g.p == nil {
		return
	}
	if !g.plan.Wake.IsZero() {
		fmt.Fprintf(&g.out, "wake   %s\n", g.since(g.plan.Wake))
	}
	for _, w := range g.plan.Waiting {
		fmt.Fprintf(&g.out, "wait   %s: %s\n", w.Container, w.For)
	}
	st := g.s.PodStatus(g.p, g.now)
	fmt.Fprintf(&g.out, "pod    %s", st.Phase)
	if st.Reason != "" {
		fmt.Fprintf(&g.out, " %s", st.Reason)
	}
	if st.PodIP != "" {
		fmt.Fprintf(&g.out, " %s", st.PodIP)
	}
	for _, c := range st.Conditions {
		if c.Type == corev1.PodScheduled {
			continue
		}
		sign := "-"
		if c.Status == corev1.ConditionTrue {
			sign = "+"
		}
		fmt.Fprintf(&g.out, " %s%s", sign, c.Type)
		if c.Reason != "" && c.Type != corev1.ContainersReady {
			fmt.Fprintf(&g.out, "(%s)", c.Reason)
		}
	}
	if g.plan.Done {
		fmt.Fprint(&g.out, " done")
	}
	fmt.Fprintln(&g.out)
	if slices.Contains(g.shown, "times") {
		for _, c := range st.Conditions {
			fmt.Fprintf(&g.out, "since  %s %s %s\n", g.since(c.LastTransitionTime.Time), c.Type, c.Status)
		}
	}
	for _, c := range slices.Concat(st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses) {
		fmt.Fprintf(&g.out, "  %-7s %-7s #%d %s\n", c.Name, RoleOf(g.p, c.Name), c.RestartCount, containerLine(g, c))
	}
}

func containerLine(g *game, c corev1.ContainerStatus) string {
	state := func(s corev1.ContainerState) string {
		switch {
		case s.Running != nil:
			return "running since " + g.since(s.Running.StartedAt.Time)
		case s.Terminated != nil:
			line := fmt.Sprintf("terminated %d %s", s.Terminated.ExitCode, s.Terminated.Reason)
			if !s.Terminated.FinishedAt.IsZero() {
				line += " at " + g.since(s.Terminated.FinishedAt.Time)
			}
			return line
		case s.Waiting != nil && s.Waiting.Message != "":
			return fmt.Sprintf("waiting %s (%s)", s.Waiting.Reason, s.Waiting.Message)
		case s.Waiting != nil:
			return "waiting " + s.Waiting.Reason
		}
		return ""
	}
	line := state(c.State)
	if slices.Contains(g.shown, "image") && !slices.Contains(g.shown, "images") {
		line = c.Image + " " + line
	}
	if slices.Contains(g.shown, "images") {
		line = c.Image + "=" + c.ImageID + " " + line
	}
	if slices.Contains(g.shown, "signals") && c.StopSignal != nil {
		line = string(*c.StopSignal) + " " + line
	}
	if c.Started != nil && *c.Started {
		line += ", started"
	}
	if c.Ready {
		line += ", ready"
	}
	if last := state(c.LastTerminationState); last != "" {
		line += ", last " + last
	}
	return line
}

// golden holds a text to a file, which -update rewrites.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date; rewrite it with -update if the difference is right:\n%s", file, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			from := max(0, i-8)
			return fmt.Sprintf("line %d\n--- want\n%s\n--- got\n%s", i+1,
				strings.Join(w[from:min(len(w), i+6)], "\n"), strings.Join(g[from:min(len(g), i+6)], "\n"))
		}
	}
	return fmt.Sprintf("got has %d more lines", len(g)-len(w))
}
