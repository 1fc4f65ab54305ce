package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// A record is network.json: what the members of a Network agree on. It is read and written under the lock.
//
// It is written to a new file and renamed, so that a killed process leaves it whole. It is not synced to the disk:
// everything it speaks of is the kernel's and is lost with the power as well.
type record struct {
	Subnet  netip.Prefix `json:"subnet"`
	Subnet6 netip.Prefix `json:"subnet6,omitzero"` // invalid: no member had IPv6
	Members []string     `json:"members"`          // sorted
}

// readRecord reads the record. Without a file it is empty.
func (n Network) readRecord() (record, error) {
	var r record
	data, err := os.ReadFile(n.recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return record{}, fmt.Errorf("read %s (remove it if no pod runs): %w", n.recordFile(), err)
	}
	return r, nil
}

func (n Network) writeRecord(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write %s: %w", n.recordFile(), err)
	}
	if err := os.MkdirAll(filepath.Dir(n.recordFile()), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", n.recordFile(), err)
	}
	next := n.recordFile() + ".new"
	if err := os.WriteFile(next, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", n.recordFile(), errors.Join(err, os.Remove(next)))
	}
	if err := os.Rename(next, n.recordFile()); err != nil {
		return fmt.Errorf("write %s: %w", n.recordFile(), err)
	}
	return nil
}

// removeRecord removes the record and what a killed writer left beside it.
func (n Network) removeRecord() error {
	var errs []error
	for _, file := range []string{n.recordFile(), n.recordFile() + ".new"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove the network's record: %w", err))
		}
	}
	return errors.Join(errs...)
}

// with adds a member; without takes it away.
func (r record) with(id string) record {
	if i, found := slices.BinarySearch(r.Members, id); !found {
		r.Members = slices.Insert(slices.Clone(r.Members), i, id)
	}
	return r
}

func (r record) without(id string) record {
	if i, found := slices.BinarySearch(r.Members, id); found {
		r.Members = slices.Delete(slices.Clone(r.Members), i, i+1)
	}
	return r
}
