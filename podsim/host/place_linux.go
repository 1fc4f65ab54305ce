package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/netns/world"
	"github.com/podsim/podsim/podsim/internal/ctrd"
	"github.com/podsim/podsim/podsim/manifest/env"
	"github.com/podsim/podsim/podsim/manifest/netfiles"
	"github.com/podsim/podsim/podsim/manifest/payload"
	"github.com/podsim/podsim/volumes"
)

// hostResolv is the machine's own.
const hostResolv = "/etc/resolv.conf"

// placeOf works out what a container is made of, waiting for what it needs of its pod.
func (p *podHost) placeOf(ctx context.Context, c *corev1.Container, img ctrd.Image, instance int) (place, error) {
	if err := p.readyFor(ctx, c); err != nil {
		return place{}, err
	}
	if err := checkNonRoot(p.spec(), c, img); err != nil {
		return place{}, &configError{err}
	}
	facts, err := p.facts()
	if err != nil {
		return place{}, &configError{err}
	}
	vars, err := env.Of(facts, c)
	if err != nil {
		return place{}, &configError{err}
	}
	at := place{cgroup: p.host.cfg.Site.cgroup(p.id, c.Name), image: img, env: vars.Strings(), command: vars.ExpandAll(c.Command), args: vars.ExpandAll(c.Args)}
	at.namespaces = p.joined()
	switch target := targetOf(p.spec(), c); {
	case p.init != nil:
		if at.namespaces.PID, err = p.init.namespace(ctx); err != nil {
			return place{}, err
		}
	case target != "": // EC-02
		if at.namespaces.PID, err = p.processesOf(target); err != nil {
			return place{}, &configError{err}
		}
	}
	if at.user, err = p.host.runtime.ResolveUser(ctx, img, userRequest(p.spec(), c, img)); err != nil {
		return place{}, &configError{err}
	}
	if at.mounts, err = p.mountsOf(ctx, c, vars, instance); err != nil {
		return place{}, err
	}
	return at, nil
}

// targetOf is the container whose processes an ephemeral container shares; empty if it names none.
func targetOf(p *corev1.Pod, c *corev1.Container) string {
	for i := range p.Spec.EphemeralContainers {
		if e := &p.Spec.EphemeralContainers[i]; e.Name == c.Name {
			return e.TargetContainerName
		}
	}
	return ""
}

// processesOf is the PID namespace of a container that runs.
func (p *podHost) processesOf(name string) (string, error) {
	c, ok := p.container(name)
	if !ok {
		return "", fmt.Errorf("target container %q does not exist", name)
	}
	made, err := c.running()
	if err != nil {
		return "", fmt.Errorf("target %w", err)
	}
	return fmt.Sprintf("/proc/%d/ns/pid", made.PID()), nil
}

// joined are the namespaces that podsim pins for the pod and all its containers join (NS-01).
func (p *podHost) joined() ctrd.Namespaces {
	return ctrd.Namespaces{Net: p.pins.Net, IPC: p.pins.IPC, UTS: p.pins.UTS}
}

// readyFor waits for what a container needs of its pod to be made.
func (p *podHost) readyFor(ctx context.Context, c *corev1.Container) error {
	needed := []*stage{p.namespaces, p.volumes}
	if namesAddress(c) {
		needed = append(needed, p.attached)
	}
	for _, s := range needed {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// namesAddress reports whether a container's environment shows its pod's address, which then must be known before
// the container is made (DW-07).
func namesAddress(c *corev1.Container) bool {
	return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && strings.HasPrefix(e.ValueFrom.FieldRef.FieldPath, "status.")
	})
}

// facts are what containers may learn about their pod.
func (p *podHost) facts() (env.Facts, error) {
	name, err := netfiles.NameOf(p.spec(), netfiles.DefaultClusterDomain)
	if err != nil {
		return env.Facts{}, err
	}
	n := p.network()
	f := env.Facts{Pod: p.spec(), Resources: *p.host.resources.Load(), PodIPs: n.PodIPs, NodeName: NodeName, Hostname: name.UTS}
	if n.HostIP != "" {
		f.HostIPs = []string{n.HostIP}
	}
	return f, nil
}

// makeNamespaces pins the pod's net, ipc and uts namespaces (ST-01).
func (p *podHost) makeNamespaces() error {
	name, err := netfiles.NameOf(p.spec(), netfiles.DefaultClusterDomain)
	if err != nil {
		return err
	}
	o := netns.PinOptions{Hostname: name.UTS}
	if sc := p.spec().Spec.SecurityContext; sc != nil && len(sc.Sysctls) > 0 { // NW-13
		o.Sysctls = make(map[string]string, len(sc.Sysctls))
		for _, s := range sc.Sysctls {
			o.Sysctls[s.Name] = s.Value
		}
	}
	if err := p.pins.Remove(); err != nil { // of an attempt that failed half-way
		return err
	}
	return p.pins.Create(o)
}

// The names of a pod's files, below its directory of files.
const (
	fileHosts    = "hosts"
	fileHostname = "hostname"
	fileResolv   = "resolv.conf"
)

// shmVolume is the name of the pod's shared memory among its volumes; no volume of the pod's own can have it.
const shmVolume = "SHM"

// shmSize is that of a kubelet's pods.
const shmSize = 64 << 20

// volumeSet are the pod's volumes, with what its ConfigMaps and Secrets hold now.
func (p *podHost) volumeSet() (volumes.Set, error) {
	s := volumes.Set{Dir: p.host.cfg.Site.volumes(p.id), Volumes: map[string]volumes.Volume{
		shmVolume: {EmptyDir: &volumes.EmptyDir{Memory: true, SizeLimit: shmSize}},
	}}
	facts, err := p.facts()
	if err != nil {
		return s, err
	}
	var group *int64
	if sc := p.spec().Spec.SecurityContext; sc != nil {
		group = sc.FSGroup
	}
	for _, v := range p.spec().Spec.Volumes {
		out := volumes.Volume{FSGroup: group}
		files, holdsFiles, err := payload.Files(facts, v)
		switch {
		case err != nil:
			return s, err
		case holdsFiles:
			out.Files = &volumes.Files{Memory: v.Secret != nil || v.Projected != nil} // VO-06
			for _, f := range files {
				out.Files.Files = append(out.Files.Files, volumes.File{Path: f.Path, Mode: os.FileMode(f.Mode), Data: f.Data})
			}
		case v.HostPath != nil:
			out.HostPath = &volumes.HostPath{Path: v.HostPath.Path}
			if v.HostPath.Type != nil {
				out.HostPath.Type = volumes.HostPathType(*v.HostPath.Type)
			}
		case v.EmptyDir != nil:
			out.EmptyDir = &volumes.EmptyDir{Memory: v.EmptyDir.Medium == corev1.StorageMediumMemory}
			if q := v.EmptyDir.SizeLimit; q != nil {
				out.EmptyDir.SizeLimit = q.Value()
			}
		default: // VO-20: storage that only a cluster has is a directory of the pod's own; the manifest's reader has warned
			out.EmptyDir = &volumes.EmptyDir{}
		}
		s.Volumes[v.Name] = out
	}
	return s, nil
}

// makeVolumes makes the pod's volumes, and the files that containers have bind-mounted before their contents are known.
func (p *podHost) makeVolumes(ctx context.Context) error {
	set, err := p.volumeSet()
	if err != nil {
		return err
	}
	dir := p.host.cfg.Site.files(p.id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the pod's files: %w", err)
	}
	for _, name := range []string{fileHosts, fileHostname, fileResolv} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return fmt.Errorf("make the pod's files: %w", err)
		}
	}
	for name := range set.Volumes {
		if err := set.SetUp(ctx, name); err != nil {
			return err
		}
	}
	// The volumes of a tmpfs of mode 1777: that of every /dev/shm.
	if err := os.Chmod(set.Path(shmVolume), 0o777|os.ModeSticky); err != nil {
		return fmt.Errorf("make the pod's shared memory: %w", err)
	}
	return nil
}

// writeFiles fills the files that name the pod's address, in place: they are bind-mounted already.
func (p *podHost) writeFiles() error {
	name, err := netfiles.NameOf(p.spec(), netfiles.DefaultClusterDomain)
	if err != nil {
		return err
	}
	resolv, err := p.resolv()
	if err != nil {
		return err
	}
	dir := p.host.cfg.Site.files(p.id)
	for name, text := range map[string][]byte{
		fileHosts:    name.Hosts(p.network().PodIPs, p.spec().Spec.HostAliases),
		fileHostname: name.Hostname(),
		fileResolv:   resolv,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("write the pod's files: %w", err)
		}
	}
	return nil
}

// resolv is the pod's resolv.conf. The cluster's DNS is the world's resolver where there is one, the host's otherwise.
func (p *podHost) resolv() ([]byte, error) {
	text, err := os.ReadFile(hostResolv)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the host's resolv.conf: %w", err)
	}
	cluster := netfiles.Cluster{Domain: netfiles.DefaultClusterDomain, Node: netfiles.ParseResolver(text)}
	cluster.DNS = cluster.Node.Nameservers
	if p.host.world != nil {
		cluster.DNS = []string{world.DNSAddress.String()}
	}
	r, warnings := netfiles.ResolverOf(p.spec(), cluster)
	for _, w := range warnings {
		p.host.warn(p.spec().Name, "", w)
	}
	return r.Text(), nil
}

// mountsOf are a container's mounts: its volumes, and what every container has that does not mount its own there.
func (p *podHost) mountsOf(ctx context.Context, c *corev1.Container, vars env.Env, instance int) ([]ctrd.Mount, error) {
	set, err := p.volumeSet()
	if err != nil {
		return nil, &configError{err}
	}
	var out []ctrd.Mount
	for i, m := range c.VolumeMounts {
		sub := m.SubPath
		if m.SubPathExpr != "" { // VO-12
			if sub, err = vars.SubPath(m.SubPathExpr); err != nil {
				return nil, &configError{err}
			}
		}
		v := volumes.Mount{Volume: m.Name, SubPath: sub, Key: fmt.Sprintf("%s-%d", c.Name, i), Destination: m.MountPath, ReadOnly: m.ReadOnly}
		if m.RecursiveReadOnly != nil {
			v.Recursive = volumes.RecursiveReadOnly(*m.RecursiveReadOnly)
		}
		if m.MountPropagation != nil {
			v.Propagation = volumes.Propagation(*m.MountPropagation)
		}
		b, err := set.Bind(ctx, v)
		if err != nil {
			return nil, &configError{err}
		}
		out = append(out, ctrd.Mount{Source: b.Source, Destination: b.Destination, Options: b.Options})
	}
	dir := p.host.cfg.Site.files(p.id)
	for _, own := range []ctrd.Mount{
		{Source: filepath.Join(dir, fileHosts), Destination: "/etc/hosts", Options: []string{"rw"}},
		{Source: filepath.Join(dir, fileHostname), Destination: "/etc/hostname", Options: []string{"rw"}},
		{Source: filepath.Join(dir, fileResolv), Destination: "/etc/resolv.conf", Options: []string{"rw"}},
		{Source: set.Path(shmVolume), Destination: "/dev/shm", Options: []string{"rw", "nosuid", "nodev", "noexec"}},
	} {
		if !mountsAt(c, own.Destination) {
			out = append(out, own)
		}
	}
	message, err := p.makeTerminationLog(c, instance)
	if err != nil {
		return nil, err
	}
	if message != "" && !mountsAt(c, filepath.Clean(c.TerminationMessagePath)) {
		out = append(out, ctrd.Mount{Source: message, Destination: c.TerminationMessagePath, Options: []string{"rw"}})
	}
	return out, nil
}
