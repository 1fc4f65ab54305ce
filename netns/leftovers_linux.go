package netns

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
)

// Leftovers lists what the network's members have: memberships, address reservations, links marked as an
// attachment's, whatever their network, and mounts below runDir (none if empty). It is sorted, and what could
// not be listed is in the error, beside the rest.
func (n Network) Leftovers(runDir string) ([]Leftover, error) {
	var out []Leftover
	var errs []error
	r, err := n.readRecord()
	errs = append(errs, err)
	for _, id := range r.Members {
		out = append(out, Leftover{ID: id, Kind: "member", Name: n.recordFile()})
	}
	held, err := reservations(filepath.Join(n.ipamDir(), n.BridgeName()))
	errs = append(errs, err)
	for _, h := range held {
		out = append(out, Leftover{ID: h.containerID, Kind: "reservation", Name: h.file})
	}
	links, err := ourLinks()
	errs = append(errs, err)
	for _, l := range links {
		id, _, _ := strings.Cut(strings.TrimPrefix(l.Attrs().Alias, aliasPrefix), "/")
		out = append(out, Leftover{ID: id, Kind: "link", Name: l.Attrs().Name})
	}
	if runDir != "" {
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(filepath.Clean(runDir)))
		errs = append(errs, err)
		for _, m := range mounts {
			rel, err := filepath.Rel(runDir, m.Mountpoint)
			if err != nil || rel == "." {
				continue
			}
			id, _, _ := strings.Cut(rel, "/")
			out = append(out, Leftover{ID: id, Kind: "mount", Name: m.Mountpoint})
		}
	}
	slices.SortFunc(out, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out, errors.Join(errs...)
}

// ourLinks lists the links in the machine that carry an attachment's mark.
func ourLinks() ([]netlink.Link, error) {
	links, err := redump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool { return !strings.HasPrefix(l.Attrs().Alias, aliasPrefix) }), nil
}

// redump repeats a listing that the kernel says changed under it. The last try is taken as it is: a list that is
// always changing is as complete as it gets.
func redump[T any](list func() ([]T, error)) ([]T, error) {
	for range 10 {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	out, err := list()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	return out, err
}
