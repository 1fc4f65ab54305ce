//go:build linux

package ctrd

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Binary describes an image of one layer, made of a static program.
type Binary struct {
	// Path is the program on the host. It becomes /<its base name>, and the entrypoint.
	Path string
	// Files are further files, by their absolute path in the image, from files or directories of the host.
	Files map[string]string
	// Links are symbolic links, from the absolute path in the image to what they point to.
	Links map[string]string
	Env   []string
	User  string
	Cmd   []string
}

// machines maps Go's architectures to ELF's.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM,
	"riscv64": elf.EM_RISCV, "s390x": elf.EM_S390, "ppc64le": elf.EM_PPC64, "loong64": elf.EM_LOONGARCH,
}

// CheckStatic reports why a file cannot be the only program of an image: it is no Linux program, or one for
// another processor, or it needs a dynamic loader and libraries that the image would not have.
func CheckStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%s is no Linux program (ELF): build it with GOOS=linux", file)
		}
		return fmt.Errorf("open program: %w", err)
	}
	defer f.Close()
	if want, known := machines[runtime.GOARCH]; known && f.Machine != want {
		return fmt.Errorf("%s is a program for %s, and this machine is %s: build it with GOARCH=%s", file, f.Machine, want, runtime.GOARCH)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is dynamically linked, and an image made of one program has no libraries: build it with CGO_ENABLED=0, or give an image instead", file)
		}
	}
	return nil
}

// FromBinary makes an image of a static program, stores it as ref and unpacks it. Equal input gives an equal digest,
// and is then quick. Besides the program, the image has only /tmp and /etc.
func (c *Client) FromBinary(ctx context.Context, ref string, b Binary) (Image, error) {
	full, err := ParseRef(ref)
	if err != nil {
		return Image{}, err
	}
	if err := CheckStatic(b.Path); err != nil {
		return Image{}, fmt.Errorf("make image %s: %w", full, err)
	}
	img, err := c.fromBinary(ctx, full, b)
	if err != nil {
		return Image{}, fmt.Errorf("make image %s of %s: %w", full, b.Path, err)
	}
	return img, nil
}

func (c *Client) fromBinary(ctx context.Context, ref string, b Binary) (_ Image, err error) {
	// Content that no image refers to yet would be collected; the lease covers the moment, and its expiry a kill.
	ctx, release, err := c.ctr.WithLease(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour))
	if err != nil {
		return Image{}, fmt.Errorf("take a lease: %w", native(err))
	}
	defer func() { err = errors.Join(err, native(release(context.WithoutCancel(ctx)))) }()

	layer, err := c.writeLayer(ctx, b)
	if err != nil {
		return Image{}, err
	}
	config, err := c.writeJSON(ctx, ocispec.MediaTypeImageConfig, nil, b.config(layer.Digest))
	if err != nil {
		return Image{}, err
	}
	manifest, err := c.writeJSON(ctx, ocispec.MediaTypeImageManifest,
		map[string]string{"containerd.io/gc.ref.content.config": config.Digest.String(), "containerd.io/gc.ref.content.l.0": layer.Digest.String()},
		ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		return Image{}, err
	}
	record, err := c.name(ctx, images.Image{Name: ref, Target: manifest, Labels: map[string]string{labelOrigin: OriginBinary}})
	if err != nil {
		return Image{}, err
	}
	list, err := c.adopt(ctx, []images.Image{record})
	if err != nil {
		return Image{}, err
	}
	return list[0], nil
}

// name makes an image record, or points the one of that name elsewhere.
func (c *Client) name(ctx context.Context, img images.Image) (images.Image, error) {
	record, err := c.ctr.ImageService().Update(ctx, img, "target", "labels")
	if errdefs.IsNotFound(err) {
		record, err = c.ctr.ImageService().Create(ctx, img)
	}
	if errdefs.IsAlreadyExists(err) { // somebody else was quicker
		record, err = c.ctr.ImageService().Update(ctx, img, "target", "labels")
	}
	if err != nil {
		return record, fmt.Errorf("name the image: %w", native(err))
	}
	return record, nil
}

func (b Binary) config(diff digest.Digest) ocispec.Image {
	return ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   ocispec.ImageConfig{Entrypoint: []string{"/" + filepath.Base(b.Path)}, Cmd: b.Cmd, Env: b.Env, User: b.User},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
	}
}

func (c *Client) writeJSON(ctx context.Context, mediaType string, labels map[string]string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := content.WriteBlob(ctx, c.ctr.ContentStore(), desc.Digest.String(), bytes.NewReader(data), desc, content.WithLabels(labels)); err != nil {
		return desc, fmt.Errorf("store the image: %w", native(err))
	}
	return desc, nil
}

// writeLayer writes the layer, uncompressed: it never leaves this machine. It is made twice, first only for its
// digest, which is what the store is asked for: hashing is quick, and an equal layer need not be sent again.
func (c *Client) writeLayer(ctx context.Context, b Binary) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer}
	hash, size := digest.Canonical.Digester(), &counter{}
	if err := b.tar(io.MultiWriter(hash.Hash(), size)); err != nil {
		return desc, err
	}
	desc.Digest, desc.Size = hash.Digest(), size.n
	store := c.ctr.ContentStore()
	if _, err := store.Info(ctx, desc.Digest); err == nil {
		return desc, nil
	}
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(b.tar(w))
	}()
	// The store has the layer, with its digest checked, when this says so: also where somebody else was quicker and
	// nothing of ours was read to its end.
	err := content.WriteBlob(ctx, store, desc.Digest.String(), r, desc)
	r.CloseWithError(err)
	<-written
	if err != nil {
		return desc, fmt.Errorf("store the layer: %w", native(err))
	}
	return desc, nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// tar writes the layer: every entry owned by root, of no time, in a fixed order.
func (b Binary) tar(w io.Writer) error {
	t := tar.NewWriter(w)
	l := layerWriter{tar: t, dirs: map[string]bool{}}
	l.dir("/etc", 0o755)
	l.dir("/tmp", 0o1777)
	l.file("/"+filepath.Base(b.Path), b.Path)
	for _, name := range sortedKeys(b.Files) {
		l.tree(name, b.Files[name])
	}
	for _, name := range sortedKeys(b.Links) {
		l.link(name, b.Links[name])
	}
	return errors.Join(l.err, t.Close())
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// layerWriter writes entries until the first error.
type layerWriter struct {
	tar  *tar.Writer
	dirs map[string]bool
	err  error
}

func (l *layerWriter) header(h *tar.Header) {
	h.Name = strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	h.Format = tar.FormatPAX
	if l.err == nil && h.Name != "" {
		l.err = l.tar.WriteHeader(h)
	}
}

func (l *layerWriter) dir(name string, mode int64) {
	if name == "/" || l.dirs[name] {
		return
	}
	l.parents(name)
	l.dirs[name] = true
	l.header(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode})
}

func (l *layerWriter) parents(name string) {
	if parent := path.Dir(name); parent != "/" {
		l.dir(parent, 0o755)
	}
}

func (l *layerWriter) link(name, target string) {
	l.parents(name)
	l.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

func (l *layerWriter) file(name, source string) {
	if l.err != nil {
		return
	}
	f, err := os.Open(source)
	if err != nil {
		l.err = err
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		l.err = err
		return
	}
	l.parents(name)
	l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size()})
	if l.err == nil {
		_, l.err = io.Copy(l.tar, f)
	}
}

// tree writes a file or directory of the host, symbolic links as they are.
func (l *layerWriter) tree(name, source string) {
	if l.err != nil {
		return
	}
	l.err = errors.Join(l.err, filepath.WalkDir(source, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		l.entry(path.Join(name, filepath.ToSlash(rel)), file, e)
		return l.err
	}))
}

func (l *layerWriter) entry(name, file string, e fs.DirEntry) {
	info, err := e.Info()
	switch {
	case err != nil:
		l.err = err
	case info.IsDir():
		l.dir(name, int64(info.Mode().Perm()))
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(file)
		l.err = err
		l.link(name, target)
	case info.Mode().IsRegular():
		l.file(name, file)
	default:
		l.err = fmt.Errorf("%s is neither file, directory nor link, and cannot go into an image", file)
	}
}
