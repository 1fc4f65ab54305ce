package host

import (
	"os"
	"path/filepath"
	"testing"
)

// A kubelet expands $(NAME) in a container's command and in those of its probes, and leaves hooks' as they are.
func TestHooksRunAsTheyAreWritten(t *testing.T) { // LH-07
	t.Parallel()
	dir := t.TempDir()
	r := trial{
		pod: podNamed("hooked", `
  containers:
    - name: app
      image: SIDEKICK
      args: [app, --name, $(WHO)]
      env: [{name: WHO, value: somebody}]
      lifecycle:
        postStart: {exec: {command: [/sidekick, write, /data/postStart, $(WHO) $$(WHO)]}}
        preStop: {exec: {command: [/sidekick, write, /data/preStop, $(WHO) $$(WHO)]}}
      readinessProbe: {exec: {command: [/sidekick, write, /data/probe, $(WHO) $$(WHO)]}, periodSeconds: 1, timeoutSeconds: 10}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes:
    - {name: data, hostPath: {path: `+dir+`}}
`),
		steps: []step{sidekickIn("app", "get", "http://127.0.0.1:8080/").after(ready), deleted()},
	}.run(t)
	contains(t, "the app's name", r.output("get http://127.0.0.1:8080/"), "somebody")
	for name, want := range map[string]string{
		"postStart": "$(WHO) $$(WHO)\n", "preStop": "$(WHO) $$(WHO)\n", "probe": "somebody $(WHO)\n", // PB-07
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s wrote %q, %v, want %q", name, got, err, want)
		}
	}
}
