package host

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoRun says that there is no run of a name, and nothing of one.
var ErrNoRun = errors.New("there is no such run: podsim ps lists them")

// A RunInfo is what is known of one run of a site.
type RunInfo struct {
	ID    string
	Alive bool // its process lives
	// Created, Command and Pods (namespace/name) are its record's; they are empty where that is gone.
	Created time.Time
	Command []string
	Pods    []string
	// Pieces are what it has outside its directory: mounts, addresses, cgroups, containers.
	Pieces []string
}

// An ImageInUseError says that an image is not removed, and which runs need it.
type ImageInUseError struct {
	Ref  string
	Runs []string
}

func (e *ImageInUseError) Error() string {
	return fmt.Sprintf("remove image %s: it is used by run %s: stop that first (podsim ps says what it is)", e.Ref, strings.Join(e.Runs, ", "))
}
