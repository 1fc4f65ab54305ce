package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The examples pass, their reports say so, and their stored timelines come to the same verdicts.
func TestTheExamplesPassAndAreJudgedTheSameAgain(t *testing.T) {
	t.Parallel()
	m := site(t)
	examples, err := filepath.Abs("../../scenarios/examples")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := m.perform(t, dir, "test", examples, "--junit", "junit.xml", "--json", "report.json", "--timelines", "timelines")
	wants(t, o, exitOK, o.stdout, "5 passed, 0 failed, 0 inconclusive", "note: backoff x20")

	var junit struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Cases []struct{} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if data, err := os.ReadFile(filepath.Join(dir, "junit.xml")); err != nil || xml.Unmarshal(data, &junit) != nil {
		t.Fatalf("read junit.xml: %v\n%s", err, data)
	}
	if junit.Failures != 0 || len(junit.Suites) == 0 || len(junit.Suites[0].Cases) == 0 {
		t.Errorf("junit.xml holds %+v", junit)
	}
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil || !json.Valid(data) || !strings.Contains(string(data), "traffic-is-intercepted") ||
		!strings.Contains(string(data), "backoff x20: back-offs pass 20 times as fast") {
		t.Errorf("report.json: %v\n%s", err, data)
	}
	for file, name := range map[string]string{"order.yaml": "starts-and-stops-in-order", "interception.yaml": "traffic-is-intercepted",
		"restarts.yaml": "restarts-by-its-rules", "job.yaml": "a-job-ends-with-its-sidecar", "update.yaml": "changes-in-place"} {
		again := m.perform(t, dir, "check", filepath.Join(examples, file), filepath.Join("timelines", name+".jsonl"))
		wants(t, again, exitOK, again.stdout, "1 passed, 0 failed, 0 inconclusive", name)
		for line := range strings.Lines(again.stdout) {
			if strings.Contains(line, "PASS") && !strings.Contains(o.stdout, line) {
				t.Errorf("judged again, it says %q; the run did not\n%s", line, o)
			}
		}
	}
}

const failing = `apiVersion: podsim/v1alpha1
kind: Scenario
metadata: {name: NAME}
spec:
  pod: {file: pod.yaml}
  steps:
    - up: {wait: ready}
    - name: what cannot be
      expect: {count: {main.started: 2}}
`

func TestAFailedScenarioEndsWithOneAndIsJudgedTheSameAgain(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	write(t, dir, "pod.yaml", podOf("web", "Always", `args: [app]`))
	write(t, dir, "scenario.yaml", strings.Replace(failing, "NAME", "fails", 1))
	o := m.perform(t, dir, "test", "scenario.yaml", "--timelines", "kept")
	wants(t, o, exitFailed, o.stdout, "what cannot be", "FAIL", "0 passed, 1 failed")
	again := m.perform(t, dir, "check", "scenario.yaml", "kept/fails.jsonl")
	wants(t, again, exitFailed, again.stdout, "what cannot be", "FAIL", "0 passed, 1 failed")

	// A timeline that a killed podsim leaves is judged as far as it goes; another file is bad input.
	whole, err := os.ReadFile(filepath.Join(dir, "kept", "fails.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "torn.jsonl", string(whole[:len(whole)-10]))
	again = m.perform(t, dir, "check", "scenario.yaml", "torn.jsonl")
	if !strings.Contains(again.stderr, "torn.jsonl: the last record is torn") || again.code == exitOK || again.code == exitUsage {
		t.Errorf("a torn timeline: %s", again)
	}
	for name, text := range map[string]string{"empty.jsonl": "", "other.jsonl": "{}\n", "cut.jsonl": string(whole[:200]), "text.jsonl": "hello\nthere\n"} {
		write(t, dir, name, text)
		again = m.perform(t, dir, "check", "scenario.yaml", name)
		wants(t, again, exitUsage, again.stderr, name+": read timeline: line 1: not a timeline")
	}
}

func TestAnInterruptedScenarioEndsWith130AndLeavesNothing(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	write(t, dir, "pod.yaml", podOf("web", "Always", `args: [run, --ignore-term]`))
	write(t, dir, "scenario.yaml", strings.Replace(strings.Replace(failing, "NAME", "sleeps", 1), "expect: {count: {main.started: 2}}", "sleep: 1m", 1))
	p := begin(t, m.command(t, dir, "test", "scenario.yaml"))
	p.until("step 2: what cannot be")
	begun := time.Now()
	p.signal(os.Interrupt)
	o := p.end()
	wants(t, o, exitInterrupted, o.stdout)
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %s\n%s", took, o)
	}
}

// What a killed podsim leaves is seen by ps, taken away by clean, and does not disturb another podsim.
func TestCleanTakesAwayWhatAKilledRunLeft(t *testing.T) {
	m := site(t) // not parallel: clean stops containerd, unless others use it
	dir := t.TempDir()
	pod := write(t, dir, "pod.yaml", podOf("web", "Always", `args: [app]`))
	dead := begin(t, m.command(t, dir, "run", pod))
	dead.until("main  started")
	dead.signal(os.Kill)
	dead.end()
	live := begin(t, m.command(t, dir, "run", pod))
	live.until("listening on") // before that a process 1 takes no TERM

	o := m.perform(t, dir, "ps")
	wants(t, o, exitOK, o.stdout, "dead", "alive", "default/web")
	var deadID, liveID string
	for line := range strings.Lines(o.stdout) {
		switch f := strings.Fields(line); {
		case strings.Contains(line, " dead "):
			deadID = f[0]
		case strings.Contains(line, " alive "):
			liveID = f[0]
		}
	}
	o = m.perform(t, dir, "clean", liveID)
	wants(t, o, exitLeft, o.stderr, liveID)
	o = m.perform(t, dir, "clean")
	wants(t, o, exitOK, o.stdout, "cleaned run "+deadID+"\n")
	if strings.Contains(o.stdout, liveID) {
		t.Errorf("a run that lives was cleaned\n%s", o)
	}
	live.signal(os.Interrupt)
	o = live.end()
	wants(t, o, exitInterrupted, o.stdout, "pod   gone")
	o = m.perform(t, dir, "ps")
	wants(t, o, exitOK, o.stdout, "RUN")
	if strings.Count(o.stdout, "\n") != 1 {
		t.Errorf("something is left\n%s", o)
	}
}

func TestDoctorFindsThisMachineReadyAndNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	o := m.perform(t, dir, "doctor")
	wants(t, o, exitOK, o.stdout, "running as root", "complete in "+m.bundle)
	o = m.perform(t, dir, "--bundle", dir, "doctor")
	wants(t, o, exitHost, o.stdout, "no containerd", "mend it with: make build")
	o = m.perform(t, dir, "--bundle", dir, "run", write(t, dir, "pod.yaml", podOf("web", "Never", `args: [echo, x]`)))
	wants(t, o, exitHost, o.stderr, "this host is not ready", "mend it with: make build")
}

func TestABadCNIConfigurationIsTheUsersToMend(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	pod := write(t, dir, "pod.yaml", podOf("web", "Never", `args: [echo, x]`))
	for text, want := range map[string]string{
		"{\n":             "line ",
		`{"name": "net"}`: `neither "plugins"`,
		`{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "no-such-plugin"}]}`: "no-such-plugin",
	} {
		o := m.perform(t, dir, "run", "--cni-conf", write(t, dir, "net.conflist", text), pod)
		wants(t, o, exitUsage, o.stderr, "net.conflist", want)
	}
}
