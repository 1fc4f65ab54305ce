package lifecycle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The images, by the names that the tests of Kubernetes have them by. The other one is agnhost there; here it is the same
// busybox, for containers whose image changes.
const (
	busyboxImage  = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"
	otherImage    = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
	sidekickImage = "podsim.local/sidekick:dev"
	// badImage is of a registry where nobody answers.
	badImage = "127.0.0.1:1/invalid/alpine:3.1"
)

// imageArchive writes a docker archive of both images of a busybox program: the program, a link for each of its applets,
// and the directories that a shell expects.
func imageArchive(busybox, to string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the applets of %s: %w", busybox, err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	var errs []error
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		errs = append(errs, w.WriteHeader(&h))
		_, err := w.Write(content)
		errs = append(errs, err)
	}
	for dir, mode := range map[string]int64{"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "dev": 0o755, "home": 0o755} {
		add(tar.Header{Name: dir + "/", Mode: mode, Typeflag: tar.TypeDir}, nil)
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755, Typeflag: tar.TypeReg}, program)
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}, nil)
		}
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644, Typeflag: tar.TypeReg}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644, Typeflag: tar.TypeReg}, []byte("root:x:0:\n"))
	if err := errors.Join(append(errs, w.Close())...); err != nil {
		return err
	}
	image, err := imageOf(layer.Bytes())
	if err != nil {
		return err
	}
	images := map[name.Tag]v1.Image{}
	for _, ref := range []string{busyboxImage, otherImage} {
		tag, err := name.NewTag(ref)
		if err != nil {
			return err
		}
		images[tag] = image
	}
	return tarball.MultiWriteToFile(to, images)
}

// imageOf makes an image of one layer.
func imageOf(layer []byte) (v1.Image, error) {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Cmd = []string{"sh"}
	config.Config.Env = []string{"PATH=/bin"}
	return mutate.ConfigFile(image, config)
}
