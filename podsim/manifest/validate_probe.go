package manifest

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podsim/podsim/podsim/pod"
)

// probesAndHooks validates a container's three probes and its lifecycle (PB-24, PB-28, LH-03, LH-04, LH-08).
func (v *validator) probesAndHooks(c *corev1.Container, s *corev1.PodSpec, p *field.Path) {
	v.probe(c.StartupProbe, c, true, p.Child("startupProbe"))
	v.probe(c.LivenessProbe, c, true, p.Child("livenessProbe"))
	v.probe(c.ReadinessProbe, c, false, p.Child("readinessProbe"))
	if r := c.ReadinessProbe; r != nil && r.TerminationGracePeriodSeconds != nil {
		v.invalid(p.Child("readinessProbe", "terminationGracePeriodSeconds"), *r.TerminationGracePeriodSeconds, "must not be set for readinessProbes")
	}
	if c.Lifecycle == nil {
		return
	}
	p = p.Child("lifecycle")
	if h := c.Lifecycle.PostStart; h != nil {
		v.hook(h, c, s, p.Child("postStart"))
	}
	if h := c.Lifecycle.PreStop; h != nil {
		v.hook(h, c, s, p.Child("preStop"))
	}
	if signal := c.Lifecycle.StopSignal; signal != nil { // SG-03
		if s.OS == nil {
			v.forbidden(p.Child("stopSignal"), "may not be set for containers with empty `spec.os.name`")
		} else {
			oneOf(v, p.Child("stopSignal"), *signal, stopSignals()...)
		}
	}
}

func (v *validator) probe(r *corev1.Probe, c *corev1.Container, once bool, p *field.Path) {
	if r == nil {
		return
	}
	v.handler(handler{exec: r.Exec, http: r.HTTPGet, tcp: r.TCPSocket, grpc: r.GRPC}, c, p)
	for name, value := range map[string]int32{
		"initialDelaySeconds": r.InitialDelaySeconds, "timeoutSeconds": r.TimeoutSeconds, "periodSeconds": r.PeriodSeconds,
		"successThreshold": r.SuccessThreshold, "failureThreshold": r.FailureThreshold,
	} {
		if value < 0 {
			v.invalid(p.Child(name), value, "must be greater than or equal to 0")
		}
	}
	if once && r.SuccessThreshold != 1 {
		v.invalid(p.Child("successThreshold"), r.SuccessThreshold, "must be 1")
	}
	if g := r.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		v.invalid(p.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0")
	}
}

func (v *validator) hook(h *corev1.LifecycleHandler, c *corev1.Container, s *corev1.PodSpec, p *field.Path) {
	v.handler(handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, c, p)
	if h.Sleep != nil {
		grace := *s.TerminationGracePeriodSeconds
		switch {
		case h.Sleep.Seconds == 0 && !v.kubelet.On(pod.GateSleepActionAllowZero):
			v.invalid(p.Child("sleep"), h.Sleep.Seconds, fmt.Sprintf("must be greater than 0 and less than terminationGracePeriodSeconds (%d). "+
				"Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep.", grace))
		case h.Sleep.Seconds < 0 || h.Sleep.Seconds > grace:
			v.invalid(p.Child("sleep"), h.Sleep.Seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", grace))
		}
	}
	if h.TCPSocket != nil {
		v.warn(p.Child("tcpSocket"), "accepted for old manifests only; the hook fails when it is run")
	}
}

// A handler is what a probe and a hook may do; one of its fields is to be set.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func (v *validator) handler(h handler, c *corev1.Container, p *field.Path) {
	set := 0
	// first reports whether this handler is the first one; any further one is an error.
	first := func(name string, is bool) bool {
		if is {
			if set++; set > 1 {
				v.forbidden(p.Child(name), "may not specify more than 1 handler type")
			}
		}
		return is && set == 1
	}
	if first("exec", h.exec != nil) && len(h.exec.Command) == 0 {
		v.required(p.Child("exec", "command"), "")
	}
	if first("httpGet", h.http != nil) {
		v.httpGet(h.http, c, p.Child("httpGet"))
	}
	if first("tcpSocket", h.tcp != nil) {
		v.port(h.tcp.Port, c, p.Child("tcpSocket", "port"))
	}
	if first("grpc", h.grpc != nil) {
		v.port(intstr.FromInt32(h.grpc.Port), c, p.Child("grpc", "port"))
	}
	first("sleep", h.sleep != nil)
	if set == 0 {
		v.required(p, "must specify a handler type")
	}
}

func (v *validator) httpGet(h *corev1.HTTPGetAction, c *corev1.Container, p *field.Path) {
	v.port(h.Port, c, p.Child("port"))
	oneOf(v, p.Child("scheme"), h.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	for i, header := range h.HTTPHeaders {
		v.all(p.Child("httpHeaders").Index(i).Child("name"), header.Name, validation.IsHTTPHeaderName(header.Name))
	}
}

// port wants a number, or a name. A name that the container does not declare is let through by an API server and
// fails at every attempt (PB-10); here it is a warning.
func (v *validator) port(port intstr.IntOrString, c *corev1.Container, p *field.Path) {
	if port.Type == intstr.Int {
		v.all(p, port.IntVal, validation.IsValidPortNum(int(port.IntVal)))
		return
	}
	bad := validation.IsValidPortName(port.StrVal)
	v.all(p, port.StrVal, bad)
	if len(bad) == 0 && !slices.ContainsFunc(c.Ports, func(q corev1.ContainerPort) bool { return q.Name == port.StrVal }) {
		v.warn(p, "container %q declares no port named %q; every attempt will fail", c.Name, port.StrVal)
	}
}

// stopSignals are those that an API server accepts for Linux.
func stopSignals() []corev1.Signal {
	signals := []corev1.Signal{
		"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
		"SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP",
		"SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
		"SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX",
	}
	for i := 1; i <= 15; i++ {
		signals = append(signals, corev1.Signal(fmt.Sprintf("SIGRTMIN+%d", i)))
	}
	for i := 1; i <= 14; i++ {
		signals = append(signals, corev1.Signal(fmt.Sprintf("SIGRTMAX-%d", i)))
	}
	return signals
}
