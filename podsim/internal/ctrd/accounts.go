//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// A User is who a container's processes run as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups
}

// A UserRequest is what a pod and an image ask for together (NS-03).
type UserRequest struct {
	// Image is the image's user: empty, name, uid, or either with :group. It counts only where UID is nil.
	Image string
	UID   *int64 // runAsUser
	GID   *int64 // runAsGroup
	// Groups are supplementalGroups and fsGroup. With Strict they are all; otherwise those that the image's
	// /etc/group gives the user are added (supplementalGroupsPolicy).
	Groups []int64
	Strict bool
}

// ResolveUser finds the numbers. It looks into the image's /etc/passwd and /etc/group, once per image and client, unless
// the request leaves nothing to look up.
func (c *Client) ResolveUser(ctx context.Context, img Image, r UserRequest) (User, error) {
	var a accounts
	if !r.complete() {
		var err error
		if a, err = c.accountsOf(ctx, img); err != nil {
			return User{}, fmt.Errorf("read the accounts of image %s: %w", img.Ref, err)
		}
	}
	u, err := a.resolve(r)
	if err != nil {
		return User{}, fmt.Errorf("resolve the user of image %s: %w", img.Ref, err)
	}
	return u, nil
}

// complete reports whether the request needs no accounts.
func (r UserRequest) complete() bool { return r.UID != nil && r.GID != nil && r.Strict }

// accounts are an image's /etc/passwd and /etc/group.
type accounts struct {
	users  []account
	groups []group
}

type account struct {
	name     string
	uid, gid uint32
}

type group struct {
	name    string
	gid     uint32
	members []string
}

// resolve is the runtime's rule: a user is first looked for by name, then taken as a number; the group is the asked
// one, or the account's, or 0.
func (a accounts) resolve(r UserRequest) (User, error) {
	name, groupName, _ := strings.Cut(r.Image, ":")
	if r.UID != nil {
		name, groupName = strconv.FormatInt(*r.UID, 10), ""
	}
	if name == "" {
		name = "0"
	}
	acct, err := a.user(name, r.UID == nil)
	if err != nil {
		return User{}, err
	}
	u := User{UID: acct.uid, GID: acct.gid}
	switch {
	case r.GID != nil:
		if u.GID, err = id32(*r.GID); err != nil {
			return User{}, fmt.Errorf("runAsGroup: %w", err)
		}
	case groupName != "":
		if u.GID, err = a.group(groupName); err != nil {
			return User{}, err
		}
	}
	return u, a.supplement(&u, acct, r)
}

// supplement adds the supplementary groups, the primary one first, as the container runtime does (NS-03).
func (a accounts) supplement(u *User, acct account, r UserRequest) error {
	add := func(gid uint32) {
		for _, g := range u.Groups {
			if g == gid {
				return
			}
		}
		u.Groups = append(u.Groups, gid)
	}
	add(u.GID)
	for _, g := range r.Groups {
		gid, err := id32(g)
		if err != nil {
			return fmt.Errorf("supplementary group: %w", err)
		}
		add(gid)
	}
	if r.Strict || acct.name == "" {
		return nil
	}
	for _, g := range a.groups {
		for _, m := range g.members {
			if m == acct.name {
				add(g.gid)
			}
		}
	}
	return nil
}

func (a accounts) user(s string, byName bool) (account, error) {
	if byName {
		for _, u := range a.users {
			if u.name == s {
				return u, nil
			}
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return account{}, fmt.Errorf("no user %q in its /etc/passwd", s)
	}
	uid, err := id32(n)
	if err != nil {
		return account{}, fmt.Errorf("user: %w", err)
	}
	for _, u := range a.users {
		if u.uid == uid {
			return u, nil
		}
	}
	return account{uid: uid}, nil
}

func (a accounts) group(s string) (uint32, error) {
	for _, g := range a.groups {
		if g.name == s {
			return g.gid, nil
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("no group %q in its /etc/group", s)
	}
	return id32(n)
}

func id32(n int64) (uint32, error) {
	if n < 0 || n > 1<<31-1 {
		return 0, fmt.Errorf("%d is not between 0 and %d", n, 1<<31-1)
	}
	return uint32(n), nil
}

// parseAccounts reads the two files. Lines that are not of their form are passed over, as libc does.
func parseAccounts(passwd, groups string) accounts {
	var a accounts
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		uid, uerr := strconv.ParseUint(f[2], 10, 32)
		gid, gerr := strconv.ParseUint(f[3], 10, 32)
		if uerr == nil && gerr == nil {
			a.users = append(a.users, account{name: f[0], uid: uint32(uid), gid: uint32(gid)})
		}
	}
	for line := range strings.Lines(groups) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 {
			continue
		}
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		g := group{name: f[0], gid: uint32(gid)}
		if len(f) > 3 {
			g.members = strings.Split(f[3], ",")
		}
		a.groups = append(a.groups, g)
	}
	return a
}

// accountsOf reads an image's accounts from its layers' directories, without a mount that a kill could leave behind.
func (c *Client) accountsOf(ctx context.Context, img Image) (accounts, error) {
	c.reading.Lock() // the containers of a pod often have one image, and ask at the same time
	defer c.reading.Unlock()
	c.mu.Lock()
	a, known := c.accounts[img.chain]
	c.mu.Unlock()
	if known {
		return a, nil
	}
	var files accountsMemo
	if !memoAccounts.read(c.cfg, img.chain, &files) {
		err := c.withLayers(ctx, img, func(layers []string) (err error) {
			files, err = readAccounts(layers)
			return err
		})
		if err != nil {
			return a, err
		}
		memoAccounts.write(c.cfg, img.chain, files)
	}
	a = parseAccounts(files.Passwd, files.Group)
	c.mu.Lock()
	c.accounts[img.chain] = a
	c.mu.Unlock()
	return a, nil
}

func readAccounts(layers []string) (accountsMemo, error) {
	passwd, perr := readLayered(layers, "etc/passwd")
	group, gerr := readLayered(layers, "etc/group")
	return accountsMemo{Passwd: passwd, Group: group}, errors.Join(perr, gerr)
}

// withLayers calls f with the directories whose union is an image's root, the uppermost first. They stay for the
// time of the call.
func (c *Client) withLayers(ctx context.Context, img Image, f func(layers []string) error) (err error) {
	sn, _, err := c.snapshots(ctx)
	if err != nil {
		return err
	}
	key := "view-" + leaseName()
	ctx, release, err := c.ctr.WithLease(ctx, leases.WithID(key), leases.WithExpiration(time.Hour))
	if err != nil {
		return fmt.Errorf("take a lease: %w", native(err))
	}
	defer func() {
		done := context.WithoutCancel(ctx)
		err = errors.Join(err, native(ignoreNotFound(sn.Remove(done, key))), native(release(done)))
	}()
	mounts, err := sn.View(ctx, key, img.chain)
	if errdefs.IsNotFound(err) {
		if err := c.unpack(ctx, img.Ref); err != nil {
			return err
		}
		mounts, err = sn.View(ctx, key, img.chain)
	}
	if err != nil {
		return fmt.Errorf("view the image: %w", native(err))
	}
	layers, err := layerDirs(mounts)
	if err != nil {
		return err
	}
	return f(layers)
}

// leaseName is unique on this machine for as long as the process lives.
func leaseName() string { return fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()) }

// layerDirs reads the directories from what a snapshotter would have mounted.
func layerDirs(mounts []mount.Mount) ([]string, error) {
	if len(mounts) == 1 && mounts[0].Type == "bind" {
		return []string{mounts[0].Source}, nil
	}
	if len(mounts) == 1 && mounts[0].Type == "overlay" {
		for _, o := range mounts[0].Options {
			if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
				return strings.Split(dirs, ":"), nil
			}
		}
	}
	return nil, fmt.Errorf("look into the image: the snapshotter's mounts %v are of no known kind", mounts)
}

// readLayered returns the text of a file of the union of directories; one that is not there is empty. A symbolic
// link is followed within the union.
func readLayered(layers []string, name string) (string, error) {
	for range 8 {
		text, link, err := readUppermost(layers, name)
		if err != nil || link == "" {
			return text, err
		}
		if !path.IsAbs(link) {
			link = path.Join("/", path.Dir(name), link)
		}
		name = strings.TrimPrefix(path.Clean(link), "/")
	}
	return "", nil
}

// readUppermost reads a file, or the link that it is, from the uppermost directory that says anything about it.
func readUppermost(layers []string, name string) (text, link string, err error) {
	for _, layer := range layers {
		fd, err := openIn(layer, name, unix.O_PATH|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			if opaque(layer, path.Dir(name)) {
				return "", "", nil
			}
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("open %s: %w", name, err)
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		_ = unix.Close(fd)
		switch {
		case err != nil:
			return "", "", fmt.Errorf("stat %s: %w", name, err)
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			link, err := os.Readlink(path.Join(layer, name))
			return "", link, err
		case st.Mode&unix.S_IFMT != unix.S_IFREG: // a whiteout, or nothing to read
			return "", "", nil
		}
		text, err := readIn(layer, name)
		return text, "", err
	}
	return "", "", nil
}

// openIn opens a path below a directory as a process would for which that is the root.
func openIn(root, name string, flags uint64) (int, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return unix.Openat2(dir, name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

func readIn(root, name string) (string, error) {
	fd, err := openIn(root, name, unix.O_RDONLY)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(data), err
}

// opaque reports whether a layer hides what the layers below it have in a directory.
func opaque(layer, dir string) bool {
	var buf [1]byte
	for _, attr := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Lgetxattr(path.Join(layer, dir), attr, buf[:]); err == nil && n == 1 && buf[0] == 'y' {
			return true
		}
	}
	return false
}
