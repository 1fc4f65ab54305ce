package netns

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Pins are the paths at which a set of namespaces is kept alive, each a bind mount over an empty file. A
// kind whose path is empty is not made: whoever joins the set shares the machine's.
type Pins struct {
	Net string `json:"net,omitempty"`
	IPC string `json:"ipc,omitempty"`
	UTS string `json:"uts,omitempty"`
}

// PinsIn are the usual paths in a directory: net, ipc and uts.
func PinsIn(dir string) Pins {
	return Pins{Net: filepath.Join(dir, "net"), IPC: filepath.Join(dir, "ipc"), UTS: filepath.Join(dir, "uts")}
}

// paths lists the paths that are not empty.
func (p Pins) paths() []string {
	var out []string
	for _, path := range []string{p.Net, p.IPC, p.UTS} {
		if path != "" {
			out = append(out, path)
		}
	}
	return out
}

// PinOptions say what is set in new namespaces.
type PinOptions struct {
	// Hostname is set in the uts namespace; empty: the machine's stays. At most 64 bytes.
	Hostname string
	// Sysctls are set by name, net.ipv4.ip_local_port_range or with slashes. Each must belong to a namespace that
	// is being made: net.* to Net; kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.* to IPC (NW-13).
	Sysctls map[string]string
}

// sysctlFile is the file of a sysctl under /proc/sys, if it belongs to one of the namespaces in p.
func (p Pins) sysctlFile(name string) (string, error) {
	slashed := name
	if !strings.Contains(name, "/") {
		slashed = strings.ReplaceAll(name, ".", "/")
	}
	for part := range strings.SplitSeq(slashed, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("set sysctl %q: not a sysctl's name", name)
		}
	}
	owner, made := "", false
	switch {
	case strings.HasPrefix(slashed, "net/"):
		owner, made = "network", p.Net != ""
	case strings.HasPrefix(slashed, "kernel/shm"), strings.HasPrefix(slashed, "kernel/msg"),
		slashed == "kernel/sem", strings.HasPrefix(slashed, "fs/mqueue/"):
		owner, made = "ipc", p.IPC != ""
	default:
		return "", fmt.Errorf("set sysctl %s: it is the whole machine's, not a namespace's", name)
	}
	if !made {
		return "", fmt.Errorf("set sysctl %s: the %s namespace is the machine's own", name, owner)
	}
	return "/proc/sys/" + slashed, nil
}
