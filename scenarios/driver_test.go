package scenarios

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podsim/podsim/podsim"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/pod/podtest"
	"github.com/podsim/podsim/podsim/timeline"
)

// The real driver must be able to run a script as its director.
var _ podsim.Director = (*Script)(nil)

// others answers what a scenario asks for: commands of one word succeed, others fail with their length.
func others(_ context.Context, a pod.Action) (pod.Event, error) {
	<-time.After(2 * time.Millisecond) // in a bubble: virtual time
	switch a.Op {
	case pod.OpExec, pod.OpRun:
		return pod.Event{Output: &pod.Output{Code: len(a.Command) - 1}}, nil
	case pod.OpRequest:
		return pod.Event{Response: &pod.Response{Status: 200, Local: "10.7.0.2:4001", Remote: "198.18.0.10:80"}}, nil
	case pod.OpFlows:
		return pod.Event{Ledger: &pod.Ledger{Complete: true, Flows: []pod.Flow{captured, own}}}, nil
	}
	return pod.Event{Content: &pod.Content{Data: "a line of " + a.Container + "\n"}}, nil
}

func TestTheDriverCarriesAScriptOut(t *testing.T) {
	for _, c := range []struct {
		name, steps string
		want        Outcome
	}{
		{"up, in order, and down", "- up: {wait: ready}\n- expect: {order: proxy.startup.ok < app.started}\n- delete: {}", Pass},
		{"what fails is deleted all the same", "- up: {wait: ready}\n- exec: {container: app, command: [a, b]}", Fail},
		{"a failure before the pod was asked for", "- exec: {container: app, command: [a, b]}\n- up: {}", Fail},
		{"commands may come before the pod", "- run: make\n- up: {}", Pass},
		{"a sidecar is killed and comes back", `- up: {wait: ready}
- kill: {container: proxy, signal: KILL}
- wait: {container: proxy, state: ready}
- expect: {count: {proxy.restarted: 1}, logs: {container: app, contains: a line}}`, Pass},
		{"traffic is proven by the ledger", `- up: {wait: ready}
- request: {from: app, http: "http://api/"}
  expect: {status: 200, flow: {takenBy: proxy, onward: api}}
- consistently: 1s
  request: {from: app, http: "http://api/"}
- expect: {noBypass: true, noLoop: true}`, Pass},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text := scenarioText("test", "file: pod.yaml", c.steps) + "  intercept: {profile: istio, proxy: proxy}\n  stubs: {api: {http: {}}}\n"
				s := mustParse(t, text)
				host := &podtest.Host{Pods: s.Pods, Other: others}
				run := &podsim.Run{Pods: s.Pods, Host: host, Director: NewScript(s)}
				v, err := run.Drive(t.Context())
				if err != nil {
					t.Fatalf("drive: %v\n%s", err, story(v))
				}
				res := Judge(s, timeline.Header{Pods: s.Pods}, v)
				if res.Outcome != c.want {
					t.Errorf("outcome %v, want %v\n%s\n%s", res.Outcome, c.want, tell(res), story(v))
				}
				marksAgree(t, res, v)
				if left := host.Left(); len(left) > 0 {
					t.Errorf("the host still has %v", left)
				}
			})
		})
	}
}
