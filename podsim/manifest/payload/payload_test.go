package payload_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/manifest/env"
	"github.com/podsim/podsim/podsim/manifest/payload"
)

// files gives what one volume comes to, a line a file: its mode, its path, its content.
func files(t *testing.T, volume string) (string, bool, error) {
	t.Helper()
	text := `
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {b.conf: text, a.conf: ""}, binaryData: {raw: AAE=}}
---
{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {token: s3cret}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {zone: b, app: web}, annotations: {quoted: "a\"b\nc"}}
spec:
  containers: [{name: app, image: a:1, resources: {limits: {memory: 64Mi}}}]
  volumes: [{name: v, ` + volume + `}]
`
	m, found := manifest.Parse(diag.NewSource("test.yaml", []byte(text)))
	pod, more := m.Pod(manifest.Select{}, manifest.Options{})
	if err := append(found, more...).Err(); err != nil {
		t.Fatalf("the test's YAML is bad:\n%+v", err)
	}
	all, ok, err := payload.Files(env.Facts{Pod: pod, Resources: m.Resources}, pod.Spec.Volumes[0])
	var lines []string
	for _, f := range all {
		lines = append(lines, fmt.Sprintf("%04o %s %q", f.Mode, f.Path, f.Data))
	}
	return strings.Join(lines, "\n"), ok, err
}

func TestTheFilesOfAVolume(t *testing.T) {
	for name, c := range map[string]struct{ volume, want string }{
		"VO-05, VO-09: all keys of a ConfigMap, mode 0644": {`configMap: {name: settings}`,
			`0644 a.conf ""` + "\n" + `0644 b.conf "text"` + "\n" + `0644 raw "\x00\x01"`},
		"VO-05: items choose, rename and set modes": {
			`configMap: {name: settings, defaultMode: 0400, items: [{key: b.conf, path: etc/main.conf}, {key: raw, path: bin, mode: 0755}]}`,
			`0755 bin "\x00\x01"` + "\n" + `0400 etc/main.conf "text"`},
		"VO-05: a Secret": {`secret: {secretName: keys, defaultMode: 0440}`, `0440 token "s3cret"`},
		"VO-07: what is optional and missing is left out": {
			`configMap: {name: none, optional: true}`, ""},
		"VO-07: so are missing keys": {
			`secret: {secretName: keys, optional: true, items: [{key: none, path: a}, {key: token, path: b}]}`, `0644 b "s3cret"`},
		"DW-02, DW-03, DW-04: the pod's own data": {
			`downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: notes, fieldRef: {fieldPath: metadata.annotations}}, {path: one, fieldRef: {fieldPath: "metadata.labels['app']"}},
			  {path: mem, mode: 0600, resourceFieldRef: {containerName: app, resource: limits.memory, divisor: 1Mi}}]}`,
			`0644 labels "app=\"web\"\nzone=\"b\""` + "\n" + `0600 mem "64"` + "\n" + `0644 notes "quoted=\"a\\\"b\\nc\""` + "\n" + `0644 one "web"`},
		"VO-10: a projected volume joins its sources, and the later wins": {
			`projected: {defaultMode: 0444, sources: [{configMap: {name: settings, items: [{key: b.conf, path: token}]}},
			  {secret: {name: keys}}, {downwardAPI: {items: [{path: d/name, fieldRef: {fieldPath: metadata.name}}]}}, {configMap: {name: none, optional: true}}]}`,
			`0444 d/name "web"` + "\n" + `0444 token "s3cret"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok, err := files(t, c.volume)
			if err != nil || !ok {
				t.Fatalf("there are no files: %t, %v", ok, err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("the files differ (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatIsMissingFailsTheMountInTheKubeletsWords(t *testing.T) { // ST-03, VO-07
	for volume, want := range map[string]string{
		`configMap: {name: none}`:                                                             `configmap "none" not found`,
		`secret: {secretName: none}`:                                                          `secret "none" not found`,
		`configMap: {name: settings, items: [{key: k, path: p}]}`:                             `references non-existent config key: k`,
		`secret: {secretName: keys, items: [{key: k, path: p}]}`:                              `references non-existent secret key: k`,
		`projected: {sources: [{secret: {name: keys}}, {configMap: {name: none}}]}`:           `configmap "none" not found`,
		`configMap: {name: settings, items: [{key: raw, path: a}, {key: b.conf, path: a/b}]}`: `the paths a and a/b clash: one would be a directory of the other`,
	} {
		got, ok, err := files(t, volume)
		var e *payload.Error
		if !errors.As(err, &e) || e.Volume != "v" || e.Message != want || !ok || got != "" {
			t.Errorf("%s gives %q and %v, want no files and %q", volume, got, err, want)
		}
		if want := `MountVolume.SetUp failed for volume "v" : ` + want; err != nil && err.Error() != want {
			t.Errorf("the error is %q, want %q", err.Error(), want)
		}
	}
}

func TestOtherVolumesHoldNoFiles(t *testing.T) {
	for _, volume := range []string{`emptyDir: {}`, `hostPath: {path: /tmp}`} {
		if _, ok, err := files(t, volume); ok || err != nil {
			t.Errorf("%s gives files: %t, %v", volume, ok, err)
		}
	}
}
