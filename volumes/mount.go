package volumes

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// A Mount is one mount of a volume into one container.
type Mount struct {
	Volume string
	// SubPath is the file or directory in the volume to mount, relative and without ".."; empty: the whole volume. It
	// is made as a directory with the volume's own mode if it is not there (VO-11). Variables are already expanded.
	SubPath string
	// Key names the mount in the Set where SubPath is set: two mounts that exist at once have different keys, and a
	// container's next instance uses its predecessor's. The container's name and the mount's index do.
	Key         string
	Destination string // in the container, absolute
	ReadOnly    bool
	// Recursive asks that mounts below the volume are read-only as well (VO-14).
	Recursive RecursiveReadOnly
	// Propagation is VO-15. It is the caller's duty to grant Bidirectional to privileged containers only.
	Propagation Propagation
}

// RecursiveReadOnly says whether a read-only mount extends to the mounts below it. Its values are Kubernetes' own;
// empty is Disabled.
type RecursiveReadOnly string

// The modes.
const (
	RecursiveDisabled   RecursiveReadOnly = "Disabled"
	RecursiveIfPossible RecursiveReadOnly = "IfPossible" // where the kernel can (5.12)
	RecursiveEnabled    RecursiveReadOnly = "Enabled"    // an error where it cannot
)

// Propagation says which mounts below a volume appear on the other side. Its values are Kubernetes' own; empty is
// None.
type Propagation string

// The modes.
const (
	PropagationNone            Propagation = "None"
	PropagationHostToContainer Propagation = "HostToContainer"
	PropagationBidirectional   Propagation = "Bidirectional"
)

// A Binding is what an OCI spec needs for one Mount.
type Binding struct {
	Source      string
	Destination string
	Options     []string // of a mount of type bind
	// RootPropagation is the least that the spec's linux.rootfsPropagation must be for the mount to propagate: "",
	// "rslave" or "rshared". The strongest of a container's bindings counts.
	RootPropagation string
}

// propagates reports whether mounts are to cross the mount at all.
func (p Propagation) propagates() bool { return p != "" && p != PropagationNone }

// check reports what is wrong with m apart from the state of the machine.
func (m Mount) check() error {
	if !path.IsAbs(m.Destination) {
		return fmt.Errorf("mount path %q must be absolute", m.Destination)
	}
	switch m.Propagation {
	case "", PropagationNone, PropagationHostToContainer, PropagationBidirectional:
	default:
		return fmt.Errorf("unknown mount propagation %q: use None, HostToContainer or Bidirectional", m.Propagation)
	}
	switch m.Recursive {
	case "", RecursiveDisabled:
	case RecursiveIfPossible, RecursiveEnabled:
		if !m.ReadOnly {
			return errors.New("it asks to be recursively read-only but is not read-only: set readOnly as well")
		}
		if m.Propagation.propagates() {
			return fmt.Errorf("recursively read-only does not go with propagation %s: use None", m.Propagation)
		}
	default:
		return fmt.Errorf("unknown recursive read-only mode %q: use Disabled, IfPossible or Enabled", m.Recursive)
	}
	return m.checkSubPath()
}

func (m Mount) checkSubPath() error {
	switch {
	case m.SubPath == "":
		return nil
	case path.IsAbs(m.SubPath):
		return fmt.Errorf("error SubPath `%s` must not be an absolute path", m.SubPath)
	case strings.Contains("/"+m.SubPath+"/", "/../"):
		return fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", m.SubPath)
	case !isName(m.Key):
		return fmt.Errorf("key %q of a mount with a subPath must be one path component that does not begin with a dot", m.Key)
	}
	return nil
}

// options are the bind mount's options for volume v. canRecurse says whether the kernel has recursive mount
// attributes.
func (m Mount) options(v Volume, canRecurse bool) ([]string, error) {
	opts := []string{"rbind", "rprivate"}
	switch m.Propagation {
	case PropagationHostToContainer:
		opts[1] = "rslave"
	case PropagationBidirectional:
		opts[1] = "rshared"
	}
	recursive := m.Recursive == RecursiveEnabled || m.Recursive == RecursiveIfPossible && canRecurse
	switch {
	case recursive && !canRecurse:
		return nil, errors.New("recursively read-only mounts need Linux 5.12: use IfPossible, or a newer kernel")
	case recursive:
		opts = append(opts, "rro")
	case m.ReadOnly || v.Files != nil:
		opts = append(opts, "ro")
	default:
		opts = append(opts, "rw")
	}
	if v.HostPath == nil {
		// /run is mounted noexec, nosuid and nodev on many machines, and a bind mount inherits that unless it is told
		// otherwise. The kubelet's directory is not, and programs that are copied into an emptyDir run there.
		opts = append(opts, "exec", "suid", "dev")
	}
	return opts, nil
}

// rootPropagation is what a container's root must be for p to reach it.
func (p Propagation) rootPropagation() string {
	switch p {
	case PropagationHostToContainer:
		return "rslave"
	case PropagationBidirectional:
		return "rshared"
	}
	return ""
}
