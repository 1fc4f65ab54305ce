package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/internal/rundir"
)

// KeeperCommand and KeeperMain are those of the process that keeps the private containerd; see main.
const KeeperCommand = ctrd.KeeperCommand

// KeeperMain is the main function of a keeper; it returns its exit code.
func KeeperMain(args []string) int { return ctrd.KeeperMain(args) }

// Images are the images of a site's containerd. Close it.
type Images struct {
	site    Site
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
	return &Images{site: c.Site, runtime: runtime}, nil
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

// Remove removes images and what only they need on the disk. One that is not there, or that a living run needs
// (*ImageInUseError), is an error; the others are removed all the same. It returns the full references of those that are
// gone.
func (i *Images) Remove(ctx context.Context, refs ...string) ([]string, error) {
	needed, err := i.needed(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	var free []string
	for _, ref := range refs {
		img, err := i.runtime.Image(ctx, ref)
		full := img.Ref
		if e, ok := errors.AsType[*ctrd.ImageError](err); ok && e.Reason == ctrd.ReasonImageInspectError {
			full, err = e.Ref, nil // what cannot be read can be removed
		}
		switch runs := needed[full]; {
		case errors.Is(err, ctrd.ErrNoImage):
			err = fmt.Errorf("remove image %s: %w: podsim image ls lists those that are", ref, ctrd.ErrNoImage)
		case err == nil && len(runs) > 0:
			err = &ImageInUseError{Ref: full, Runs: runs}
		case err == nil && !slices.Contains(free, full):
			free = append(free, full)
		}
		errs = append(errs, err)
	}
	if err := i.runtime.RemoveImages(ctx, free...); err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	return free, errors.Join(errs...)
}

// Prune removes the images that no living run needs: those that were made here or, with all, the others too. It returns
// their references.
func (i *Images) Prune(ctx context.Context, all bool) ([]string, error) {
	needed, err := i.needed(ctx)
	if err != nil {
		return nil, err
	}
	present, err := i.runtime.Images(ctx)
	if err != nil {
		return nil, err
	}
	var free []string
	for _, img := range present {
		if len(needed[img.Ref]) == 0 && (all || strings.HasPrefix(img.Ref, localRegistry)) {
			free = append(free, img.Ref)
		}
	}
	return free, i.runtime.RemoveImages(ctx, free...)
}

// needed returns the runs that need an image, by its full reference: living ones, by their pods or by a container that
// they have, and those with containers of which this site knows nothing, where containerd is shared with another.
func (i *Images) needed(ctx context.Context) (map[string][]string, error) {
	runs, err := rundir.List(i.site.StateDir)
	if err != nil {
		return nil, err
	}
	needed := make(map[string][]string)
	need := func(ref, run string) {
		if !slices.Contains(needed[ref], run) {
			needed[ref] = append(needed[ref], run)
		}
	}
	dead := make(map[string]bool)
	for _, r := range runs {
		dead[r.ID] = !r.Alive
		for _, p := range r.Pods {
			for _, ref := range p.Images {
				if r.Alive {
					need(ref, r.ID)
				}
			}
		}
	}
	users, err := i.runtime.ImageUsers(ctx)
	if err != nil {
		return nil, err
	}
	for ref, ids := range users {
		for _, id := range ids {
			if !dead[id] {
				need(ref, id)
			}
		}
	}
	return needed, nil
}

// imagesOf are the full references of a pod's images, as far as they can be parsed.
func imagesOf(p *corev1.Pod) []string {
	var out []string
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if ref, err := ctrd.ParseRef(list[i].Image); err == nil && !slices.Contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	return out
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
