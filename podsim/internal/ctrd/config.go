//go:build linux

package ctrd

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Namespace is the containerd namespace that holds everything of podsim's.
const Namespace = "podsim"

// KeeperCommand is the hidden first argument with which podsim's executable is run as a keeper. A program that
// uses Open must, when its first argument is this one, return KeeperMain(os.Args[2:]) as its exit code, early in main.
const KeeperCommand = "__keeper"

// Defaults of a Config.
const (
	DefaultState  = "/var/lib/podsim"
	DefaultRun    = "/run/podsim"
	DefaultLinger = 10 * time.Second
)

// A Config says which containerd to use. Its zero value means the private one of the default directories.
type Config struct {
	// State is the state directory; containerd's images and its log are below it. Empty: DefaultState.
	State string
	// Run is the directory of sockets and runtime state. It must be short: a socket's path has at most 107
	// bytes, and containerd allows 42 for its shims' socket directory. Empty: DefaultRun.
	Run string
	// Bundle is the directory of containerd, its shim and runc. Empty: the directory of the running executable.
	Bundle string
	// Linger is how long the private containerd outlives its last user. Zero: DefaultLinger. It is the first
	// process's of a keeper's life that counts.
	Linger time.Duration
	// Keeper is the command that runs KeeperMain, to which its arguments are appended. Empty: this executable
	// with KeeperCommand.
	Keeper []string
	// Address is the socket of an existing containerd to use instead of a private one. It is neither started nor
	// stopped, and runs its own shim and runc.
	Address string
}

// External reports whether the config names a containerd that is not podsim's own.
func (c Config) External() bool { return c.Address != "" }

// maxSocketDir is containerd's own limit on the length of the shims' socket directory.
const maxSocketDir = 42

// resolved fills in the defaults, makes the paths absolute and checks what can be checked without an effect.
func (c Config) resolved() (Config, error) {
	if c.State == "" {
		c.State = DefaultState
	}
	if c.Run == "" {
		c.Run = DefaultRun
	}
	if c.Linger == 0 {
		c.Linger = DefaultLinger
	}
	self, err := os.Executable()
	if err != nil {
		return c, fmt.Errorf("find podsim's own executable: %w", err)
	}
	if c.Bundle == "" {
		c.Bundle = filepath.Dir(self)
	}
	if len(c.Keeper) == 0 {
		c.Keeper = []string{self, KeeperCommand}
	}
	for _, p := range []*string{&c.State, &c.Run, &c.Bundle} {
		if *p, err = filepath.Abs(*p); err != nil {
			return c, fmt.Errorf("make %s absolute: %w", *p, err)
		}
	}
	if n := len(c.shimSockets()); !c.External() && n > maxSocketDir {
		return c, fmt.Errorf("the run directory %s is too long for unix sockets: %s has %d characters of at most %d; choose a shorter run directory",
			c.Run, c.shimSockets(), n, maxSocketDir)
	}
	return c, nil
}

func (c Config) address() string {
	if c.External() {
		return c.Address
	}
	return filepath.Join(c.Run, "containerd", "c.sock")
}

func (c Config) root() string  { return filepath.Join(c.State, "containerd") }
func (c Config) memos() string { return filepath.Join(c.State, "memos") }
func (c Config) database() string {
	return filepath.Join(c.root(), "io.containerd.metadata.v1.bolt", "meta.db")
}
func (c Config) runState() string    { return filepath.Join(c.Run, "containerd") }
func (c Config) shimSockets() string { return filepath.Join(c.runState(), "s") }
func (c Config) runcRoot() string    { return filepath.Join(c.runState(), "runc") }
func (c Config) bundles() string {
	return filepath.Join(c.runState(), "io.containerd.runtime.v2.task", Namespace)
}
func (c Config) fifos() string { return filepath.Join(c.Run, "fifo") }

// locks is the directory of what the processes of a state directory share about the daemon.
func (c Config) locks() string      { return filepath.Join(c.State, "daemon") }
func (c Config) usersLock() string  { return filepath.Join(c.locks(), "users.lock") }
func (c Config) keeperLock() string { return filepath.Join(c.locks(), "keeper.lock") }
func (c Config) startLock() string  { return filepath.Join(c.locks(), "start.lock") }
func (c Config) tomlPath() string   { return filepath.Join(c.locks(), "containerd.toml") }
func (c Config) logPath() string    { return filepath.Join(c.locks(), "containerd.log") }

// shim is the program by which containerd starts shims and cleans up after them: podsim's own, which spares most
// of the latter, or containerd's where the bundle is without.
func (c Config) shim() string {
	own := filepath.Join(c.Bundle, "podsim-shim")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return filepath.Join(c.Bundle, "containerd-shim-runc-v2")
}
