package host

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// KeeperCommand and KeeperMain are those of the process that keeps the private containerd; see main.
const KeeperCommand = ctrd.KeeperCommand

// KeeperMain is the main function of a keeper; it returns its exit code.
func KeeperMain(args []string) int { return ctrd.KeeperMain(args) }

// Images are the images of a site's containerd. Close it.
type Images struct {
	runtime *ctrd.Client
}

// OpenImages connects to the site's containerd, starting the private one if need be.
func OpenImages(ctx context.Context, c Config) (*Images, error) {
	c = c.withDefaults()
	if err := Preflight(c); err != nil {
		return nil, err
	}
	runtime, err := ctrd.Open(ctx, c.runtime())
	if err != nil {
		return nil, err
	}
	return &Images{runtime: runtime}, nil
}

// Close lets go of containerd.
func (i *Images) Close() error { return i.runtime.Close() }

// An Image is one that is present.
type Image struct {
	Ref     string
	ID      string
	Size    int64 // bytes, compressed
	Created time.Time
}

// List lists the images by reference.
func (i *Images) List(ctx context.Context) ([]Image, error) {
	all, err := i.runtime.Images(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Image, 0, len(all))
	for _, img := range all {
		out = append(out, Image{Ref: img.Ref, ID: img.ID, Size: img.Size, Created: img.Created})
	}
	return out, nil
}

// Load loads the images of an archive and returns their references.
func (i *Images) Load(ctx context.Context, file string) ([]string, error) {
	images, err := i.runtime.Load(ctx, file)
	if err != nil {
		return nil, err
	}
	var refs []string
	for _, img := range images {
		refs = append(refs, img.Ref)
	}
	return refs, nil
}

// Make makes a one-layer image of a static program under a name, and returns its full reference.
func (i *Images) Make(ctx context.Context, ref, path string) (string, error) {
	img, err := i.runtime.FromBinary(ctx, ref, ctrd.Binary{Path: path})
	return img.Ref, err
}

// binaryRepository is where images made of a program are named; no registry has it.
const binaryRepository = localRegistry + "binary/"

// FromBinary makes a one-layer image of a static program and returns its reference, which is a function of the
// program's contents: an image that is there already is not made again.
func (i *Images) FromBinary(ctx context.Context, path string) (string, error) {
	img, err := fromBinary(ctx, i.runtime, path)
	return img.Ref, err
}

func fromBinary(ctx context.Context, runtime *ctrd.Client, path string) (ctrd.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return ctrd.Image{}, fmt.Errorf("make an image of a program: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return ctrd.Image{}, fmt.Errorf("make an image of a program: %w", err)
	}
	ref := fmt.Sprintf("%s%s:%x", binaryRepository, repositoryName(filepath.Base(path)), sum.Sum(nil)[:8])
	if img, err := runtime.Image(ctx, ref); err == nil {
		return img, nil
	}
	return runtime.FromBinary(ctx, ref, ctrd.Binary{Path: path})
}

// repositoryName makes of a file's name a component of an image's.
func repositoryName(file string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(file))
	if name = strings.Trim(name, "-"); name == "" {
		return "program"
	}
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '-' }), "-")
}
