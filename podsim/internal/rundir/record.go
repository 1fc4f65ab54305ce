package rundir

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	recordFile   = "record.json"
	lockFile     = "lock"
	timelineFile = "timeline.jsonl"
	logsDir      = "logs"
)

// A Record is what must be known to take a run away, and to say what it was. It is written once, synced to disk
// before the run's first effect, and never changed.
type Record struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// Podsim is the version that wrote it, Command the command line that began the run.
	Podsim  string   `json:"podsim,omitempty"`
	Command []string `json:"command,omitempty"`
	Pods    []Pod    `json:"pods,omitempty"`
	// Containerd is the address of a containerd that is not podsim's own, empty for the private one.
	Containerd string `json:"containerd,omitempty"`
	// Attachments are the run's network attachments, in the form of the host's; to detach them no other
	// knowledge is needed.
	Attachments json.RawMessage `json:"attachments,omitempty"`
}

// A Pod is one pod of a run.
type Pod struct {
	ID        string `json:"id"` // in the names of its resources
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Images are the full references of those that its containers are made of.
	Images []string `json:"images,omitempty"`
}

// writeRecord writes and syncs the record, then the directory that holds its name.
func writeRecord(dir string, r Record) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write record of run %s: %w", r.ID, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, recordFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write record of run %s: %w", r.ID, err)
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write record of run %s: %w", r.ID, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readRecord reads the record in dir. whole is false where there is none, or a part of one: what a process leaves
// that died before its first effect.
func readRecord(dir string) (r Record, whole bool) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil || json.Unmarshal(data, &r) != nil {
		return Record{ID: filepath.Base(dir)}, false
	}
	r.ID = filepath.Base(dir)
	return r, true
}
