package supervisor

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/pod"
)

// A Request is a pod that is asked for. Its pod is defaulted and valid.
type Request struct {
	Host      Host               `json:"host"`
	Pod       *corev1.Pod        `json:"pod"`
	Resources manifest.Resources `json:"resources"`
	// Kubelet says which kubelet the pod is run by. Only the first request for a pod has a say in it.
	Kubelet pod.Kubelet `json:"kubelet"`
}

// A Host is the part of a host's configuration that a supervisor is given.
type Host struct {
	Site       host.Site `json:"site"`
	Bundle     string    `json:"bundle,omitempty"`
	Containerd string    `json:"containerd,omitempty"`
	CNIConf    string    `json:"cniConf,omitempty"`
	HostsDir   string    `json:"hostsDir,omitempty"`
	NoNetwork  bool      `json:"noNetwork,omitempty"`
	Version    string    `json:"version,omitempty"`
	Command    []string  `json:"command,omitempty"`
}

func (r Request) config() host.Config {
	h := r.Host
	return host.Config{Site: h.Site, Bundle: h.Bundle, Containerd: h.Containerd, CNIConf: h.CNIConf, HostsDir: h.HostsDir, NoNetwork: h.NoNetwork,
		Version: h.Version, Command: h.Command, Pods: []*corev1.Pod{r.Pod}, Resources: r.Resources}
}

// A NotFoundError says that there is no pod of a name.
type NotFoundError struct{ Namespace, Name string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("pods %q not found", e.Name) }

// A LostError says that a pod's supervisor has died. What the pod was can still be looked at; to delete it takes away
// what is left of it.
type LostError struct{ Namespace, Name string }

func (e *LostError) Error() string {
	return fmt.Sprintf("the supervisor of pod %q has died: podsim delete pod %s -n %s, and apply it again", e.Name, e.Name, e.Namespace)
}

// A RefusedError says why a pod as it is now cannot be what is asked for.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string { return e.Message }

// errGone says that the pod went while it was being asked.
var errGone = errors.New("the pod is being deleted")

// An existsError says that another run is the pod of this name.
type existsError struct{ namespace, name, run string }

func (e *existsError) Error() string {
	return fmt.Sprintf("pods %q already exists in namespace %s (run %s)", e.name, e.namespace, e.run)
}

// An Outcome is what became of an apply.
type Outcome string

// The outcomes, in kubectl's words.
const (
	Created    Outcome = "created"
	Configured Outcome = "configured"
	Unchanged  Outcome = "unchanged"
)

// A failure is an error on its way from a supervisor to a command.
type failure struct {
	Kind    string   `json:"kind,omitempty"`
	Message string   `json:"message,omitempty"`
	Name    string   `json:"name,omitempty"`
	Fields  []string `json:"fields,omitempty"`
}

// The kinds of failures.
const (
	kindInput     = "input"
	kindNotReady  = "notReady"
	kindForbidden = "forbidden"
	kindExists    = "exists"
	kindGone      = "gone"
	kindRefused   = "refused"
	kindOther     = "other"
)

// failureOf puts an error into a form that travels.
func failureOf(err error) *failure {
	f := &failure{Kind: kindOther, Message: err.Error()}
	if e, ok := errors.AsType[*ForbiddenError](err); ok {
		f.Kind, f.Name, f.Fields = kindForbidden, e.Pod, e.Fields
	} else if errors.Is(err, errGone) {
		f.Kind = kindGone
	} else if _, ok := errors.AsType[*RefusedError](err); ok {
		f.Kind = kindRefused
	} else if _, ok := errors.AsType[*existsError](err); ok {
		f.Kind = kindExists
	} else if _, ok := errors.AsType[*host.InputError](err); ok {
		f.Kind = kindInput
	} else if _, ok := errors.AsType[*host.NotReadyError](err); ok {
		f.Kind = kindNotReady
	}
	return f
}

// err is the error again, of its own type as far as callers tell them apart.
func (f *failure) err() error {
	switch f.Kind {
	case kindForbidden:
		return &ForbiddenError{Pod: f.Name, Fields: f.Fields}
	case kindInput:
		return &host.InputError{Err: errors.New(f.Message)}
	case kindNotReady:
		return &NotReadyError{f.Message}
	case kindGone:
		return errGone
	case kindRefused:
		return &RefusedError{f.Message}
	}
	return errors.New(f.Message)
}

// A NotReadyError is a supervisor's *host.NotReadyError, in words.
type NotReadyError struct{ Message string }

func (e *NotReadyError) Error() string { return e.Message }
