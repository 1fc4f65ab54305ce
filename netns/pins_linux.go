package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Create makes the namespaces of p, together on one thread, and pins them; lo is up. It takes one to two
// milliseconds, nearly all of it the kernel's for the network namespace. A path at which something is pinned
// already is an error that wraps fs.ErrExist. The directories must exist. After an error nothing is left.
func (p Pins) Create(o PinOptions) error {
	files := make(map[string]string, len(o.Sysctls))
	for name := range o.Sysctls {
		file, err := p.sysctlFile(name)
		if err != nil {
			return err
		}
		files[name] = file
	}
	if o.Hostname != "" && p.UTS == "" {
		return fmt.Errorf("set hostname %s: the uts namespace is the machine's own", o.Hostname)
	}
	for _, path := range p.paths() {
		if Pinned(path) {
			return fmt.Errorf("pin namespace at %s: %w", path, fs.ErrExist)
		}
	}
	err := onThread(func() (restored bool, err error) { return p.unshare(o, files) })
	if err != nil {
		return errors.Join(err, p.Remove())
	}
	return nil
}

// unshare makes and pins the namespaces from the calling thread and takes the thread back home.
func (p Pins) unshare(o PinOptions, sysctlFiles map[string]string) (restored bool, err error) {
	var kinds []kind
	var flags int
	paths := map[string]string{"net": p.Net, "ipc": p.IPC, "uts": p.UTS}
	var homes []int
	defer func() {
		for _, fd := range homes {
			unix.Close(fd)
		}
	}()
	for _, k := range []kind{kindNet, kindIPC, kindUTS} {
		if paths[k.name] == "" {
			continue
		}
		home, err := k.current()
		if err != nil {
			return true, err
		}
		kinds, homes, flags = append(kinds, k), append(homes, home), flags|k.flag
	}
	if err := unix.Unshare(flags); err != nil {
		return true, fmt.Errorf("make namespaces: %w", notRoot(err))
	}
	err = p.furnish(o, sysctlFiles)
	for _, k := range kinds {
		if err == nil {
			err = pin(k.self(), paths[k.name])
		}
	}
	for i, k := range kinds {
		if unix.Setns(homes[i], k.flag) != nil {
			return false, err
		}
	}
	return true, err
}

// furnish sets what belongs into fresh namespaces, from a thread in them.
func (p Pins) furnish(o PinOptions, sysctlFiles map[string]string) error {
	if p.Net != "" {
		if err := skipAddressDetection(); err != nil {
			return err
		}
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	if o.Hostname != "" {
		if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
			return fmt.Errorf("set hostname %s: %w", o.Hostname, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Sysctls)) {
		if err := os.WriteFile(sysctlFiles[name], []byte(o.Sysctls[name]), 0); err != nil {
			return fmt.Errorf("set sysctl %s to %q: %w", name, o.Sysctls[name], err)
		}
	}
	return nil
}

// skipAddressDetection makes IPv6 addresses of links to come usable at once. The kernel would look for a second for
// another machine that has them, and CNI plugins would wait for that. Where there is no IPv6 nothing is done.
func skipAddressDetection() error {
	for _, file := range []string{"/proc/sys/net/ipv6/conf/all/accept_dad", "/proc/sys/net/ipv6/conf/default/accept_dad"} {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("turn off the detection of duplicate addresses: %w", err)
		}
	}
	return nil
}

// loopbackUp brings lo up in the calling thread's network namespace. The kernel then adds 127.0.0.1 and ::1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// pin keeps a namespace alive at path.
func pin(namespace, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o444)
	if err != nil {
		return fmt.Errorf("pin namespace: %w", err)
	}
	f.Close()
	if err := unix.Mount(namespace, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin namespace at %s: %w", path, err)
	}
	return nil
}

// Remove takes the pins away: unmounts each detached, however often it is mounted, and removes the file. It is
// idempotent and goes on after an error. A namespace lives on while a process or a socket is in it.
func (p Pins) Remove() error {
	var errs []error
	for _, path := range p.paths() {
		errs = append(errs, unpin(path))
	}
	return errors.Join(errs...)
}

func unpin(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil:
			continue // there may be another one below
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		default:
			return fmt.Errorf("unpin namespace at %s: %w", path, notRoot(err))
		}
		break
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("unpin namespace: %w", err)
	}
	return nil
}
