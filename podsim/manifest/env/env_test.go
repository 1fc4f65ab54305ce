package env_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/manifest/env"
)

const objects = `
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {A: from-cm, B: cm-b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: more}, data: {B: more-b, C: $(A)}}
---
{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {token: s3cret, zero: "a\0b"}}
---
apiVersion: v1
kind: Service
metadata: {name: my-db}
spec: {clusterIP: 10.0.0.7, ports: [{name: sql-main, port: 5432}, {name: dns, port: 53, protocol: UDP}]}
---
{apiVersion: v1, kind: Service, metadata: {name: headless}, spec: {clusterIP: None, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: elsewhere, namespace: other}, spec: {clusterIP: 10.0.0.8, ports: [{port: 80}]}}
`

// facts makes a pod of one container "app" from the YAML of its fields, and a sidecar "proxy" with limits.
func facts(t *testing.T, container string, podFields ...string) (env.Facts, *corev1.Container) {
	t.Helper()
	text := objects + `---
apiVersion: v1
kind: Pod
metadata: {name: web, uid: u-1, labels: {app: web}, annotations: {note/x: hi}}
spec:
  ` + strings.Join(podFields, "\n  ") + `
  initContainers:
  - {name: proxy, image: p:1, restartPolicy: Always, resources: {limits: {cpu: 1500m, memory: 100M}, requests: {cpu: 1m}}}
  containers:
  - {name: app, image: a:1, ` + container + `}
`
	m, found := manifest.Parse(diag.NewSource("test.yaml", []byte(text)))
	pod, more := m.Pod(manifest.Select{}, manifest.Options{})
	if err := append(found, more...).Err(); err != nil {
		t.Fatalf("the test's YAML is bad:\n%+v", err)
	}
	return env.Facts{Pod: pod, Resources: m.Resources, PodIPs: []string{"10.1.0.5", "fd00::5"},
		HostIPs: []string{"192.0.2.1"}, NodeName: "here"}, &pod.Spec.Containers[0]
}

// without the variables of Services, which every container has.
func own(e env.Env) string {
	return strings.Join(slices.DeleteFunc(e.Strings(), func(s string) bool {
		return strings.HasPrefix(s, "KUBERNETES_") || strings.HasPrefix(s, "MY_DB_")
	}), "\n")
}

func TestTheEnvironmentOfAContainer(t *testing.T) {
	for name, c := range map[string]struct{ container, want string }{
		"CM-02: a reference expands, $$ escapes, what is unknown or incomplete stays": {
			`env: [{name: A, value: a}, {name: B, value: "$(A) $$(A) $(NO) $A $$$(A) $ $("}]`,
			"A=a\nB=a $(A) $(NO) $A $a $ $("},
		"CM-02: what is put in is not expanded again": {
			`envFrom: [{configMapRef: {name: more}}], env: [{name: D, value: "$(C)"}]`,
			"B=more-b\nC=$(A)\nD=$(A)"},
		"CM-03: only names earlier in the list are known": {
			`env: [{name: B, value: "$(A)"}, {name: A, value: a}, {name: C, value: "$(B)-$(A)"}]`,
			"B=$(A)\nA=a\nC=$(A)-a"},
		"CM-03: a Service's variable is known": {
			`env: [{name: U, value: "$(MY_DB_SERVICE_HOST):$(MY_DB_SERVICE_PORT)"}]`, "U=10.0.0.7:5432"},
		"CM-04: env wins over envFrom, later envFrom over earlier, and the prefix is added": {
			`envFrom: [{configMapRef: {name: settings}}, {configMapRef: {name: more}}, {prefix: P_, secretRef: {name: keys, optional: true}}], env: [{name: A, value: mine}, {name: P_zero, value: x}]`,
			"A=mine\nB=more-b\nC=$(A)\nP_token=s3cret\nP_zero=x"},
		"CM-05: what is optional and missing is left out": {
			`envFrom: [{configMapRef: {name: none, optional: true}}, {secretRef: {name: none, optional: true}}], env: [
			  {name: A, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}},
			  {name: B, valueFrom: {configMapKeyRef: {name: settings, key: none, optional: true}}},
			  {name: C, valueFrom: {secretKeyRef: {name: keys, key: none, optional: true}}},
			  {name: D, valueFrom: {secretKeyRef: {name: keys, key: token}}}]`,
			"D=s3cret"},
		"DW-01: the pod's fields, those of its network included": {
			`env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}},
			  {name: C, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}, {name: D, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}},
			  {name: E, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note/x']"}}}, {name: F, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}},
			  {name: G, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}, {name: H, valueFrom: {fieldRef: {fieldPath: status.podIP}}},
			  {name: I, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}, {name: J, valueFrom: {fieldRef: {fieldPath: status.hostIP}}},
			  {name: K, valueFrom: {fieldRef: {fieldPath: "metadata.labels['none']"}}}, {name: L, value: "$(H)"}]`,
			"A=web\nB=default\nC=u-1\nD=web\nE=hi\nF=here\nG=default\nH=10.1.0.5\nI=10.1.0.5,fd00::5\nJ=192.0.2.1\nK=\nL=10.1.0.5"},
		"DW-04: resources in units of the divisor, rounded up": {
			`env: [{name: A, valueFrom: {resourceFieldRef: {containerName: proxy, resource: limits.cpu}}},
			  {name: B, valueFrom: {resourceFieldRef: {containerName: proxy, resource: limits.cpu, divisor: 1m}}},
			  {name: C, valueFrom: {resourceFieldRef: {containerName: proxy, resource: limits.memory, divisor: 1Mi}}},
			  {name: D, valueFrom: {resourceFieldRef: {containerName: proxy, resource: requests.cpu}}},
			  {name: E, valueFrom: {resourceFieldRef: {containerName: proxy, resource: requests.memory, divisor: 1M}}}]`,
			"A=2\nB=1500\nC=96\nD=1\nE=100"},
		"DW-05, DW-06: without a limit the node's size, without a name the container itself": {
			`env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Gi}}},
			  {name: C, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}]`,
			"A=4\nB=8\nC=0"},
	} {
		t.Run(name, func(t *testing.T) {
			f, c2 := facts(t, c.container)
			if strings.Contains(name, "CM-04") { // its NUL byte would be refused; env overrides the value
				f.Resources.Secret("default", "keys").Data["zero"] = []byte("a")
			}
			e, err := env.Of(f, c2)
			if err != nil {
				t.Fatalf("there is an error: %v", err)
			}
			if d := cmp.Diff(c.want, own(e)); d != "" {
				t.Errorf("the environment differs (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatIsMissingIsAConfigError(t *testing.T) { // CM-05
	for container, want := range map[string]string{
		`envFrom: [{configMapRef: {name: none}}]`:                                     `configmap "none" not found`,
		`envFrom: [{secretRef: {name: none}}]`:                                        `secret "none" not found`,
		`env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: k}}}]`:        `configmap "none" not found`,
		`env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: k}}}]`:           `secret "none" not found`,
		`env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: k}}}]`:    `couldn't find key k in ConfigMap default/settings`,
		`env: [{name: A, valueFrom: {secretKeyRef: {name: keys, key: k}}}]`:           `couldn't find key k in Secret default/keys`,
		`env: [{name: A, valueFrom: {secretKeyRef: {name: keys, key: zero}}}]`:        `environment variable A holds a NUL byte, which no environment can`,
		`env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: f, key: k}}}]`: `environment variable A: podsim does not act on its source`,
	} {
		f, c := facts(t, container)
		_, err := env.Of(f, c)
		var e *env.Error
		if !errors.As(err, &e) || e.Reason != "CreateContainerConfigError" || e.Message != want {
			t.Errorf("%s gives %v, want the config error %q", container, err, want)
		}
	}
}

func TestServicesAreToldOfByVariables(t *testing.T) { // CM-07
	f, c := facts(t, `env: [{name: MY_DB_PORT, value: mine}]`)
	e, err := env.Of(f, c)
	if err != nil {
		t.Fatal(err)
	}
	want := `MY_DB_PORT=mine
KUBERNETES_PORT=tcp://10.96.0.1:443
KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443
KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1
KUBERNETES_PORT_443_TCP_PORT=443
KUBERNETES_PORT_443_TCP_PROTO=tcp
KUBERNETES_SERVICE_HOST=10.96.0.1
KUBERNETES_SERVICE_PORT=443
KUBERNETES_SERVICE_PORT_HTTPS=443
MY_DB_PORT_53_UDP=udp://10.0.0.7:53
MY_DB_PORT_53_UDP_ADDR=10.0.0.7
MY_DB_PORT_53_UDP_PORT=53
MY_DB_PORT_53_UDP_PROTO=udp
MY_DB_PORT_5432_TCP=tcp://10.0.0.7:5432
MY_DB_PORT_5432_TCP_ADDR=10.0.0.7
MY_DB_PORT_5432_TCP_PORT=5432
MY_DB_PORT_5432_TCP_PROTO=tcp
MY_DB_SERVICE_HOST=10.0.0.7
MY_DB_SERVICE_PORT=5432
MY_DB_SERVICE_PORT_DNS=53
MY_DB_SERVICE_PORT_SQL_MAIN=5432`
	if d := cmp.Diff(want, strings.Join(e.Strings(), "\n")); d != "" {
		t.Errorf("the environment differs (-want +got):\n%s", d)
	}

	f, c = facts(t, `workingDir: /`, "enableServiceLinks: false")
	if e, err = env.Of(f, c); err != nil {
		t.Fatal(err)
	}
	if _, ok := e.Lookup("MY_DB_SERVICE_HOST"); ok {
		t.Error("without enableServiceLinks the container is told of my-db")
	}
	if _, ok := e.Lookup("KUBERNETES_SERVICE_HOST"); !ok {
		t.Error("the API server's variables must always be there")
	}

	f.Resources.Services = append(f.Resources.Services, &corev1.Service{Spec: corev1.ServiceSpec{
		ClusterIP: "fd00::1", Ports: []corev1.ServicePort{{Port: 6443, Protocol: corev1.ProtocolTCP}}}})
	f.Resources.Services[len(f.Resources.Services)-1].Name = "kubernetes"
	if e, err = env.Of(f, c); err != nil {
		t.Fatal(err)
	}
	if v, _ := e.Lookup("KUBERNETES_PORT"); v != "tcp://[fd00::1]:6443" {
		t.Errorf("the user's own Service kubernetes gives KUBERNETES_PORT=%s, want tcp://[fd00::1]:6443", v)
	}
}

func TestTheHostnameIsThereUnlessTheContainerSetsIt(t *testing.T) { // CM-11
	f, c := facts(t, `workingDir: /`)
	f.Hostname = "web"
	if e, _ := env.Of(f, c); !slices.Contains(e.Strings(), "HOSTNAME=web") {
		t.Errorf("HOSTNAME is missing in %v", e.Strings())
	}
	f, c = facts(t, `env: [{name: HOSTNAME, value: mine}]`)
	f.Hostname = "web"
	if e, _ := env.Of(f, c); !slices.Contains(e.Strings(), "HOSTNAME=mine") || slices.Contains(e.Strings(), "HOSTNAME=web") {
		t.Errorf("the container's own HOSTNAME does not win in %v", e.Strings())
	}
}

func TestACommandIsExpandedWordByWord(t *testing.T) { // CM-01, CM-02
	f, c := facts(t, `env: [{name: A, value: a b}]`)
	e, err := env.Of(f, c)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.ExpandAll([]string{"$(A)", "x$(A)y", "$$(A)", ""}); !slices.Equal(got, []string{"a b", "xa by", "$(A)", ""}) {
		t.Errorf("the words are %q", got)
	}
	if e.ExpandAll(nil) != nil || e.ExpandAll([]string{}) == nil {
		t.Error("no command at all must stay apart from an empty one: it means the image's")
	}
}

func TestASubPathExprStaysInTheVolume(t *testing.T) { // VO-12
	f, c := facts(t, `env: [{name: A, value: a}, {name: UP, value: ".."}, {name: ABS, value: /etc}]`)
	e, err := env.Of(f, c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.SubPath("logs/$(A)"); err != nil || got != "logs/a" {
		t.Errorf("the subPath is %q, %v, want logs/a", got, err)
	}
	for expr, want := range map[string]string{
		"x/$(NONE)/$(A)": `missing value for "NONE"`,
		"$(UP)/x":        "unable to provision SubPath `../x`: must not contain '..'",
		"$(ABS)":         "error SubPath `/etc` must not be an absolute path",
	} {
		_, err := e.SubPath(expr)
		var ce *env.Error
		if !errors.As(err, &ce) || ce.Message != want {
			t.Errorf("%s gives %v, want %q", expr, err, want)
		}
	}
}

func TestTheDeclaredNodeIsUsed(t *testing.T) { // DW-05
	f, _ := facts(t, `workingDir: /`)
	f.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2500m")}
	got, err := f.Resource(&corev1.ResourceFieldSelector{Resource: "limits.cpu"}, "app")
	if err != nil || got != "3" {
		t.Errorf("the limit is %s, %v, want 3", got, err)
	}
	if _, err := f.Resource(&corev1.ResourceFieldSelector{Resource: "limits.cpu"}, "nobody"); err == nil {
		t.Error("a container that is not there has a limit")
	}
}

// Text without a dollar is never changed; each doubled dollar gives one; and expanding never fails.
func TestExpandingKeepsPlainText(t *testing.T) {
	var e env.Env
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.StringMatching(`[^$]*`).Draw(t, "plain")
		if got := e.Expand(plain); got != plain {
			t.Fatalf("%q becomes %q", plain, got)
		}
		any := rapid.String().Draw(t, "any")
		if got := e.Expand(strings.ReplaceAll(any, "$", "$$")); got != any {
			t.Fatalf("%q, escaped and expanded, becomes %q", any, got)
		}
	})
}
