package main

import (
	"path/filepath"
	"testing"
)

// What doctor finds broken ends every other command that needs the host with the same code and the same words.
func TestAHostThatIsNotReadyEndsWithThreeAndTheFix(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	pod := write(t, dir, "pod.yaml", podOf("web", "Never", `args: [echo, x]`))
	file := write(t, dir, "file", "")
	for _, c := range []struct {
		name         string
		flag, value  string
		detail, mend string
	}{
		{"a state directory that is a file", "--state-dir", file, file + " is no directory", "mend it with: rm " + file},
		{"a run directory that is too long", "--run-dir", dir + "/run", dir + "/run is too long", "mend it with: name a shorter directory with --run-dir"},
		{"a bundle that is not there", "--bundle", filepath.Join(dir, "none"), "no containerd", "mend it with: make build"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := m.perform(t, dir, c.flag, c.value, "doctor")
			wants(t, o, exitHost, o.stdout, "broken", c.detail, c.mend)
			wants(t, o, exitHost, o.stderr, "podsim cannot run here")
			o = m.perform(t, dir, c.flag, c.value, "run", pod)
			wants(t, o, exitHost, o.stderr, "this host is not ready", c.detail, c.mend)
		})
	}
	o := m.perform(t, dir, "--containerd", file, "doctor")
	wants(t, o, exitHost, o.stdout, file, "mend it with: systemctl start containerd")
}
