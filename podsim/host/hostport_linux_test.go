package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns"
)

// freePort is a port of the machine that nobody has at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestAHostPortLeadsToARegularContainerWhileThePodIsThere(t *testing.T) { // NW-04
	t.Parallel()
	port, sidecars := freePort(t), freePort(t)
	at := fmt.Sprintf("http://127.0.0.1:%d/readyz", port)
	var app, sidecar string
	asked := func(l look) bool {
		if !ready(l) {
			return false
		}
		app, sidecar = get(at), get(fmt.Sprintf("http://127.0.0.1:%d/readyz", sidecars))
		return true
	}
	trial{
		pod: podNamed("web", fmt.Sprintf(`
  initContainers:
    - name: side
      image: SIDEKICK
      args: [run]
      restartPolicy: Always
      ports: [{containerPort: 8080, hostPort: %d}]
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      ports: [{containerPort: 8080, hostPort: %d}]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`, sidecars, port)),
		steps: []step{deleted().after(asked)},
	}.run(t)
	if app != "200" {
		t.Errorf("the container's port answers %s, want 200", app)
	}
	if !strings.Contains(sidecar, "refused") {
		t.Errorf("the sidecar's port answers %s, want that nobody is there", sidecar)
	}
	if got := get(at); !strings.Contains(got, "refused") {
		t.Errorf("after the pod's end its port answers %s, want that nobody is there", got)
	}
}

func TestAHostPortThatCannotBeHadIsSaidBeforeAnythingIsMade(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := int32(l.Addr().(*net.TCPAddr).Port)
	asking := func(name, ip string, port int32) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 80, HostPort: port, HostIP: ip}}}}}}
		p.Name = name
		return p
	}
	free := int32(freePort(t))
	for _, tt := range []struct {
		name  string
		c     Config
		input bool
		want  string
	}{
		{"taken by a process", Config{Pods: []*corev1.Pod{asking("a", "", taken)}}, false, fmt.Sprintf("pod a: hostPort: port %d/tcp of this machine is taken by another process", taken)},
		{"asked for twice", Config{Pods: []*corev1.Pod{asking("a", "", free), asking("b", "127.0.0.1", free)}}, true, "is pod a's already"},
		{"of no address of the machine", Config{Pods: []*corev1.Pod{asking("a", "203.0.113.9", free)}}, true, "this machine has no address 203.0.113.9"},
		{"of what is no address", Config{Pods: []*corev1.Pod{asking("a", "here", free)}}, true, "container app: hostIP: "},
		{"without a network", Config{NoNetwork: true, Pods: []*corev1.Pod{asking("a", "", free)}}, true, "--no-network"},
		{"free", Config{Pods: []*corev1.Pod{asking("a", "", free), asking("b", "", 0)}}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkHostPorts(tt.c)
			_, input := errors.AsType[*InputError](err)
			if input != tt.input || tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// newPin pins a network namespace for the time of the test.
func newPin(t *testing.T) string {
	t.Helper()
	pins := netns.Pins{Net: filepath.Join(t.TempDir(), "net")}
	if err := pins.Create(netns.PinOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pins.Remove(); err != nil {
			t.Error(err)
		}
	})
	return pins.Net
}

// A run that was killed leaves its ports in its record; clean takes them away by that, while another run's stay.
func TestTheReapOfARunTakesItsPortsAwayAlone(t *testing.T) {
	m := here(t)
	t.Parallel()
	mine, others := freePort(t), freePort(t)
	n := netns.Network{StateDir: m.site.StateDir}
	cni := n.CNI(testBundle(), netns.HostPluginDir)
	attached := map[int]netns.Attachment{}
	for _, port := range []int{mine, others} {
		id := fmt.Sprintf("port%d", port)
		b, err := n.Join(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		a := netns.Attachment{Conf: b.Conf, ContainerID: id, IfName: "eth0", NetNS: newPin(t),
			Ports: []netns.HostPort{{Protocol: "tcp", Port: uint16(port), Target: 80}}}
		if _, err := cni.Attach(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		attached[port] = a
	}
	again := attached[mine]
	again.ContainerID, again.NetNS = again.ContainerID+"again", newPin(t)
	drop := func(port int) {
		a := attached[port]
		r := reaper{site: m.site, cni: cni, shared: &n, attachments: []netns.Attachment{a}}
		if err := r.leave(context.Background(), a.ContainerID, a.ContainerID); err != nil {
			t.Error(err)
		}
	}
	if _, err := cni.Attach(t.Context(), again); err == nil || !strings.Contains(err.Error(), "is taken by pod "+attached[mine].ContainerID) {
		t.Errorf("while the pod is there: got error %v, want one that names it", err)
	}
	drop(mine)
	if _, err := cni.Attach(t.Context(), again); err != nil {
		t.Errorf("after the reap: %v", err)
	}
	again.Ports = append(again.Ports, attached[others].Ports...)
	if _, err := cni.Attach(t.Context(), again); err == nil {
		t.Error("the other run's port is free")
	}
	if err := cni.Detach(t.Context(), again); err != nil {
		t.Error(err)
	}
	drop(others)
}
