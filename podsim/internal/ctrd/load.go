//go:build linux

package ctrd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
)

// Load reads the images of an archive file into the store and unpacks them: what docker save, podman save, skopeo
// and buildah write (docker-archive or OCI archive), as it is or compressed. An OCI archive that gives an image only
// a tag gives it the name of the file.
func (c *Client) Load(ctx context.Context, path string) ([]Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	defer f.Close()
	list, err := c.load(ctx, f, archiveName(path))
	if err != nil {
		return nil, fmt.Errorf("load images from %s: %w", path, err)
	}
	return list, nil
}

// archiveName is the repository of images that have none: the file's name up to the first dot.
func archiveName(path string) string {
	name, _, _ := strings.Cut(strings.ToLower(filepath.Base(path)), ".")
	return name
}

func (c *Client) load(ctx context.Context, r io.Reader, name string) ([]Image, error) {
	plain, err := compression.DecompressStream(bufio.NewReaderSize(r, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	defer plain.Close()
	var invalid error
	records, err := c.ctr.Import(ctx, plain,
		containerd.WithImageLabels(map[string]string{labelOrigin: OriginArchive}),
		containerd.WithSkipMissing(), // the other platforms of an index are seldom in the file
		containerd.WithImageRefTranslator(func(tag string) string {
			full, err := archiveRef(name, tag)
			invalid = errors.Join(invalid, err)
			return full
		}))
	if err := errors.Join(native(err), invalid); err != nil {
		return nil, fmt.Errorf("read the archive (docker save and OCI archives are understood): %w", err)
	}
	if len(records) == 0 {
		return nil, errors.New("the archive names no image; save it by name, as in docker save NAME")
	}
	return c.adopt(ctx, records)
}

// archiveRef makes a full reference of the name in an OCI archive, which is either one or only a tag.
func archiveRef(name, tag string) (string, error) {
	if strings.ContainsAny(tag, ":/") {
		return ParseRef(tag)
	}
	return ParseRef(name + ":" + tag)
}

// adopt unpacks images that are new in the store and returns them.
func (c *Client) adopt(ctx context.Context, records []images.Image) ([]Image, error) {
	list := make([]Image, 0, len(records))
	for _, record := range records {
		if err := c.unpack(ctx, record.Name); err != nil {
			return nil, err
		}
		img, err := c.inspect(ctx, record)
		if err != nil {
			return nil, err
		}
		list = append(list, img)
	}
	return list, nil
}
