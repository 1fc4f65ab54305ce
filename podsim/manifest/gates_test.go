package manifest

import (
	"strings"
	"testing"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
)

const gated = `apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  hostnameOverride: other
  resources: {limits: {memory: 64Mi}}
  terminationGracePeriodSeconds: 5
  securityContext: {supplementalGroupsPolicy: Strict}
  volumes:
    - {name: image, image: {reference: i}}
    - {name: dir, emptyDir: {}}
  containers:
    - name: c
      image: i
      volumeMounts:
        - {name: image, mountPath: /i}
        - {name: dir, mountPath: /d, readOnly: true, recursiveReadOnly: IfPossible}
      lifecycle: {preStop: {sleep: {seconds: 1}}}
`

func TestFieldsOfGatesThatAreOffAreDroppedAsAnAPIServerDoesIt(t *testing.T) {
	load := func(text string, k pod.Kubelet) (names []string, mounts int, dropped diag.List) {
		m, found := Parse(diag.NewSource("p.yaml", []byte(text)))
		p, more := m.Pod(Select{}, Options{Kubelet: k})
		s := p.Spec
		set := func(is bool, name string) {
			if is {
				names = append(names, name)
			}
		}
		set(s.HostnameOverride != nil, "hostnameOverride")
		set(s.Resources != nil, "resources")
		set(s.SecurityContext.SupplementalGroupsPolicy != nil, "supplementalGroupsPolicy")
		set(len(s.Volumes) == 2, "image")
		set(s.Containers[0].VolumeMounts[len(s.Containers[0].VolumeMounts)-1].RecursiveReadOnly != nil, "recursiveReadOnly")
		set(s.Containers[0].Lifecycle.PreStop != nil, "sleep")
		places := map[string]bool{}
		for _, d := range append(found, more...) {
			if places[d.Position()] {
				t.Errorf("Kubernetes %s: two findings in one place: %s", k.Version, d.Error())
			}
			places[d.Position()] = true
			if !strings.Contains(d.Message, "podsim does not act on this field") {
				dropped = append(dropped, d)
			}
		}
		return names, len(s.Containers[0].VolumeMounts), dropped
	}
	off := func(gates ...pod.Gate) map[pod.Gate]bool {
		set := map[pod.Gate]bool{}
		for _, g := range gates {
			set[g] = false
		}
		return set
	}
	for _, c := range []struct {
		kubelet pod.Kubelet
		stays   string
		mounts  int
		dropped []string // places of the warnings
	}{
		{pod.Kubelet{}, "hostnameOverride resources supplementalGroupsPolicy image recursiveReadOnly sleep", 2, nil},
		{pod.Kubelet{Version: 34}, "resources supplementalGroupsPolicy recursiveReadOnly sleep", 1, []string{"p.yaml:5:", "p.yaml:10:"}},
		{pod.Kubelet{Version: 33}, "supplementalGroupsPolicy recursiveReadOnly sleep", 1, []string{"p.yaml:5:", "p.yaml:6:", "p.yaml:10:"}},
		{pod.Kubelet{Version: 33, Gates: off(pod.GateSupplementalGroupsPolicy, pod.GateSleepAction, pod.GateRecursiveReadOnlyMounts)},
			"", 1, []string{"p.yaml:5:", "p.yaml:6:", "p.yaml:8:", "p.yaml:10:", "p.yaml:17:", "p.yaml:18:"}},
	} {
		names, mounts, found := load(gated, c.kubelet)
		if strings.Join(names, " ") != c.stays || mounts != c.mounts || found.Err() != nil || len(found) != len(c.dropped) {
			t.Errorf("Kubernetes %s with %v leaves %q and %d mounts, want %q and %d\n%s", c.kubelet.Version, c.kubelet.Gates, names, mounts, c.stays, c.mounts, found.Detail())
			continue
		}
		for i, place := range c.dropped {
			if text := found[i].Error(); !strings.HasPrefix(text, place) || !strings.Contains(text, "is off in Kubernetes 1.3") {
				t.Errorf("Kubernetes %s: finding %d is %q, want one at %s", c.kubelet.Version, i, text, place)
			}
		}
	}
	for text, k := range map[string]pod.Kubelet{
		strings.Replace(gated, "image: i\n", "image: i\n      env: [{name: A, valueFrom: {fileKeyRef: {volumeName: dir, path: a, key: A}}}]\n", 1): {Version: 34},
		strings.Replace(gated, "image: i\n", "image: i\n      env: [{name: \"a b\", value: x}]\n", 1):                                              {Version: 33, Gates: off(pod.GateRelaxedEnvNames)},
		strings.Replace(gated, "seconds: 1", "seconds: 0", 1):                                                                                      {Version: 33, Gates: off(pod.GateSleepActionAllowZero)},
	} {
		if _, _, found := load(text, k); found.Err() == nil {
			t.Errorf("Kubernetes %s takes\n%s", k.Version, text)
		}
		if _, _, found := load(text, pod.Kubelet{}); found.Err() != nil {
			t.Errorf("Kubernetes %s does not take\n%s\n%s", pod.DefaultVersion, text, found.Detail())
		}
	}
}
