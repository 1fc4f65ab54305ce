package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

// globals are the flags that every command has.
type globals struct {
	site       host.Site
	bundle     string
	containerd string
}

func newRoot() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:   "podsim",
		Short: "Run a pod with its sidecars without a cluster, and judge scenarios about order and interception",
		Long: `podsim runs a pod and its sidecars through containerd, in one network namespace with shared volumes, by
Kubernetes' own lifecycle rules, and runs scenario files that check start-up order and traffic interception.

Exit codes: 0 passed or Succeeded · 1 a check failed, or the pod Failed · 2 bad usage, scenario or manifest ·
3 the host is not ready (podsim doctor says how to mend it) · 4 something could not be removed ·
5 inconclusive, or podsim's own failure · 130 interrupted.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exit{exitUsage, fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())}
	})
	f := root.PersistentFlags()
	f.StringVar(&g.site.StateDir, "state-dir", host.DefaultStateDir, "what outlives a boot: images, run records, addresses")
	f.StringVar(&g.site.RunDir, "run-dir", host.DefaultRunDir, "what does not: namespaces, volumes, sockets")
	f.StringVar(&g.bundle, "bundle", executableDir(), "directory of containerd, its shim, runc and the CNI plugins")
	f.StringVar(&g.containerd, "containerd", "", "use the containerd at this address, in its namespace podsim, instead of a private one")
	root.AddCommand(newRun(g), newApply(g), newDelete(g), newGet(g), newDescribe(g), newEvents(g), newDebug(g), newTest(g), newPlan(), newCheck(), newImage(g), newPs(g), newClean(g), newDoctor(g))
	root.AddCommand(newLogs(g), newExec(g), newAttach(g), newCp(g), newPortForward(g))
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// executableDir is where podsim itself is, links followed: the bundle is built beside it.
func executableDir() string {
	exe, err := os.Executable()
	if err != nil {
		return "."
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return filepath.Dir(exe)
}

// config is what the global flags say of the host.
func (g *globals) config() host.Config {
	return host.Config{Site: g.site, Bundle: g.bundle, Containerd: g.containerd, Version: version, Command: os.Args}
}

// kept says where containers' lines are that an output does not show.
func (g *globals) kept() string {
	return "While they run, " + filepath.Join(g.site.StateDir, "runs") + " has all of them."
}

// hostError gives an error of the host its exit code.
func hostError(err error) error {
	_, notReady := errors.AsType[*host.NotReadyError](err)
	_, input := errors.AsType[*host.InputError](err)
	switch {
	case notReady:
		return &exit{exitHost, err}
	case input:
		return &exit{exitUsage, err}
	// containerd passes it on as text.
	case err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())):
		return &exit{exitHost, fmt.Errorf("%w\n(a disk is full: free some space, or name another place with --state-dir)", err)}
	}
	return err
}

// inputError gives an error of something that the user named its exit code, unless it is the host's.
func inputError(err error) error {
	if e, ok := errors.AsType[*exit](hostError(err)); ok {
		return e
	}
	return &exit{exitUsage, err}
}
