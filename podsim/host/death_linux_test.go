package host

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/podsim/pod"
)

// couple is a pod whose two containers run until they are told to end.
const couple = `
  terminationGracePeriodSeconds: 10
  initContainers:
    - name: side
      image: SIDEKICK
      args: [app, --listen, ":9000"]
      restartPolicy: Always
      startupProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 30}
  containers:
    - name: app
      image: SIDEKICK
      args: [app]
      readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`

// killing is a step that kills the processes of a program, of one machine's bundle, as kill -9 does.
func killing(t *testing.T, m *machine, program string) step {
	return step{
		name: "kill " + program,
		when: func(l look) bool {
			if !ready(l) {
				return false
			}
			pids := processesRunning(m, program)
			if len(pids) != 1 {
				t.Errorf("there are %d processes of %s, want 1", len(pids), program)
			}
			for _, pid := range pids {
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			return true
		},
		do: pod.Action{Op: pod.OpRead, Container: "app", Read: &pod.Read{}},
	}
}

func processesRunning(m *machine, program string) []int {
	var pids []int
	for _, line := range processesOf(m.dir, m.site) {
		f := strings.Fields(line)
		if pid, err := strconv.Atoi(f[1]); err == nil && filepath.Base(f[2]) == program {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestARunGoesOnWhenContainerdIsKilled(t *testing.T) {
	t.Parallel()
	m := ownMachine(t)
	r := trial{
		machine: m,
		pod:     podNamed("web", couple),
		steps: []step{
			killing(t, m, "containerd"),
			sidekickIn("app", "get", "http://127.0.0.1:9000/"),
			deleted(),
		},
	}.run(t)
	r.output("get http://127.0.0.1:9000/")
	r.order("pod.deleteRequested", "app.signal.TERM", "app.exited(0)", "side.signal.TERM", "side.exited(0)")
	r.never("app.restarted")
	r.never("side.restarted")
}

func TestContainersRestartWhenTheirShimIsKilled(t *testing.T) {
	t.Parallel()
	for _, share := range []string{"", "  shareProcessNamespace: true"} {
		t.Run("share"+share, func(t *testing.T) {
			t.Parallel()
			m := ownMachine(t)
			r := trial{
				machine: m,
				pod:     podNamed("web", share+couple),
				steps: []step{
					killing(t, m, "containerd-shim-runc-v2"),
					sidekickIn("app", "get", "http://127.0.0.1:9000/").after(func(l look) bool {
						return restarted("app", 1)(l) && restarted("side", 1)(l) && ready(l)
					}),
					deleted(),
				},
			}.run(t)
			for _, name := range []string{"app", "side"} {
				if x, _ := r.exit(name, 0); x.Code != 137 {
					t.Errorf("%s: got exit %+v, want 137", name, x)
				}
			}
			r.output("get http://127.0.0.1:9000/")
			r.order("app.exited(137)", "app.restarted", "pod.deleteRequested", "app.signal.TERM", "app.exited(0)")
		})
	}
}

func TestEightPodsAtOnceDoNotMeet(t *testing.T) {
	m := here(t)
	var mu sync.Mutex
	up, addresses := map[string]bool{}, map[string]string{}
	allUp := func(name string) func(look) bool {
		return func(l look) bool {
			mu.Lock()
			defer mu.Unlock()
			if ready(l) {
				up[name] = true
				addresses[l.status.PodIP] = name
			}
			return len(up) == 8
		}
	}
	t.Run("all", func(t *testing.T) {
		for i := range 8 {
			name := "pod-" + strconv.Itoa(i)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := trial{
					machine: m,
					pod: podNamed(name, couple+`
      volumeMounts: [{name: data, mountPath: /data}]
  volumes:
    - {name: data, emptyDir: {}}
`),
					steps: []step{
						sidekickIn("app", "write", "/data/"+name, "mine").after(allUp(name)),
						sidekickIn("app", "ls", "/data"),
						sidekickIn("app", "get", "http://127.0.0.1:8080/id"),
						deleted(),
					},
				}.run(t)
				if got := r.output("ls /data"); got != name {
					t.Errorf("the volume has %q, want only %s", got, name)
				}
				contains(t, "who answers", r.output("get http://127.0.0.1:8080/id"), "host="+name)
				r.never("app.restarted")
				r.never("app.signal.KILL")
			})
		}
	})
	if len(addresses) != 8 {
		t.Errorf("eight pods had the addresses %v, want eight", addresses)
	}
}

func TestFortyPodsOneAfterTheOtherLeaveNothing(t *testing.T) {
	t.Parallel()
	m := ownMachine(t)
	forty := 40
	if testing.Short() {
		forty = 4
	}
	var addresses []string
	for i := range forty {
		r := trial{machine: m, pod: podNamed("brief", `
  restartPolicy: Never
  containers:
    - {name: app, image: SIDEKICK, args: [echo, "`+strconv.Itoa(i)+`"]}
`)}.run(t)
		if got := r.log("app"); got != strconv.Itoa(i) {
			t.Errorf("pod %d printed %q", i, got)
		}
		// The subnet may be another one each time, if another site has taken the last one meanwhile.
		ip := r.final.status.PodIP
		if last := ip[strings.LastIndex(ip, "."):]; !slices.Contains(addresses, last) {
			addresses = append(addresses, last)
		}
		if left := processesRunning(m, "containerd-shim-runc-v2"); len(left) > 0 {
			t.Errorf("after pod %d there are shims: %v", i, left)
		}
	}
	if len(addresses) > 1 {
		t.Errorf("forty pods one after the other had addresses that end in %v; the first is to be used again", addresses)
	}
	if runs, err := os.ReadDir(filepath.Join(m.site.StateDir, "runs")); err == nil && len(runs) > 0 {
		t.Errorf("directories of runs are left: %v", runs)
	}
}
