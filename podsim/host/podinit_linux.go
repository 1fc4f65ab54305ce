package host

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/internal/ctrd"
)

// initProgram is the bundle's program for the first process of a shared PID namespace.
const initProgram = "podsim-init"

// initName is the podInit's among the pod's containers and cgroups; no container of the pod's own can have it.
const initName = "INIT"

// initUser is nobody in particular: that of a kubelet's pause image.
const initUser = 65535

// A podInit is the first process of the PID namespace that a pod's containers share (NS-01, NS-11). It is a container
// of podsim's own: no status of the pod's shows it. It is there from the pod's set-up to its tear-down.
type podInit struct {
	pod *podHost

	mu       sync.Mutex
	instance int // of made, from 1
	made     *ctrd.Container
}

func sharesProcesses(p *corev1.Pod) bool { return is(p.Spec.ShareProcessNamespace) }

// namespace returns the path of the PID namespace that containers are to join. Its process is started if it does not
// run: it was never there, or it was killed, and with it all that had joined it. It needs the pod's other namespaces.
func (i *podInit) namespace(ctx context.Context) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.made == nil || ended(i.made) {
		if err := i.start(ctx); err != nil {
			return "", fmt.Errorf("make the pod's shared PID namespace: %w", err)
		}
	}
	return fmt.Sprintf("/proc/%d/ns/pid", i.made.PID()), nil
}

// start starts the next instance in place of any that was. The caller holds mu.
func (i *podInit) start(ctx context.Context) error {
	if err := i.drop(ctx); err != nil {
		return err
	}
	h := i.pod.host
	img, err := fromBinary(ctx, h.runtime, filepath.Join(h.cfg.Bundle, initProgram))
	if err != nil {
		return err
	}
	i.instance++
	i.made, err = h.runtime.Create(ctx, ctrd.ContainerConfig{
		ID:  containerID(i.pod.id, initName, i.instance),
		Run: h.id, Pod: i.pod.id, Name: initName,
		Image: img,
		Spec: ctrd.Spec{
			Args:            img.Entrypoint,
			User:            ctrd.User{UID: initUser, GID: initUser},
			CapDrop:         []string{"ALL"},
			ReadonlyRoot:    true,
			NoNewPrivileges: true,
			Resources:       ctrd.Resources{CPUShares: minShares},
			Namespaces:      i.pod.joined(),
			Cgroup:          h.cfg.Site.cgroup(i.pod.id, initName),
		},
	})
	if err != nil {
		return err
	}
	return i.made.Start(ctx)
}

// remove takes the process away, and with it the namespace. It is idempotent.
func (i *podInit) remove(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.drop(ctx)
}

func (i *podInit) drop(ctx context.Context) error {
	if i.made == nil {
		return nil
	}
	if err := i.made.Delete(ctx); err != nil {
		return err
	}
	i.made = nil
	return nil
}
