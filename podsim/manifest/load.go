package manifest

import (
	"fmt"
	"io"
	"os"

	"github.com/podsim/podsim/podsim/manifest/diag"
)

// Load reads and parses one file. The only function here that touches the file system. A file that cannot be
// read is a finding of the list like any other.
func Load(path string) (*Manifest, diag.List) {
	data, err := read(path)
	if err != nil {
		return &Manifest{}, diag.List{{File: path, Message: err.Error()}}
	}
	return Parse(diag.NewSource(path, data))
}

// read stops one byte behind the limit: what is larger is refused by the parser, without having been read.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("read manifest: this is a directory; name a YAML file in it")
	}
	data, err := io.ReadAll(io.LimitReader(f, diag.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return data, nil
}
