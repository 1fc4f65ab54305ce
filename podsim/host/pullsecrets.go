package host

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest"
)

// A pullSecret is the credentials that one of a pod's imagePullSecrets has for an image's registry.
type pullSecret struct{ authn.AuthConfig }

// Resolve gives the credentials, whatever part of the registry asks.
func (s pullSecret) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(s.AuthConfig), nil
}

// pullSecrets are the credentials that a pod's imagePullSecrets have for an image, in the order of the spec (IM-05), and
// what is wrong with those that cannot be used, in words.
func pullSecrets(p *corev1.Pod, r manifest.Resources, image string) (secrets []pullSecret, wrong []string) {
	for _, ref := range p.Spec.ImagePullSecrets {
		s := r.Secret(p.Namespace, ref.Name)
		if s == nil {
			wrong = append(wrong, fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref.Name))
			continue
		}
		auths, err := authsOf(s)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("image pull secret %s: %v", ref.Name, err))
		}
		for key, auth := range auths {
			if covers(key, image) {
				secrets = append(secrets, pullSecret{auth})
			}
		}
	}
	return secrets, wrong
}

// authsOf reads a Secret of one of the two types that a kubelet reads.
func authsOf(s *corev1.Secret) (map[string]authn.AuthConfig, error) {
	switch s.Type {
	case corev1.SecretTypeDockerConfigJson:
		var config struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}
		if err := json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &config); err != nil {
			return nil, fmt.Errorf("read %s: %w", corev1.DockerConfigJsonKey, err)
		}
		return config.Auths, nil
	case corev1.SecretTypeDockercfg:
		var auths map[string]authn.AuthConfig
		if err := json.Unmarshal(s.Data[corev1.DockerConfigKey], &auths); err != nil {
			return nil, fmt.Errorf("read %s: %w", corev1.DockerConfigKey, err)
		}
		return auths, nil
	}
	return nil, fmt.Errorf("its type is %q, and not %s", s.Type, corev1.SecretTypeDockerConfigJson)
}

// covers reports whether a key of a docker config is about an image: the host's parts match, * standing for any one, the
// ports are the same, and the key's path begins the image's.
func covers(key, image string) bool {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return false
	}
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	k, err := url.Parse(key)
	if err != nil {
		return false
	}
	host, port, _ := strings.Cut(reference.Domain(named), ":")
	if host == "docker.io" {
		host = "index.docker.io"
	}
	want, have := strings.Split(k.Hostname(), "."), strings.Split(host, ".")
	if k.Port() != port || len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	prefix := strings.Trim(k.Path, "/")
	if prefix == "v1" || prefix == "v2" { // what docker writes behind the registry's name
		prefix = ""
	}
	return prefix == "" || reference.Path(named) == prefix || strings.HasPrefix(reference.Path(named), prefix+"/")
}
