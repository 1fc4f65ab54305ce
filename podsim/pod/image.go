package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// PullPolicy is the pull policy in force for an image: policy itself or, if that is empty, Always for an image with
// the tag latest or with neither tag nor digest, and IfNotPresent for any other (IM-01).
func PullPolicy(image string, policy corev1.PullPolicy) corev1.PullPolicy {
	if policy != "" {
		return policy
	}
	name, _, digested := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	if tag == "latest" || tag == "" && !digested {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}
