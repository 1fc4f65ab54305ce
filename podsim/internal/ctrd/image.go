//go:build linux

package ctrd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// labelOrigin is on every image that did not come from a registry; its value says where it came from.
const labelOrigin = "podsim.origin"

// Origins of an image.
const (
	OriginRegistry = ""       // pulled
	OriginArchive  = "load"   // from a file of Load
	OriginBinary   = "binary" // made by FromBinary
)

// An Image is one that is present.
type Image struct {
	// Ref is the full reference: docker.io/library/busybox:latest.
	Ref string
	// ID is the digest of the image's config, Digest that of its manifest or index.
	ID     string
	Digest string
	// Size is that of the manifest, the config and the compressed layers of this host's platform, in bytes.
	Size    int64
	Created time.Time // when it came here
	Origin  string

	Entrypoint, Cmd, Env []string
	User                 string // as the image says it: empty, name, uid, or either with :group
	WorkingDir           string
	StopSignal           string // without SIG; empty: none (TM-14)

	chain string // the ID of the snapshot that all layers together make
}

// UID returns the user of the image as a number, or as the name that it is given by, for the verdict on
// runAsNonRoot (NS-04). An image without a user runs as 0.
func (i Image) UID() (uid int64, name string) {
	user, _, _ := strings.Cut(i.User, ":")
	if user == "" {
		return 0, ""
	}
	uid, err := strconv.ParseInt(user, 10, 64)
	if err != nil {
		return 0, user
	}
	return uid, ""
}

// RepoDigest names the image by its repository and digest, as a status does (PH-20); empty for one that came from no
// registry.
func (i Image) RepoDigest() string {
	named, err := reference.ParseDockerRef(i.Ref)
	if err != nil || i.Origin != OriginRegistry || i.Digest == "" {
		return ""
	}
	return reference.TrimNamed(named).Name() + "@" + i.Digest
}

// Reasons of an ImageError, as the kubelet gives them (PH-14).
const (
	ReasonInvalidImageName  = "InvalidImageName"
	ReasonErrImagePull      = "ErrImagePull"
	ReasonErrImageNeverPull = "ErrImageNeverPull"
	ReasonImageInspectError = "ImageInspectError"
)

// An ImageError is why an image could not be had, as a fact about the pod.
type ImageError struct {
	Reason string
	Ref    string
	Err    error
}

func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", e.Ref, e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// ErrNoImage says that an image is not present.
var ErrNoImage = errors.New("the image is not present")

// ParseRef returns the full form of an image reference: busybox becomes docker.io/library/busybox:latest. One that
// cannot be parsed is an *ImageError with the reason InvalidImageName (IM-03).
func ParseRef(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", &ImageError{Reason: ReasonInvalidImageName, Ref: strconv.Quote(ref), Err: fmt.Errorf("parse image reference: %w", err)}
	}
	return named.String(), nil
}

// Policy says when an image is pulled. The values are those of a pod's imagePullPolicy.
type Policy string

// The policies.
const (
	PullAlways       Policy = "Always"
	PullIfNotPresent Policy = "IfNotPresent"
	PullNever        Policy = "Never"
)

// Ensure makes an image present by a policy, and reports whether anything was pulled (IM-01..03). The caller
// has chosen the policy; an empty one is IfNotPresent. An image that podsim made or loaded from a file is not to be
// found in a registry: for it, Always is IfNotPresent. Errors about the image are *ImageError.
func (c *Client) Ensure(ctx context.Context, ref string, policy Policy, o PullOptions) (img Image, pulled bool, err error) {
	full, err := ParseRef(ref)
	if err != nil {
		return Image{}, false, err
	}
	img, err = c.Image(ctx, full)
	switch {
	case err == nil && (policy != PullAlways || img.Origin != OriginRegistry):
		return img, false, nil
	case err != nil && !errors.Is(err, ErrNoImage):
		return Image{}, false, err
	case policy == PullNever:
		return Image{}, false, &ImageError{Reason: ReasonErrImageNeverPull, Ref: full, Err: fmt.Errorf("%w, and imagePullPolicy is Never", ErrNoImage)}
	}
	if o.Begin != nil {
		o.Begin()
	}
	img, err = c.Pull(ctx, full, o)
	return img, err == nil, err
}

// Image returns a present image; ErrNoImage if it is not.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	full, err := ParseRef(ref)
	if err != nil {
		return Image{}, err
	}
	record, err := c.ctr.ImageService().Get(ctx, full)
	if errdefs.IsNotFound(err) {
		return Image{}, &ImageError{Reason: ReasonErrImagePull, Ref: full, Err: ErrNoImage}
	}
	if err != nil {
		return Image{}, fmt.Errorf("look up image %s: %w", full, native(err))
	}
	return c.inspect(ctx, record)
}

// Images lists the images that are present, by reference. One that cannot be read is listed with what is known.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	records, err := c.ctr.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", native(err))
	}
	list := make([]Image, 0, len(records))
	for _, record := range records {
		img, err := c.inspect(ctx, record)
		if err != nil {
			img = Image{Ref: record.Name, Digest: record.Target.Digest.String(), Created: record.CreatedAt, Origin: record.Labels[labelOrigin]}
		}
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b Image) int { return strings.Compare(a.Ref, b.Ref) })
	return list, nil
}

// RemoveImages forgets images, and returns when what nothing else needs has gone from the disk. It does not look who
// uses them (ImageUsers does), and is idempotent.
func (c *Client) RemoveImages(ctx context.Context, refs ...string) error {
	for i, ref := range refs {
		full, err := ParseRef(ref)
		if err != nil {
			return err
		}
		var o []images.DeleteOpt
		if i == len(refs)-1 { // one collection for all of them
			o = append(o, images.SynchronousDelete())
		}
		if err := c.ctr.ImageService().Delete(ctx, full, o...); ignoreNotFound(err) != nil {
			return fmt.Errorf("remove image %s: %w", full, native(err))
		}
	}
	return nil
}

// ImageUsers returns, by an image's reference, the runs that have containers of it, dead ones too.
func (c *Client) ImageUsers(ctx context.Context) (map[string][]string, error) {
	records, err := c.records(ctx, "")
	if err != nil {
		return nil, err
	}
	users := make(map[string][]string)
	for _, r := range records {
		if run := r.Labels[labelRun]; !slices.Contains(users[r.Image], run) {
			users[r.Image] = append(users[r.Image], run)
		}
	}
	return users, nil
}

// inspect reads what an image's manifest and config say. What a digest names never changes, so that is remembered.
func (c *Client) inspect(ctx context.Context, record images.Image) (Image, error) {
	key := record.Target.Digest.String()
	c.mu.Lock()
	img, known := c.images[key]
	c.mu.Unlock()
	if !known {
		var err error
		if img, err = c.imageOf(ctx, record.Target); err != nil {
			return Image{}, &ImageError{Reason: ReasonImageInspectError, Ref: record.Name, Err: err}
		}
		c.mu.Lock()
		c.images[key] = img
		c.mu.Unlock()
	}
	img.Ref, img.Digest, img.Created, img.Origin = record.Name, key, record.CreatedAt, record.Labels[labelOrigin]
	return img, nil
}

// imageOf is what a digest says of an image, from the memo that an earlier process has left, or from containerd.
func (c *Client) imageOf(ctx context.Context, target ocispec.Descriptor) (Image, error) {
	var m imageMemo
	if memoImage.read(c.cfg, target.Digest.String(), &m) && m.Chain != "" {
		m.Image.chain = m.Chain
		return m.Image, nil
	}
	img, err := c.readImage(ctx, target)
	if err == nil {
		memoImage.write(c.cfg, target.Digest.String(), imageMemo{Image: img, Chain: img.chain})
	}
	return img, err
}

func (c *Client) readImage(ctx context.Context, target ocispec.Descriptor) (Image, error) {
	store := c.ctr.ContentStore()
	manifest, err := images.Manifest(ctx, store, target, platforms.Default())
	if errdefs.IsNotFound(err) {
		return Image{}, fmt.Errorf("find the image for %s: %w; is it made for another platform?", platforms.DefaultString(), native(err))
	}
	if err != nil {
		return Image{}, fmt.Errorf("read the image's manifest: %w", native(err))
	}
	data, err := content.ReadBlob(ctx, store, manifest.Config)
	if err != nil {
		return Image{}, fmt.Errorf("read the image's config: %w", native(err))
	}
	var config ocispec.Image
	if err := json.Unmarshal(data, &config); err != nil {
		return Image{}, fmt.Errorf("read the image's config: %w", err)
	}
	img := Image{
		ID:         manifest.Config.Digest.String(),
		Size:       target.Size + manifest.Config.Size,
		Entrypoint: config.Config.Entrypoint,
		Cmd:        config.Config.Cmd,
		Env:        config.Config.Env,
		User:       config.Config.User,
		WorkingDir: config.Config.WorkingDir,
		StopSignal: strings.TrimPrefix(config.Config.StopSignal, "SIG"),
		chain:      identity.ChainID(config.RootFS.DiffIDs).String(),
	}
	for _, layer := range manifest.Layers {
		img.Size += layer.Size
	}
	return img, nil
}

// unpack makes the snapshot that containers of an image start from. It is idempotent.
func (c *Client) unpack(ctx context.Context, ref string) error {
	record, err := c.ctr.ImageService().Get(ctx, ref)
	if err != nil {
		return fmt.Errorf("look up image %s: %w", ref, native(err))
	}
	name, err := c.snapshotterName(ctx)
	if err != nil {
		return err
	}
	if err := containerd.NewImage(c.ctr, record).Unpack(ctx, name); err != nil {
		return fmt.Errorf("unpack image %s: %w", ref, native(err))
	}
	return nil
}
