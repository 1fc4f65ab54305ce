//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/google/go-containerregistry/pkg/authn"
)

// DefaultHostsDir is where containerd's hosts folders are looked for.
const DefaultHostsDir = "/etc/containerd/certs.d"

// PullOptions say how to reach registries. The zero value is what a user of docker and containerd expects.
type PullOptions struct {
	// HostsDir holds a folder for each registry with a hosts.toml: mirrors, plain HTTP, certificates, by
	// containerd's rules. Empty: DefaultHostsDir. It need not exist.
	HostsDir string
	// Keychain finds credentials for a registry. Nil: the docker config's (DOCKER_CONFIG, or ~/.docker/config.json),
	// credential helpers included.
	Keychain authn.Keychain
	// Begin, if not nil, is called by Ensure when it finds that it has to fetch the image.
	Begin func()
}

// Pull fetches an image for this host's platform and unpacks it. What is already here is not fetched again. An
// error is an *ImageError with the reason ErrImagePull or InvalidImageName, unless containerd itself failed.
func (c *Client) Pull(ctx context.Context, ref string, o PullOptions) (Image, error) {
	full, err := ParseRef(ref)
	if err != nil {
		return Image{}, err
	}
	name, err := c.snapshotterName(ctx)
	if err != nil {
		return Image{}, err
	}
	pulled, err := c.ctr.Pull(ctx, full,
		containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: o.hosts(ctx)})),
		containerd.WithPullSnapshotter(name),
		containerd.WithPullUnpack)
	if err != nil {
		if err = native(err); errors.Is(err, ErrDaemonGone) || ctx.Err() != nil {
			return Image{}, fmt.Errorf("pull image %s: %w", full, err)
		}
		return Image{}, &ImageError{Reason: ReasonErrImagePull, Ref: full, Err: fmt.Errorf("pull: %w", err)}
	}
	return c.inspect(ctx, pulled.Metadata())
}

func (o PullOptions) hosts(ctx context.Context) docker.RegistryHosts {
	dir := o.HostsDir
	if dir == "" {
		dir = DefaultHostsDir
	}
	return config.ConfigureHosts(ctx, config.HostOptions{
		HostDir:     config.HostDirFromRoot(dir),
		Credentials: o.credentials,
	})
}

// credentials returns a user and a secret for a host; a secret without a user is an identity token.
func (o PullOptions) credentials(host string) (user, secret string, err error) {
	keychain := o.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	auth, err := keychain.Resolve(dockerHost(host))
	if err != nil {
		return "", "", fmt.Errorf("find credentials for %s in the docker config: %w", host, err)
	}
	cfg, err := auth.Authorization()
	if err != nil {
		return "", "", fmt.Errorf("find credentials for %s in the docker config: %w", host, err)
	}
	switch {
	case cfg.IdentityToken != "":
		return "", cfg.IdentityToken, nil
	case cfg.RegistryToken != "":
		return "", cfg.RegistryToken, nil
	}
	return cfg.Username, cfg.Password, nil
}

// dockerHost is a host as the docker config names it.
type dockerHost string

// String returns the key of the docker config. Docker Hub's registry has another name there than on the network.
func (r dockerHost) String() string { return r.RegistryStr() }

// RegistryStr returns the same.
func (r dockerHost) RegistryStr() string {
	if r == "registry-1.docker.io" || r == "docker.io" {
		return "index.docker.io"
	}
	return string(r)
}
