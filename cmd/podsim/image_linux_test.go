package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// sidekickImage is an image of sidekick that nobody of podsim's has made.
func sidekickImage(t *testing.T, m *machine) v1.Image {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(m.bundle, "sidekick"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "tool", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/tool"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// jobWith is a pod that says a word with an image, which it needs to have already if the policy is Never.
func jobWith(image, policy string) string {
	return strings.NewReplacer("podsim.local/sidekick:dev", image, "IfNotPresent", policy).Replace(podOf("job", "Never", `args: [echo, "said by it"]`))
}

func TestImagesOfArchivesAreLoadedListedAndRun(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	img := sidekickImage(t, m)
	tag, err := name.NewTag("podsim.local/test/docker:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(dir, "docker.tar"), tag, img); err != nil {
		t.Fatal(err)
	}
	oci := filepath.Join(dir, "oci")
	l, err := layout.Write(oci, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(img, layout.WithAnnotations(map[string]string{"io.containerd.image.name": "podsim.local/test/oci:1", "org.opencontainers.image.ref.name": "1"})); err != nil {
		t.Fatal(err)
	}
	archive(t, oci, filepath.Join(dir, "oci.tar"))

	o := m.perform(t, dir, "image", "load", "docker.tar", "oci.tar")
	wants(t, o, exitOK, o.stdout, "loaded podsim.local/test/docker:1\n", "loaded podsim.local/test/oci:1\n")
	o = m.perform(t, dir, "image", "ls")
	wants(t, o, exitOK, o.stdout, "IMAGE", "podsim.local/test/docker:1 ", "podsim.local/test/oci:1 ", "podsim.local/sidekick:dev ")
	for _, ref := range []string{"podsim.local/test/docker:1", "podsim.local/test/oci:1"} {
		o = m.perform(t, dir, "run", write(t, dir, "pod.yaml", jobWith(ref, "Never")))
		wants(t, o, exitOK, o.stdout, "main | said by it")
	}
	for file, want := range map[string]string{"nowhere.tar": "no such file", "broken.tar": "broken.tar", ".": ""} {
		write(t, dir, "broken.tar", "this is no archive")
		o = m.perform(t, dir, "image", "load", file)
		wants(t, o, exitUsage, o.stderr, "podsim: ", want)
	}
	o = m.perform(t, dir, "image", "make", "podsim.local/x:1", "nowhere")
	wants(t, o, exitUsage, o.stderr, "nowhere", "no such file")
	o = m.perform(t, dir, "image", "make", "Not A Name", filepath.Join(m.bundle, "sidekick"))
	wants(t, o, exitUsage, o.stderr, "Not A Name")
}

// archive makes a tar file of a directory.
func archive(t *testing.T, dir, file string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(out)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// Images are pulled from a registry that speaks plain HTTP, as its hosts folder says; one of the two wants a password.
func TestImagesArePulledFromARegistryWithAndWithoutAPassword(t *testing.T) {
	t.Parallel()
	m := site(t)
	img := sidekickImage(t, m)
	for _, c := range []struct {
		name, password, configured string
		secrets                    []string // passwords of the pod's pull secrets
		code                       int
		want                       []string
	}{
		{"no password is wanted", "", "", nil, exitOK, []string{"image pulled", "main | said by it"}},
		{"the password is right", "secret", "secret", nil, exitOK, []string{"image pulled", "main | said by it"}},
		{"the password is wrong", "secret", "guess", nil, exitInterrupted, []string{"ErrImagePull", "401 Unauthorized"}},
		{"no password is known", "secret", "", nil, exitInterrupted, []string{"ErrImagePull", "no basic auth credentials"}},
		{"the second pull secret is right", "secret", "", []string{"guess", "secret"}, exitOK, []string{"image pulled", "main | said by it"}}, // IM-05
		{"the pull secret is wrong", "secret", "secret", []string{"guess"}, exitInterrupted, []string{"ErrImagePull", "401 Unauthorized"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, password, _ := r.BasicAuth(); c.password != "" && (user != "me" || password != c.password) {
					w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
					http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`, http.StatusUnauthorized)
					return
				}
				handler.ServeHTTP(w, r)
			}))
			defer server.Close()
			address := strings.TrimPrefix(server.URL, "http://")
			ref, err := name.ParseReference(address+"/test/app:1", name.Insecure)
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "me", Password: c.password})); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "hosts", address), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, dir, filepath.Join("hosts", address, "hosts.toml"), fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", server.URL, server.URL))
			if c.configured != "" {
				auth := base64.StdEncoding.EncodeToString([]byte("me:" + c.configured))
				write(t, dir, "config.json", fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, address, auth))
			}
			text := jobWith(ref.String(), "Always")
			for i, password := range c.secrets {
				auth := base64.StdEncoding.EncodeToString([]byte("me:" + password))
				config := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, address, auth))
				text += fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: pull-%d}\ntype: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: %s}\n", i, config)
				text = strings.Replace(text, "  containers:", fmt.Sprintf("    - {name: pull-%d}\n  containers:", i), 1)
			}
			if len(c.secrets) > 0 {
				text = strings.Replace(text, "    - {name: pull-0}", "  imagePullSecrets:\n    - {name: pull-0}", 1)
			}
			cmd := m.command(t, dir, "run", "--hosts-dir", filepath.Join(dir, "hosts"), write(t, dir, "pod.yaml", text))
			cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+dir)
			p := begin(t, cmd)
			if c.code == exitInterrupted {
				p.until("ErrImagePull")
				p.signal(os.Interrupt)
			}
			o := p.end()
			wants(t, o, c.code, o.stdout, c.want...)
		})
	}
}

// sizeBelow is the size of the files below a directory, in bytes.
func sizeBelow(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// At a site of its own, where nobody else needs an image.
func TestImagesThatNobodyNeedsAreRemovedAndTheirSpaceIsFree(t *testing.T) {
	t.Parallel()
	m := site(t)
	dir := t.TempDir()
	own := &machine{state: filepath.Join(dir, "state"), run: m.run + "i", bundle: m.bundle}
	defer func() {
		if err := own.close(); err != nil {
			t.Error(err)
		}
	}()
	program := filepath.Join(m.bundle, "sidekick")
	for _, ref := range []string{"podsim.local/sidekick:dev", "podsim.local/same:1", "podsim.local/spare:1", "other.example/kept:1"} {
		from := program
		if ref == "podsim.local/spare:1" || ref == "other.example/kept:1" {
			from = filepath.Join(m.bundle, "podsim-init")
		}
		o := own.perform(t, dir, "image", "make", ref, from)
		wants(t, o, exitOK, o.stdout, "made "+ref+"\n")
	}
	content := filepath.Join(own.state, "containerd")
	full := sizeBelow(t, content)

	live := begin(t, own.command(t, dir, "run", write(t, dir, "pod.yaml", podOf("web", "Always", `args: [app]`)+
		`    - {name: waits, image: "podsim.local/spare:1", imagePullPolicy: Never, command: [/no/such]}
`)))
	live.until("| listening on")
	o := own.perform(t, dir, "ps")
	wants(t, o, exitOK, o.stdout, "alive")
	id := strings.Fields(strings.Split(o.stdout, "\n")[1])[0]
	o = own.perform(t, dir, "image", "rm", "podsim.local/sidekick:dev", "podsim.local/same:1", "podsim.local/none:1")
	wants(t, o, exitUsage, o.stderr, "remove image podsim.local/sidekick:dev: it is used by run "+id+": stop that first",
		"remove image podsim.local/none:1: the image is not present: podsim image ls lists those that are")
	if o.stdout != "removed podsim.local/same:1\n" {
		t.Errorf("one that nobody uses is to be removed all the same\n%s", o)
	}
	o = own.perform(t, dir, "image", "prune", "--all")
	wants(t, o, exitOK, o.stdout, "removed other.example/kept:1\n")
	o = own.perform(t, dir, "image", "ls")
	wants(t, o, exitOK, o.stdout, "podsim.local/sidekick:dev ", "podsim.local/spare:1 ")
	live.signal(os.Interrupt)
	wants(t, live.end(), exitInterrupted, "")

	o = own.perform(t, dir, "image", "rm", "podsim.local/sidekick:dev")
	wants(t, o, exitOK, o.stdout, "removed podsim.local/sidekick:dev\n")
	size, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if left := sizeBelow(t, content); full-left < size.Size() {
		t.Errorf("%d bytes of %d are left after a program of %d was removed", left, full, size.Size())
	}
	o = own.perform(t, dir, "image", "make", "other.example/kept:1", program)
	wants(t, o, exitOK, o.stdout)
	o = own.perform(t, dir, "image", "prune")
	if wants(t, o, exitOK, o.stdout); o.stdout != "removed podsim.local/spare:1\n" {
		t.Errorf("prune is to remove what was made here, and nothing else\n%s", o)
	}
	o = own.perform(t, dir, "image", "prune", "--all")
	wants(t, o, exitOK, o.stdout, "removed other.example/kept:1\n")
	o = own.perform(t, dir, "image", "prune", "--all")
	wants(t, o, exitOK, o.stdout, "nothing to remove\n")
	if left := sizeBelow(t, content); left > 1<<20 {
		t.Errorf("without an image %d bytes are left in %s", left, content)
	}
}
