package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
)

// mounts are those at or below podsim's directories, pinned namespaces among them.
func (p places) mounts() ([]string, error) {
	infos, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !p.ours(m.Mountpoint), false })
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var lines []string
	for _, m := range infos {
		lines = append(lines, fmt.Sprintf("mount %s %s", m.Mountpoint, m.FSType))
	}
	return lines, nil
}

func (p places) ours(path string) bool {
	return within(path, p.state) || within(path, p.run)
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// links are podsim's bridges with their ports, and every veth: one that has lost its bridge is a leak too.
func links() ([]string, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var lines []string
	for _, l := range all {
		a := l.Attrs()
		if l.Type() == "veth" || strings.HasPrefix(a.Name, "podsim") {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("link %s %s %s", a.Name, l.Type(), names[a.MasterIndex])))
		}
	}
	return lines, nil
}

// rules are all nftables chains of the machine with the number of their rules: podsim adds a rule to Docker's
// chain, so a foreign chain can hold a leak.
func rules() ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := c.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nftables: %w", err)
	}
	var lines []string
	for _, t := range tables {
		lines = append(lines, fmt.Sprintf("nft table %s %s", family(t.Family), t.Name))
	}
	chains, err := c.ListChains()
	if err != nil {
		return lines, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, ch := range chains {
		rules, err := c.GetRules(ch.Table, ch)
		if err != nil {
			return lines, fmt.Errorf("list rules of %s: %w", ch.Name, err)
		}
		lines = append(lines, fmt.Sprintf("nft chain %s %s %s: %d rules", family(ch.Table.Family), ch.Table.Name, ch.Name, len(rules)))
	}
	return lines, nil
}

func family(f nftables.TableFamily) string {
	names := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
		nftables.TableFamilyINet: "inet", nftables.TableFamilyBridge: "bridge", nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev"}
	if n, ok := names[f]; ok {
		return n
	}
	return fmt.Sprintf("family %d", f)
}

// forwarding is the sysctls that podsim may switch on.
func forwarding() ([]string, error) {
	var lines []string
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		value, err := os.ReadFile("/proc/sys/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a machine without IPv6
		}
		if err != nil {
			return lines, fmt.Errorf("read a sysctl: %w", err)
		}
		lines = append(lines, fmt.Sprintf("sysctl %s = %s", strings.ReplaceAll(name, "/", "."), bytes.TrimSpace(value)))
	}
	return lines, nil
}

// cgroups are podsim's directories in every hierarchy: podsim for the default state directory, podsim-HASH for another.
func cgroups() ([]string, error) {
	var roots []string
	for _, pattern := range []string{"/sys/fs/cgroup/podsim*", "/sys/fs/cgroup/*/podsim*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		roots = append(roots, found...)
	}
	var lines []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // not there, or gone while we looked
			}
			if err == nil && d.IsDir() {
				lines = append(lines, "cgroup "+path)
			}
			return err
		})
		if err != nil {
			return lines, fmt.Errorf("list cgroups: %w", err)
		}
	}
	return lines, nil
}

// processes are those of podsim and of its bundle that name its directories, and all containers' processes, which
// their cgroup tells. No line has a process ID: two equal machines are to print the same.
func (p places) processes() ([]string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, dir := range dirs {
		command, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue // it has ended
		}
		cgroup, _ := os.ReadFile(dir + "/cgroup")
		args := strings.Split(strings.TrimRight(string(command), "\x00"), "\x00")
		if dir == fmt.Sprintf("/proc/%d", os.Getpid()) || args[0] == "" {
			continue
		}
		text := strings.Join(args, " ")
		if bytes.Contains(cgroup, []byte(":/podsim")) || slices.ContainsFunc(args, p.names) {
			lines = append(lines, "process "+text)
		}
	}
	return lines, nil
}

// names reports whether an argument names one of podsim's directories, or the containerd namespace of podsim.
func (p places) names(arg string) bool {
	return strings.Contains(arg, p.state) || strings.Contains(arg, p.run) || arg == "__keeper"
}

// files are those under both directories, but for the private containerd's own.
func (p places) files() ([]string, error) {
	var lines []string
	for _, root := range []string{p.state, p.run} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case path == filepath.Join(root, "containerd"):
				return fs.SkipDir
			}
			kind := "file"
			if d.IsDir() {
				kind = "dir"
			}
			lines = append(lines, kind+" "+path)
			return nil
		})
		if err != nil {
			return lines, fmt.Errorf("list files: %w", err)
		}
	}
	return lines, nil
}
