package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/supervisor"
)

// podFlags say in which namespace pods are looked for.
type podFlags struct{ namespace string }

func (f *podFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "default", "the pod's namespace")
}

// podName reads how kubectl names a pod: NAME, pod/NAME, pods/NAME or po/NAME.
func podName(arg string) (string, error) {
	kind, name, slash := strings.Cut(arg, "/")
	if !slash {
		name = arg
	} else if kind != "pod" && kind != "pods" && kind != "po" {
		return "", &exit{exitUsage, fmt.Errorf("podsim has pods only, no %s: name it pod/%s", kind, name)}
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return "", &exit{exitUsage, fmt.Errorf("%q is no pod's name: %s", name, problems[0])}
	}
	return name, nil
}

// podError gives an error about an applied pod its exit code, and kubectl's words.
func podError(err error) error {
	if err == nil {
		return nil
	}
	_, missing := errors.AsType[*supervisor.NotFoundError](err)
	_, forbidden := errors.AsType[*supervisor.ForbiddenError](err)
	_, lost := errors.AsType[*supervisor.LostError](err)
	_, refused := errors.AsType[*supervisor.RefusedError](err)
	_, notReady := errors.AsType[*supervisor.NotReadyError](err)
	_, input := errors.AsType[*host.InputError](err)
	switch {
	case missing:
		return &exit{exitFailed, fmt.Errorf("Error from server (NotFound): %w", err)}
	case forbidden, lost, refused:
		return &exit{exitFailed, err}
	case notReady:
		return &exit{exitHost, err}
	case input:
		return &exit{exitUsage, err}
	case errors.Is(err, fs.ErrPermission):
		return &exit{exitHost, fmt.Errorf("%w\n(applied pods are shown to root only: run podsim as root, or with sudo)", err)}
	}
	return hostError(err)
}

// supervised is what a supervisor is told of the host.
func (g *globals) supervised(n networkFlags, command []string) supervisor.Host {
	return supervisor.Host{Site: g.site, Bundle: g.bundle, Containerd: g.containerd, CNIConf: n.cniConf, HostsDir: n.hostsDir, NoNetwork: n.none,
		Version: version, Command: command}
}
