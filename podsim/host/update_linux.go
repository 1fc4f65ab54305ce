package host

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/pod"
)

// Claim takes the name of the run's pod in its namespace, for as long as the run lasts: what an applied pod does. A name
// that is taken is a *rundir.ClaimedError.
func (h *Host) Claim(p *corev1.Pod) error { return h.dir.Claim(p.Namespace, p.Name) }

// Update takes a pod as it is asked for from now on, after an OpUpdate: containers that are created after this are
// created by it. The caller never changes it again. Volumes follow with Refresh.
func (h *Host) Update(p *corev1.Pod) {
	if ph, ok := h.pods[p.Name]; ok {
		ph.update(p)
	}
}

// SetResources takes ConfigMaps and Secrets as they are from now on. Containers that are created after this see them;
// volumes follow with Refresh.
func (h *Host) SetResources(r manifest.Resources) { h.resources.Store(&r) }

// refreshed answers OpRefresh. Containers that are created after this see the ConfigMaps and Secrets too.
func (p *podHost) refreshed(ctx context.Context, r *pod.Refresh) (pod.Event, error) {
	if r != nil {
		p.host.takeResources(manifest.Resources{ConfigMaps: r.ConfigMaps, Secrets: r.Secrets})
	}
	err := p.refresh(ctx)
	if ctx.Err() != nil {
		return pod.Event{}, context.Cause(ctx)
	}
	if err != nil {
		return failed(reasonMount, err), nil
	}
	return pod.Event{}, nil
}

// takeResources replaces the ConfigMaps and Secrets that r holds.
func (h *Host) takeResources(r manifest.Resources) {
	for {
		have := h.resources.Load()
		next := have.Replace(r)
		if h.resources.CompareAndSwap(have, &next) {
			return
		}
	}
}

// Refresh brings the volumes of the run's pods up to date that show ConfigMaps, Secrets or the pod's own metadata
// (VO-08). A pod that is not set up yet, or is torn down, has none. It is idempotent.
func (h *Host) Refresh(ctx context.Context) error {
	var errs []error
	for _, p := range h.pods {
		errs = append(errs, p.refresh(ctx))
	}
	return errors.Join(errs...)
}

func (p *podHost) refresh(ctx context.Context) error {
	p.settingUp.Lock()
	defer p.settingUp.Unlock()
	if p.volumes.isMade() && !p.down {
		set, err := p.volumeSet()
		if err != nil {
			return fmt.Errorf("refresh the volumes of pod %s: %w", p.name, err)
		}
		for name, v := range set.Volumes {
			if v.Files != nil {
				err = errors.Join(err, set.SetUp(ctx, name))
			}
		}
		if err != nil {
			return fmt.Errorf("refresh the volumes of pod %s: %w", p.name, err)
		}
	}
	return nil
}
