//go:build linux

package ctrd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A memo is what was once read of an image, kept in a file for the processes to come: to ask containerd again takes ten
// calls before the first container can be created. What a digest names never changes, so that a memo is never wrong; one
// that is missing, torn or cannot be written only means that containerd is asked.
//
// There are two kinds: of an image, by the digest of its manifest or index, and of its accounts, by the chain ID
// of its layers.
type memo string

const (
	memoImage    memo = "image"
	memoAccounts memo = "accounts"
)

// An imageMemo is the part of an Image that its digest decides.
type imageMemo struct {
	Image Image  `json:"image"`
	Chain string `json:"chain"`
}

// An accountsMemo is an image's account files.
type accountsMemo struct {
	Passwd string `json:"passwd"`
	Group  string `json:"group"`
}

func (m memo) path(cfg Config, digest string) string {
	return filepath.Join(cfg.memos(), strings.ReplaceAll(digest, ":", "-")+"."+runtime.GOARCH+"."+string(m)+".json")
}

// read reads a memo into v, and reports whether there is one.
func (m memo) read(cfg Config, digest string, v any) bool {
	data, err := os.ReadFile(m.path(cfg, digest))
	return err == nil && json.Unmarshal(data, v) == nil
}

// write keeps v. The file appears as a whole or not at all.
func (m memo) write(cfg Config, digest string, v any) {
	data, err := json.Marshal(v)
	if err != nil || os.MkdirAll(cfg.memos(), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(cfg.memos(), ".new-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err != nil || cerr != nil || os.Rename(f.Name(), m.path(cfg, digest)) != nil {
		_ = os.Remove(f.Name())
	}
}

// forget drops the memo, if there is one.
func (m memo) forget(cfg Config, digest string) { _ = os.Remove(m.path(cfg, digest)) }
