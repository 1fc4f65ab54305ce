package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
)

func main() {
	if c, ok := read(os.Args[1:]); ok && c.cleanedUp() {
		if _, err := os.Stdout.Write(answer(time.Now())); err != nil {
			os.Exit(1)
		}
		return
	}
	if info, err := asksForNothing(os.Args[1:]); err == nil && info {
		if _, err := os.Stdout.Write(name()); err != nil {
			os.Exit(1)
		}
		return
	}
	self, err := os.Executable()
	if err == nil {
		shim := filepath.Join(filepath.Dir(self), "containerd-shim-runc-v2")
		err = syscall.Exec(shim, append([]string{shim}, os.Args[1:]...), os.Environ())
	}
	println("podsim-shim: become the shim beside it: " + err.Error())
	os.Exit(1)
}

// asksForNothing reports whether containerd asks for the runtime's information without any options: then it is only
// after an annotation of other shims. What options there are stay on the standard input, for the shim.
func asksForNothing(args []string) (bool, error) {
	if len(args) != 1 || args[0] != "-info" {
		return false, nil
	}
	options, err := io.ReadAll(os.Stdin)
	if err != nil || len(options) == 0 {
		return err == nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer w.Close()
	if err := unix.Dup3(int(r.Fd()), 0, 0); err != nil { // the end of it that the shim reads
		return false, err
	}
	_, err = w.Write(options) // it is far smaller than a pipe
	return false, err
}

// name is a containerd.types.RuntimeInfo: the name is field 1.
func name() []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "io.containerd.runc.v2")
}

// A cleanup is containerd's request to clean up after a container.
type cleanup struct{ namespace, id, bundle string }

// read reads a command line; ok is false for anything but a request to clean up.
func read(args []string) (c cleanup, ok bool) {
	flags := map[string]*string{"-namespace": &c.namespace, "-id": &c.id, "-bundle": &c.bundle}
	for len(args) > 1 {
		if args[0] == "-debug" {
			args = args[1:]
			continue
		}
		if value := flags[args[0]]; value != nil {
			*value = args[1]
		}
		args = args[2:]
	}
	return c, len(args) == 1 && args[0] == "delete" && c.namespace != "" && c.id != "" && c.bundle != ""
}

// cleanedUp reports whether nothing is left to clean up: runc has no state of the container, and its root is no mount.
func (c cleanup) cleanedUp() bool {
	text, err := os.ReadFile(filepath.Join(c.bundle, "options.json"))
	if err != nil {
		return false
	}
	var options struct{ Root string }
	if json.Unmarshal(text, &options) != nil || options.Root == "" {
		return false
	}
	if _, err := os.Lstat(filepath.Join(options.Root, c.namespace, c.id)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var st unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, filepath.Join(c.bundle, "rootfs"), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st)
	if errors.Is(err, unix.ENOENT) {
		return true
	}
	const root = unix.STATX_ATTR_MOUNT_ROOT
	return err == nil && st.Attributes_mask&root != 0 && st.Attributes&root == 0
}

// killed is the exit status that the shim gives a container it cleans up after.
const killed = 128 + 9

// answer is a containerd.runtime.v2.DeleteResponse: the exit status is field 2, its time field 3.
func answer(now time.Time) []byte {
	var at []byte
	at = protowire.AppendTag(at, 1, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(now.Unix()))
	at = protowire.AppendTag(at, 2, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(now.Nanosecond()))
	var out []byte
	out = protowire.AppendTag(out, 2, protowire.VarintType)
	out = protowire.AppendVarint(out, killed)
	out = protowire.AppendTag(out, 3, protowire.BytesType)
	return protowire.AppendBytes(out, at)
}
