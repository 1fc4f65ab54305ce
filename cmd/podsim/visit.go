package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/supervisor"
)

// defaultContainer is the annotation by which a pod names the container that is meant where none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// A visit is what a command does with a running container of an applied pod.
type visit struct {
	*globals
	pods      podFlags
	container string
	quiet     bool

	in       io.Reader
	out, err io.Writer
}

func (v *visit) add(cmd *cobra.Command) {
	v.pods.add(cmd)
	cmd.Flags().StringVarP(&v.container, "container", "c", "", "the container; by default the one that the pod's annotation "+defaultContainer+" names, or its first")
}

func (v *visit) from(cmd *cobra.Command) {
	v.in, v.out, v.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
}

// find finds a pod, and in it the container that is meant. do says what is to be done, for a pod to which that cannot be done
// any more.
func (v *visit) find(ctx context.Context, arg, do string) (supervisor.Found, *corev1.Container, error) {
	name, err := podName(arg)
	if err != nil {
		return supervisor.Found{}, nil, err
	}
	f, err := supervisor.Get(ctx, v.site, v.pods.namespace, name)
	if err != nil {
		return f, nil, podError(err)
	}
	if phase := f.Pod.Status.Phase; phase == corev1.PodSucceeded || phase == corev1.PodFailed {
		return f, nil, &exit{exitFailed, fmt.Errorf("cannot %s a container in a completed pod; current phase is %s", do, phase)}
	}
	c, err := v.choose(f.Pod)
	return f, c, err
}

// choose finds the container that is meant, as kubectl does.
func (v *visit) choose(p *corev1.Pod) (*corev1.Container, error) {
	all, names := containersOf(p)
	name := v.container
	if name == "" {
		name = p.Annotations[defaultContainer]
	}
	if name == "" {
		if len(all) > 1 && !v.quiet {
			fmt.Fprintf(v.err, "Defaulted container %q out of: %s\n", all[0].Name, names)
		}
		return all[0], nil
	}
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, &exit{exitFailed, fmt.Errorf("container %s is not valid for pod %s out of: %s", name, p.Name, names)}
}

// containersOf are all of a pod's containers in the order in which kubectl names them, and their names.
func containersOf(p *corev1.Pod) (all []*corev1.Container, names string) {
	var named []string
	for i := range p.Spec.Containers {
		all = append(all, &p.Spec.Containers[i])
		named = append(named, p.Spec.Containers[i].Name)
	}
	for i := range p.Spec.EphemeralContainers {
		c := corev1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		all = append(all, &c)
		named = append(named, c.Name+" (ephem)")
	}
	for i := range p.Spec.InitContainers {
		all = append(all, &p.Spec.InitContainers[i])
		named = append(named, p.Spec.InitContainers[i].Name+" (init)")
	}
	return all, strings.Join(named, ", ")
}

// enter finds the instance of a container that runs. It is to be closed.
func (v *visit) enter(ctx context.Context, f supervisor.Found, c *corev1.Container) (*host.Attached, error) {
	s := f.Pod.Status
	for _, list := range [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses} {
		for _, status := range list {
			if status.Name != c.Name || status.State.Running == nil {
				continue
			}
			a, err := host.Attach(ctx, v.config(), host.Instance{Run: f.Run, Pod: f.ID, Container: c.Name, Number: int(status.RestartCount)})
			if errors.Is(err, host.ErrNotRunning) {
				return nil, notFound(c)
			}
			return a, podError(err)
		}
	}
	return nil, notFound(c)
}

// notFound says in a kubelet's words that a container does not run.
func notFound(c *corev1.Container) error {
	return &exit{exitFailed, fmt.Errorf("unable to upgrade connection: container not found (%q); podsim get pods tells what became of it", c.Name)}
}
