package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

// A cpCommand is what `podsim cp` was asked to do.
type cpCommand struct{ visit }

func newCp(g *globals) *cobra.Command {
	c := &cpCommand{visit{globals: g}}
	cmd := &cobra.Command{
		Use:   "cp [POD:]PATH [POD:]PATH",
		Short: "Copy files and directories into containers of applied pods, and out of them",
		Long: `Copy a file or a directory into a running container, or out of one: one of the two is POD:PATH or NAMESPACE/POD:PATH, the other a
path of this machine (one that has a colon begins with / or ./). The container's image needs no tar.

Permissions are kept. What is copied into a container belongs to its user. As with kubectl, links are copied in as links,
and left out on the way out.`,
		Args: usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.from(cmd)
			return c.run(cmd.Context(), args[0], args[1])
		},
	}
	c.add(cmd)
	return cmd
}

// A place is one side of a copy. Without a pod it is of this machine.
type place struct{ namespace, pod, path string }

func parsePlace(arg string) (place, error) {
	of, path, remote := strings.Cut(arg, ":")
	if !remote || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") {
		return place{path: arg}, nil
	}
	namespace, pod, both := strings.Cut(of, "/")
	if !both {
		namespace, pod = "", of
	}
	if pod == "" || path == "" || both && namespace == "" || strings.Contains(pod, "/") {
		return place{}, fmt.Errorf("%q: filespec must match the canonical format: [[namespace/]pod:]file/path", arg)
	}
	return place{namespace, pod, path}, nil
}

func (c *cpCommand) run(ctx context.Context, from, to string) error {
	src, err := parsePlace(from)
	if err != nil {
		return &exit{exitUsage, err}
	}
	dst, err := parsePlace(to)
	if err != nil {
		return &exit{exitUsage, err}
	}
	switch {
	case src.pod != "" && dst.pod != "":
		return &exit{exitUsage, errors.New("one of src or dest must be a local file specification")}
	case src.pod == "" && dst.pod == "":
		return &exit{exitUsage, errors.New("one of src or dest must be a remote file specification")}
	}
	if _, err := os.Stat(src.path); src.pod == "" && err != nil {
		return &exit{exitFailed, fmt.Errorf("%s doesn't exist in local filesystem", src.path)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = c.copy(ctx, src, dst)
	_, said := errors.AsType[*exit](err)
	_, ofFile := errors.AsType[*fs.PathError](err)
	switch {
	case err == nil || said:
		return err
	case ctx.Err() != nil:
		return &exit{exitInterrupted, nil}
	case ofFile, errors.Is(err, host.ErrNotRunning):
		return &exit{exitFailed, fmt.Errorf("copy %s to %s: %w", from, to, err)}
	}
	return hostError(err)
}

// copy copies between two places, one of which is a pod's.
func (c *cpCommand) copy(ctx context.Context, src, dst place) error {
	remote := dst
	if src.pod != "" {
		remote = src
	}
	if remote.namespace != "" {
		c.pods.namespace = remote.namespace
	}
	f, container, err := c.find(ctx, remote.pod, "copy files of")
	if err != nil {
		return err
	}
	a, err := c.enter(ctx, f, container)
	if err != nil {
		return err
	}
	defer a.Close() // its error is nobody's: what it was opened for is done
	warn := func(text string) { fmt.Fprintf(c.err, "warning: %s\n", text) }
	if src.pod != "" {
		return a.CopyOut(ctx, src.path, dst.path, warn)
	}
	return a.CopyIn(ctx, src.path, dst.path, warn)
}
