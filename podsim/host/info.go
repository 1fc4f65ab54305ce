package host

import (
	"errors"
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
