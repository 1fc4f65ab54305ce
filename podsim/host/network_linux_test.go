package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/netns/world"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/pod"
)

func TestTheNetworkOutlivesARestartOfAnyContainer(t *testing.T) { // NW-02
	t.Parallel()
	before := sidekickIn("app", "stat", "/proc/self/ns/net")
	before.name = "before"
	after := sidekickIn("app", "stat", "/proc/self/ns/net")
	after.name = "after"
	r := trial{
		pod: podNamed("web", `
  containers:
    - name: server
      image: SIDEKICK
      args: [app]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
    - {name: app, image: SIDEKICK, args: [run]}
`),
		steps: []step{
			before.after(ready),
			signalled("app", "KILL"),
			after.after(restarted("app", 1)),
			sidekickIn("app", "get", "http://127.0.0.1:8080/"),
			deleted(),
		},
	}.run(t)
	was, is := namespaceIn(r.output("before")), namespaceIn(r.output("after"))
	if was == "" || was != is {
		t.Errorf("the network namespace was %q and is %q, want the same", was, is)
	}
	r.output("get http://127.0.0.1:8080/")
	r.never("server.restarted")
}

// namespaceIn finds net:[4026531840] in what sidekick's stat says of the link.
func namespaceIn(text string) string {
	_, rest, found := strings.Cut(text, ":[")
	if !found {
		return ""
	}
	id, _, _ := strings.Cut(rest, "]")
	return id
}

func TestNamespacesThatContainersShareAndThoseTheyDoNot(t *testing.T) { // NS-01
	t.Parallel()
	steps := []step{sidekickIn("a", "write", "/dev/shm/word", "shared").after(running("b")), sidekickIn("b", "cat", "/dev/shm/word")}
	kinds := []string{"ipc", "net", "uts", "pid", "mnt"}
	for _, kind := range kinds {
		for _, c := range []string{"a", "b"} {
			s := sidekickIn(c, "stat", "/proc/self/ns/"+kind)
			s.name = c + " " + kind
			steps = append(steps, s)
		}
	}
	r := trial{
		pod:   podNamed("sharing", "  containers: [{name: a, image: SIDEKICK, args: [run]}, {name: b, image: SIDEKICK, args: [run]}]\n"),
		steps: append(steps, deleted()),
	}.run(t)
	if got := r.output("cat /dev/shm/word"); got != "shared" {
		t.Errorf("/dev/shm/word: got %q, want shared", got)
	}
	for _, kind := range kinds {
		a, b := namespaceIn(r.output("a "+kind)), namespaceIn(r.output("b "+kind))
		if shared := kind != "pid" && kind != "mnt"; a == "" || (a == b) != shared {
			t.Errorf("%s: a is in %q and b in %q, want the same: %v", kind, a, b, shared)
		}
	}
}

func TestAPodWithoutANetworkHasLoopback(t *testing.T) { // PB-03
	t.Parallel()
	r := trial{
		pod: podNamed("alone", `
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`),
		configure: func(c *Config) { c.NoNetwork = true },
		steps:     []step{sidekickIn("app", "get", "http://127.0.0.1:8080/").after(ready), deleted()},
	}.run(t)
	r.output("get http://127.0.0.1:8080/")
	if ip := r.final.status.PodIP; ip != loopback {
		t.Errorf("got address %s, want %s", ip, loopback)
	}
}

func TestAContainerdOfTheUsersOwnIsUsedAndLeftAsItWas(t *testing.T) {
	m := here(t)
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	other := Site{StateDir: filepath.Join(dir, "s"), RunDir: filepath.Join(dir, "r")}
	theirs, err := ctrd.Open(ctx, Config{Site: other, Bundle: testBundle()}.runtime())
	if err != nil {
		t.Fatal(err)
	}
	external := Config{Site: m.site, Bundle: testBundle(), Containerd: theirs.Address()}
	sidekick, prog, err := m.images(external)
	if err != nil {
		t.Error(err)
	}
	r := trial{
		pod:       podNamed("guest", "  restartPolicy: Never\n  containers: [{name: app, image: SIDEKICK, args: [echo, from the other one]}]\n"),
		machine:   &machine{site: m.site, programs: m.programs, sidekick: sidekick, prog: prog},
		configure: func(c *Config) { c.Containerd = theirs.Address() },
	}.try(t)
	if r.err != nil || r.log("app") != "from the other one" {
		t.Errorf("got error %v and log %q", r.err, r.log("app"))
	}
	if _, err := theirs.Version(ctx); err != nil {
		t.Errorf("the other containerd does not answer any more: %v", err)
	}
	if left, err := theirs.Leftovers(ctx, ""); err != nil || len(left) > 0 {
		t.Errorf("in the other containerd is left %v, %v", left, err)
	}
	if err := errors.Join(theirs.Close(), closeSite(other)); err != nil {
		t.Error(err)
	}
	if left := leftOf(dir, other); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

func TestTrafficIsCapturedAndAStubsConnectionsAreNoted(t *testing.T) {
	t.Parallel()
	rules, err := intercept.Default(intercept.Istio)
	if err != nil {
		t.Fatal(err)
	}
	ask := step{name: "ask", do: pod.Action{Op: pod.OpRequest, Container: "app", Timeout: 10 * time.Second,
		Request: &pod.Request{Protocol: "http", URL: "http://api.example.com/v1/x"}}}
	tr := trial{
		pod: podNamed("web", `
  initContainers:
    - name: proxy
      image: SIDEKICK
      args: [proxy]
      restartPolicy: Always
      securityContext: {runAsUser: 1337, runAsGroup: 1337}
      startupProbe: {httpGet: {path: /healthz/ready, port: 15021}, periodSeconds: 1, failureThreshold: 30}
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`),
		configure: func(c *Config) {
			c.World = &World{Offline: true, Stubs: []world.Stub{{Name: "api", Hosts: []string{"api.example.com"},
				HTTP: &world.HTTP{Port: 80, Routes: []world.Route{{Path: "/v1/*", Body: "hello from api"}}}}}}
			c.Intercept = &Intercept{Proxy: "proxy", Rules: &rules}
		},
		steps: []step{ask.after(ready), {name: "flows", do: pod.Action{Op: pod.OpFlows}}, deleted()},
	}
	r := tr.run(t)
	got := r.answer("ask").Response
	if got == nil || got.Status != 200 || got.Body != "hello from api" {
		r.fatalf("got response %+v, want that of the stub", got)
	}
	r.order("rules.installed", "proxy.started", "app.started", "api.connected", "pod.deleteRequested")
	l := r.answer("flows").Ledger
	if l == nil || !l.Complete {
		r.fatalf("got ledger %+v, want a complete one", l)
	}
	for _, f := range l.Flows {
		if f.Source == got.Local {
			if f.Verdict != pod.Captured || f.Taker != "proxy" || f.Listener != 15001 || f.OnwardTo != "api" {
				t.Errorf("got flow %+v, want it captured by proxy on 15001, and on to api", f)
			}
			return
		}
	}
	t.Errorf("the request's flow from %s is not among %+v", got.Local, l.Flows)
}
