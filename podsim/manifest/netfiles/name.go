package netfiles

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// DefaultClusterDomain is a cluster's domain where it is told no other.
const DefaultClusterDomain = "cluster.local"

// What Linux can hold as a hostname: 64 bytes, one of which a container's runtime wants for itself.
const (
	maxHostname = 63
	maxFQDN     = 64
)

// A Name is what a pod is called.
type Name struct {
	// Host is the short name (NW-07); Domain is what follows it, empty for a pod without a subdomain (NW-08).
	Host, Domain string
	// UTS is what the pod's UTS namespace, and so hostname(1), says: Host, or the FQDN with setHostnameAsFQDN.
	UTS string
}

// NameOf gives the pod's name. An FQDN that Linux cannot hold is an error: the pod's sandbox fails (NW-08).
func NameOf(pod *corev1.Pod, clusterDomain string) (Name, error) {
	n := Name{Host: pod.Spec.Hostname}
	if n.Host == "" {
		n.Host = pod.Name
	}
	if len(n.Host) > maxHostname {
		n.Host = strings.TrimRight(n.Host[:maxHostname], "-.")
	}
	n.UTS = n.Host
	if pod.Spec.Subdomain != "" {
		n.Domain = fmt.Sprintf("%s.%s.svc.%s", pod.Spec.Subdomain, pod.Namespace, clusterDomain)
	}
	if asFQDN := pod.Spec.SetHostnameAsFQDN; asFQDN != nil && *asFQDN && n.Domain != "" {
		n.UTS = n.Host + "." + n.Domain
		if len(n.UTS) > maxFQDN {
			return Name{}, fmt.Errorf("set hostname as FQDN: %q is longer than the %d characters that Linux can hold; shorten hostname, subdomain or namespace", n.UTS, maxFQDN)
		}
	}
	return n, nil
}

// Hostname is the content of /etc/hostname.
func (n Name) Hostname() []byte { return []byte(n.UTS + "\n") }

// Hosts is the content of /etc/hosts (NW-05): the local names, the pod's own addresses, and its hostAliases. It is
// not for a container that mounts something at /etc/hosts itself.
func (n Name) Hosts(podIPs []string, aliases []corev1.HostAlias) []byte {
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file.\n" +
		"127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\n" +
		"fe00::0\tip6-mcastprefix\n" +
		"fe00::1\tip6-allnodes\n" +
		"fe00::2\tip6-allrouters\n")
	for _, ip := range podIPs {
		if n.Domain == "" {
			fmt.Fprintf(&b, "%s\t%s\n", ip, n.Host)
		} else {
			fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, n.Host, n.Domain, n.Host)
		}
	}
	if len(aliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
	}
	for _, a := range aliases {
		fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return []byte(b.String())
}
