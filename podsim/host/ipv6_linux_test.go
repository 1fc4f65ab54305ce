package host

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/podsim/pod"
)

// behindProxy is a pod whose app stands behind a proxy that takes all its traffic.
const behindProxy = `
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
`

// A mesh takes what a pod sends and gets by IPv6 as it takes the rest, and the ledger has it.
func TestIPv6IsCapturedBothWays(t *testing.T) { // NW-14, T01, T03
	t.Parallel()
	rules, err := intercept.Default(intercept.Istio)
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello from the machine") })}
	t.Cleanup(func() { server.Close() })
	out := &pod.Request{Protocol: "http"}
	request := func(name string, r *pod.Request) step {
		return step{name: name, do: pod.Action{Op: pod.OpRequest, Container: "app", Timeout: 10 * time.Second, Request: r}}
	}
	called := func(l look) bool {
		if !ready(l) || len(l.status.PodIPs) < 2 {
			return false
		}
		asked = get("http://" + net.JoinHostPort(l.status.PodIPs[1].IP, "8080") + "/readyz")
		return true
	}
	tr := trial{
		pod: podNamed("web", behindProxy),
		configure: func(c *Config) {
			c.World = &World{Offline: true}
			c.Intercept = &Intercept{Proxy: "proxy", Rules: &rules}
		},
		opened: func(h *Host) {
			if !h.network.bridge.Gateway6.IsValid() {
				t.Error("pods have no IPv6 on this machine (podsim doctor says why)")
				return
			}
			l, err := net.Listen("tcp6", netip.AddrPortFrom(h.network.bridge.Gateway6, 0).String())
			if err != nil {
				t.Error(err)
				return
			}
			out.URL = "http://" + l.Addr().String() + "/"
			go server.Serve(l) // until it is closed
		},
		steps: []step{
			request("out", out).after(called),
			request("nowhere", &pod.Request{Protocol: "http", URL: "http://[2001:db8::9]/"}),
			sidekickIn("app", "cat", "/etc/hosts"),
			{name: "flows", do: pod.Action{Op: pod.OpFlows}},
			deleted(),
		},
	}
	r := tr.run(t)
	if asked != "200" {
		t.Errorf("the machine asked the pod by IPv6 and got %s, want 200", asked)
	}
	got := r.answer("out").Response
	if got == nil || got.Body != "hello from the machine" {
		r.fatalf("got response %+v, want that of the machine", got)
	}
	if e := r.answer("nowhere"); e.Response != nil && e.Response.Status != 0 {
		t.Errorf("got response %+v from an address beyond an offline world, want none", e.Response)
	}
	ips := r.statusAt(r.view.Len()).PodIPs
	contains(t, "/etc/hosts", r.output("cat /etc/hosts"), ips[0].IP+"\tweb\n", ips[1].IP+"\tweb")
	captured := map[string]bool{}
	for _, f := range r.answer("flows").Ledger.Flows {
		if strings.HasPrefix(f.Destination, "[") && f.Verdict == pod.Captured && f.Taker == "proxy" {
			captured[fmt.Sprintf("%s on %d", f.Destination, f.Listener)] = true
		}
	}
	for _, want := range []string{
		strings.TrimSuffix(strings.TrimPrefix(out.URL, "http://"), "/") + " on 15001",
		"[2001:db8::9]:80 on 15001",
		net.JoinHostPort(ips[1].IP, "8080") + " on 15006",
	} {
		if !captured[want] {
			t.Errorf("captured by IPv6 were %v, want %s among them", captured, want)
		}
	}
}

// get is the status code of an answer, or the error.
func get(url string) string {
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return fmt.Sprint(resp.StatusCode)
}

// Without interception and without an offline world a pod has both addresses everywhere, the IPv4 one first.
func TestAPodHasAnAddressOfEachFamily(t *testing.T) { // NW-14, DW-07
	t.Parallel()
	r := trial{
		pod: podNamed("dual", `
  containers:
    - name: app
      image: SIDEKICK
      args: [echo, $(ONE) $(ALL)]
      env:
        - {name: ONE, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: ALL, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
  restartPolicy: Never
`),
	}.run(t)
	s := r.final.status
	if len(s.PodIPs) != 2 || !netip.MustParseAddr(s.PodIPs[0].IP).Is4() || !netip.MustParseAddr(s.PodIPs[1].IP).Is6() || s.PodIP != s.PodIPs[0].IP {
		r.fatalf("got podIP %s and podIPs %v, want one of each family", s.PodIP, s.PodIPs)
	}
	if got, want := r.log("app"), fmt.Sprintf("%s %s,%s", s.PodIP, s.PodIPs[0].IP, s.PodIPs[1].IP); got != want {
		t.Errorf("the app's environment has %q, want %q", got, want)
	}
}
