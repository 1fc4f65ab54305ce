//go:build linux

package ctrd

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

// testImage is an image of prog with accounts, made without podsim.
func testImage(t testing.TB) v1.Image {
	t.Helper()
	program, err := os.ReadFile(prog(t))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name, text string
		mode       int64
	}{
		{"prog", string(program), 0o755},
		{"etc/passwd", "root:x:0:0::/:\nweb:x:101:102::/:\n", 0o644},
		{"etc/group", "root:x:0:\nweb:x:102:\nextra:x:200:web,other\n", 0o644},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
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
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", goarch
	config.Config = v1.Config{Entrypoint: []string{"/prog"}, Cmd: []string{"say", "hi"}, Env: []string{"A=b"}, User: "web", WorkingDir: "/etc", StopSignal: "SIGQUIT"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func saveDocker(t testing.TB, path string, refs ...string) {
	t.Helper()
	images := map[name.Reference]v1.Image{}
	for _, ref := range refs {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		images[tag] = testImage(t)
	}
	if err := tarball.MultiRefWriteToFile(path, images); err != nil {
		t.Fatal(err)
	}
}

func saveOCI(t testing.TB, file, refName string) {
	t.Helper()
	dir := t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(testImage(t), layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": refName})); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func gzipFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), os.WriteFile(path+".gz", b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path + ".gz"
}

func TestLoad(t *testing.T) {
	c := open(t, newConfig(t))
	dir := t.TempDir()
	docker, oci, bare := filepath.Join(dir, "d.tar"), filepath.Join(dir, "o.tar"), filepath.Join(dir, "Shop.oci.tar")
	saveDocker(t, docker, "busybox:1.2", "registry.example/team/app:v3")
	saveOCI(t, oci, "docker.io/library/web:v1")
	saveOCI(t, bare, "v9")
	tests := map[string]struct {
		file string
		want string
	}{
		"a docker archive with two names":                {docker, "docker.io/library/busybox:1.2 registry.example/team/app:v3"},
		"a docker archive, compressed":                   {gzipFile(t, docker), "docker.io/library/busybox:1.2 registry.example/team/app:v3"},
		"an OCI archive with a full name":                {oci, "docker.io/library/web:v1"},
		"an OCI archive with only a tag, named by file":  {bare, "docker.io/library/shop:v9"},
		"an OCI archive, compressed, and named likewise": {gzipFile(t, bare), "docker.io/library/shop:v9"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			list, err := c.Load(deadline(t), tt.file)
			if err != nil {
				t.Fatal(err)
			}
			var refs []string
			for _, img := range list {
				refs = append(refs, img.Ref)
				if img.User != "web" || img.StopSignal != "QUIT" || img.WorkingDir != "/etc" || img.Cmd[0] != "say" || img.Origin != OriginArchive {
					t.Errorf("the image's config is %+v", img)
				}
			}
			if got := strings.Join(refs, " "); len(refs) != len(strings.Fields(tt.want)) || !sameWords(got, tt.want) {
				t.Errorf("loaded %q, want %q", got, tt.want)
			}
		})
	}
	all, err := c.Images(deadline(t))
	if err != nil || len(all) != 4 || all[0].Ref != "docker.io/library/busybox:1.2" || all[0].Size < 1<<20 || time.Since(all[0].Created) > time.Minute {
		t.Errorf("the list is %+v, %v", all, err)
	}
	if err := errors.Join(c.RemoveImages(deadline(t), "busybox:1.2"), c.RemoveImages(deadline(t), "busybox:1.2")); err != nil {
		t.Errorf("removing twice: %v", err)
	}
	if _, err := c.Image(deadline(t), "busybox:1.2"); !errors.Is(err, ErrNoImage) {
		t.Errorf("after the removal: %v", err)
	}
}

func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	for _, w := range x {
		if !strings.Contains(" "+b+" ", " "+w+" ") {
			return false
		}
	}
	return len(x) == len(y)
}

func TestLoadOfWhatIsNoImageArchive(t *testing.T) {
	c := open(t, newConfig(t))
	dir := t.TempDir()
	whole := filepath.Join(dir, "d.tar")
	saveDocker(t, whole, "busybox:1.2")
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{"text": []byte("hello"), "nothing": nil, "half an archive": data[:len(data)/2]} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(dir, "bad.tar")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if list, err := c.Load(deadline(t), path); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, %v; want an error that names the file", list, err)
			}
		})
	}
	if _, err := c.Load(deadline(t), filepath.Join(dir, "none.tar")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// serve runs a registry on loopback that holds the test image as team/app:v1, and returns its host:port. With a
// password, only alice with that is let in.
func serve(t testing.TB, password string) string {
	t.Helper()
	inner := registry.New(registry.Logger(discardLogger()))
	// The image is put in before the door is locked.
	open := httptest.NewServer(inner)
	ref, err := name.ParseReference(strings.TrimPrefix(open.URL, "http://") + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, testImage(t)); err != nil {
		t.Fatal(err)
	}
	open.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	remote.DefaultTransport.(*http.Transport).CloseIdleConnections()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); password != "" && (user != "alice" || pass != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// hostsDir writes a hosts folder that sends a registry's requests to a server by plain HTTP.
func hostsDir(t testing.TB, host, server string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, host), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "[host.\"http://" + server + "\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	if err := os.WriteFile(filepath.Join(dir, host, "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func dockerConfig(t testing.TB, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}

func TestPull(t *testing.T) {
	cfg := newConfig(t)
	plain, locked := serve(t, ""), serve(t, "secret")
	nothing := httptest.NewServer(http.NotFoundHandler())
	closed := strings.TrimPrefix(nothing.URL, "http://")
	nothing.Close()

	tests := map[string]struct {
		ref    string
		hosts  string // an empty directory if empty
		docker string
		reason string // of the expected error
		text   string // in it
	}{
		"from a registry on loopback by plain HTTP":        {ref: plain + "/team/app:v1"},
		"from a mirror in the hosts folder, by plain HTTP": {ref: "registry.example/team/app:v1", hosts: hostsDir(t, "registry.example", plain)},
		"with the docker config's password":                {ref: locked + "/team/app:v1", docker: `{"auths":{"` + locked + `":{"username":"alice","password":"secret"}}}`},
		"with a credential helper's password":              {ref: locked + "/team/app:v1", docker: `{"credHelpers":{"` + locked + `":"podsimtest"}}`},
		"without a password where one is needed":           {ref: locked + "/team/app:v1", docker: `{}`, reason: ReasonErrImagePull, text: "credentials"},
		"with a wrong password":                            {ref: locked + "/team/app:v1", docker: `{"auths":{"` + locked + `":{"username":"alice","password":"wrong"}}}`, reason: ReasonErrImagePull, text: "401"},
		"of a tag that is not there":                       {ref: plain + "/team/app:v2", reason: ReasonErrImagePull, text: "not found"},
		"from a registry that does not listen":             {ref: closed + "/team/app:v1", reason: ReasonErrImagePull, text: "refused"},
		"of a reference that is none":                      {ref: "UPPER/case:x:y", reason: ReasonInvalidImageName, text: "UPPER/case"},
	}
	c := open(t, cfg)
	helper := t.TempDir()
	script := "#!/bin/sh\nread server\necho '{\"Username\":\"alice\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(helper, "docker-credential-podsimtest"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", helper+":"+os.Getenv("PATH"))
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			dockerConfig(t, cmp.Or(tt.docker, "{}"))
			if tt.hosts == "" {
				tt.hosts = t.TempDir()
			}
			img, pulled, err := c.Ensure(deadline(t), tt.ref, PullAlways, PullOptions{HostsDir: tt.hosts})
			if tt.reason == "" {
				if err != nil || !pulled || img.User != "web" || img.Origin != OriginRegistry {
					t.Errorf("got %+v, pulled %v, %v", img, pulled, err)
				}
				return
			}
			var ie *ImageError
			if !errors.As(err, &ie) || ie.Reason != tt.reason || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error is %v, want the reason %s and %q in it", err, tt.reason, tt.text)
			}
		})
	}
}

func TestPullPolicies(t *testing.T) {
	c := open(t, newConfig(t))
	host := serve(t, "")
	dockerConfig(t, "{}")
	ref := host + "/team/app:v1"
	began := false
	o := PullOptions{HostsDir: t.TempDir(), Begin: func() { began = true }}

	_, _, err := c.Ensure(deadline(t), ref, PullNever, o)
	var ie *ImageError
	if !errors.As(err, &ie) || ie.Reason != ReasonErrImageNeverPull {
		t.Errorf("IM-02: Never with the image absent gives %v", err)
	}
	for _, step := range []struct {
		policy Policy
		pulled bool
	}{{PullIfNotPresent, true}, {PullIfNotPresent, false}, {PullNever, false}, {PullAlways, true}} {
		began = false
		if _, pulled, err := c.Ensure(deadline(t), ref, step.policy, o); err != nil || pulled != step.pulled || began != pulled {
			t.Errorf("%s: pulled is %v (told at its beginning: %v), %v; want %v", step.policy, pulled, began, err, step.pulled)
		}
	}
	if _, err := c.FromBinary(deadline(t), "mine:latest", Binary{Path: prog(t)}); err != nil {
		t.Fatal(err)
	}
	if _, pulled, err := c.Ensure(deadline(t), "mine:latest", PullAlways, o); err != nil || pulled {
		t.Errorf("Always for an image that podsim made: pulled %v, %v; want it taken as it is", pulled, err)
	}
}

func TestALoadedImageRunsAsItsUser(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "d.tar")
	saveDocker(t, path, "app:v1")
	list, err := f.c.Load(deadline(t), path)
	if err != nil {
		t.Fatal(err)
	}
	img := list[0]
	user, err := f.c.ResolveUser(deadline(t), img, UserRequest{Image: img.User})
	if err != nil || user.UID != 101 || user.GID != 102 || len(user.Groups) != 2 || user.Groups[1] != 200 {
		t.Fatalf("the user is %+v, %v; want 101, 102 and the groups 102 and 200", user, err)
	}
	cfg := f.config("app", "id")
	cfg.Image, cfg.Spec.User, cfg.Spec.Cwd = img, user, img.WorkingDir
	k, lines := f.start(cfg)
	f.wait(k)
	if got := lines.all(); len(got) != 1 || got[0] != "101 102 [102 200] /etc " {
		t.Errorf("the program sees %q", got)
	}
	if _, err := f.c.ResolveUser(deadline(t), img, UserRequest{Image: "nobody"}); err == nil || !strings.Contains(err.Error(), `no user "nobody"`) {
		t.Errorf("an unknown user gives %v", err)
	}
}

func TestFromBinary(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "conf", "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "conf", "sub", "a.txt"), []byte("from a file\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	b := Binary{Path: prog(t), Files: map[string]string{"/srv": filepath.Join(dir, "conf")}, Links: map[string]string{"/bin/cat2": "/prog"}, User: "7"}
	first, err := f.c.FromBinary(deadline(t), "made:v1", b)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.c.FromBinary(deadline(t), "made:v1", b)
	if err != nil || second.Digest != first.Digest {
		t.Errorf("made again the digest is %s, %v; want %s", second.Digest, err, first.Digest)
	}
	if uid, name := first.UID(); uid != 7 || name != "" {
		t.Errorf("the image's user is %d %q", uid, name)
	}
	cfg := f.config("app")
	cfg.Image, cfg.Spec.Args = first, []string{"/bin/cat2", "cat", "/srv/sub/a.txt"}
	k, lines := f.start(cfg)
	f.wait(k)
	if !lines.has("from a file") {
		t.Errorf("the program printed %q", lines.all())
	}
}

func TestManyMayMakeTheSameImageAtOnce(t *testing.T) {
	c := open(t, newConfig(t))
	b := Binary{Path: prog(t)}
	var all errgroup.Group
	for range 6 {
		all.Go(func() error {
			_, err := c.FromBinary(deadline(t), "made:at-once", b)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFromBinaryIsQuickForTenMegabytes(t *testing.T) {
	c := open(t, newConfig(t))
	data, err := os.ReadFile(prog(t))
	if err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, append(data, make([]byte, 10<<20)...), 0o755); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := c.FromBinary(deadline(t), "big", Binary{Path: big}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("%s for %d MiB", took, (len(data)+10<<20)>>20)
	if took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestCheckStatic(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := "arm64"
	if goarch == other {
		other = "amd64"
	}
	foreign := filepath.Join(dir, "foreign")
	cmd := exec.Command("go", "build", "-o", foreign, source)
	cmd.Env = append(os.Environ(), "GOARCH="+other, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tests := map[string]struct{ file, want string }{
		"a static program is fine":             {prog(t), ""},
		"text is no program":                   {source, "is no Linux program"},
		"another processor's program":          {foreign, "GOARCH=" + goarch},
		"a dynamically linked program":         {"/bin/ls", "CGO_ENABLED=0"},
		"a program that is not there":          {filepath.Join(dir, "none"), "no such file"},
		"a directory is no program, of course": {dir, "is a directory"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			err := CheckStatic(tt.file)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
