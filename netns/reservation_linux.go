package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostLocalDir is where host-local keeps its reservations unless told otherwise.
const hostLocalDir = "/var/lib/cni/networks"

// A reservation is an address that host-local keeps for an attachment: a file whose name is the address.
type reservation struct {
	file        string
	addr        netip.Addr
	containerID string
	ifName      string
}

// reservations lists those in a network's directory. Without the directory there are none.
func reservations(dir string) ([]reservation, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list address reservations: %w", err)
	}
	var out []reservation
	for _, e := range entries {
		addr, err := netip.ParseAddr(e.Name())
		if err != nil {
			continue // the lock, the last address
		}
		file := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list address reservations: %w", err)
		}
		id, ifName, _ := strings.Cut(strings.TrimSpace(string(data)), "\r\n")
		out = append(out, reservation{file: file, addr: addr, containerID: id, ifName: ifName})
	}
	return out, nil
}

// release gives the attachment's addresses back, under host-local's own lock. A directory that is not there holds none.
func release(dir string, a Attachment) error {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("release addresses: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("release addresses: lock %s: %w", lock.Name(), err)
	}
	held, err := reservations(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range held {
		if r.containerID == a.ContainerID && r.ifName == a.IfName {
			errs = append(errs, os.Remove(r.file))
		}
	}
	return errors.Join(errs...)
}

// hostLocalBridge reports whether the attachment is one of the bridge plugin with host-local and nothing else, and
// then where its addresses are reserved. Such an attachment can be undone without the plugins.
func (a Attachment) hostLocalBridge() (dir string, ok bool) {
	var conf struct {
		Name    string `json:"name"`
		Plugins []struct {
			Type        string `json:"type"`
			IPMasq      bool   `json:"ipMasq"`
			MACSpoofChk bool   `json:"macspoofchk"`
			IPAM        struct {
				Type    string `json:"type"`
				DataDir string `json:"dataDir"`
			} `json:"ipam"`
		} `json:"plugins"`
	}
	if json.Unmarshal(a.Conf, &conf) != nil || len(conf.Plugins) != 1 {
		return "", false
	}
	p := conf.Plugins[0]
	if p.Type != "bridge" || p.IPMasq || p.MACSpoofChk || p.IPAM.Type != "host-local" {
		return "", false
	}
	dir = p.IPAM.DataDir
	if dir == "" {
		dir = hostLocalDir
	}
	return filepath.Join(dir, conf.Name), true
}

// detachBridge undoes an attachment of which hostLocalBridge is true, as the plugins and libcni would.
func (c CNI) detachBridge(a Attachment, dir string) error {
	var errs []error
	if Pinned(a.NetNS) {
		errs = append(errs, Do(a.NetNS, func() error { return deleteLink(a.IfName) }))
	}
	errs = append(errs, a.deleteHostLink(), release(dir, a))
	if err := os.Remove(c.cacheFile(filepath.Base(dir), a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("forget the attachment's result: %w", err))
	}
	return errors.Join(errs...)
}

// deleteLink deletes a link of the calling thread's namespace, if it is there.
func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
