package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"
)

// HostPluginDir is where distributions and Kubernetes put CNI plugins; it is searched after the bundle.
const HostPluginDir = "/opt/cni/bin"

// A CNI runs CNI plugins. Dirs are searched for them in order. CacheDir is libcni's: an attachment's result is kept
// there until it is detached.
type CNI struct {
	Dirs     []string
	CacheDir string
}

// An Attachment names one attachment of one network namespace: all that is needed to make it, and to undo it
// when nothing else is left. Its owner stores it before Attach.
type Attachment struct {
	// Conf is the CNI configuration list, whole.
	Conf json.RawMessage `json:"conf"`
	// ContainerID and IfName together identify the attachment in Conf's network.
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
	// NetNS is where the namespace is pinned.
	NetNS string `json:"netns"`
	// Ports are those of the machine that lead to the namespace while it is attached. On podsim's own network podsim
	// sees to them; elsewhere a plugin has to, one with the capability portMappings.
	Ports []HostPort `json:"ports,omitempty"`
}

// A Result is what an attachment came to.
type Result struct {
	// IPs are the addresses of the namespace's new link, in the plugin's order.
	IPs []netip.Prefix
	// Gateway is the next hop of the first address that has one.
	Gateway netip.Addr
	// HostLink is the link's other end in the machine, empty if the plugin named none.
	HostLink string
	// MAC is the new link's hardware address.
	MAC string
	// Nameservers are those the network asks for, if any.
	Nameservers []string
}

// ReadConf reads a user's CNI configuration (a .conflist, or a .conf of one plugin) and checks what can be checked
// before a pod exists: its form, its version, and that the plugins are in one of dirs. The error names the file.
func ReadConf(file string, dirs ...string) (json.RawMessage, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration: %w", err)
	}
	conf, err := checkConf(data, dirs)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration %s: %w", file, err)
	}
	return conf, nil
}

func checkConf(data []byte, dirs []string) (json.RawMessage, error) {
	var form struct {
		CNIVersion  string   `json:"cniVersion"`
		CNIVersions []string `json:"cniVersions"`
		Type        string   `json:"type"`
		Plugins     []any    `json:"plugins"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, jsonError(data, err)
	}
	if form.Type != "" && form.Plugins == nil {
		return wrapConf(data, dirs)
	}
	if form.Plugins == nil {
		return nil, errors.New(`neither "plugins" (a list of plugins) nor "type" (a single one) is there`)
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	if list.CNIVersion == "" {
		return nil, fmt.Errorf("cniVersion is missing (%s is the latest podsim knows)", version.Current())
	}
	newer, err := version.GreaterThan(list.CNIVersion, version.Current())
	if err != nil {
		return nil, fmt.Errorf("cniVersion: %w", err)
	}
	if newer {
		return nil, fmt.Errorf("cniVersion %s is newer than %s, the latest podsim knows", list.CNIVersion, version.Current())
	}
	for _, p := range list.Plugins {
		for _, plugin := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if plugin != "" && !pluginIn(plugin, dirs) {
				return nil, &MissingPluginError{Plugin: plugin, Dirs: dirs}
			}
		}
	}
	return data, nil
}

// wrapConf turns the configuration of one plugin into a list, as runtimes of the time of such files did: the name and
// the version are the list's, too.
func wrapConf(data []byte, dirs []string) (json.RawMessage, error) {
	var list struct {
		CNIVersion string            `json:"cniVersion"`
		Name       string            `json:"name"`
		Plugins    []json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, jsonError(data, err)
	}
	list.Plugins = []json.RawMessage{data}
	wrapped, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return checkConf(wrapped, dirs)
}

// jsonError says on which line the JSON is wrong.
func jsonError(data []byte, err error) error {
	offset := int64(-1)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	} else if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = e.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+strings.Count(string(data[:offset]), "\n"), err)
}

// pluginIn reports whether a plugin is an executable file in one of dirs.
func pluginIn(plugin string, dirs []string) bool {
	if strings.ContainsRune(plugin, filepath.Separator) {
		return false
	}
	for _, dir := range dirs {
		if info, err := os.Stat(filepath.Join(dir, plugin)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}

// A MissingPluginError says that a CNI plugin is in none of the directories.
type MissingPluginError struct {
	Plugin string
	Dirs   []string
}

func (e *MissingPluginError) Error() string {
	return fmt.Sprintf("CNI plugin %q is not in %s (install it there, or run make build for podsim's own)",
		e.Plugin, strings.Join(e.Dirs, " or "))
}
