package lifecycle

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A script is what a container or a hook does: it says Starting, waits for start, says Started, waits for delay, says Looping
// again and again if it loops, says Exiting, and exits with the code. After TERM it waits for term, says Exiting and exits with the
// code too. Times are in seconds.
//
// What it says is a line: seconds since boot, a name, the word. The line goes to the container's log, and to a file on the
// pod's volume, which a container copies into its log when it starts, so that the log of its newest instance has all.
type script struct {
	start, delay, term float64
	exit               int
	loops              bool
}

// mountPath is where every container has the pod's volume.
const mountPath = "/persistent"

// command is the script as a command that speaks as a name, in the container.
func (s script) command(name, container string) []string {
	var b strings.Builder
	fmt.Fprintf(&b, "log=%s/%s.log; touch $log\n", mountPath, container)
	if name == container {
		b.WriteString("cat $log >> /proc/1/fd/1\n")
	}
	// The shell reads the time itself: another process would take time of its own.
	fmt.Fprintf(&b, "say() { read now idle < /proc/uptime; echo \"$now %s $1\" | tee -a $log >> /proc/1/fd/1; }\n", name)
	fmt.Fprintf(&b, "term() { sleep %g; say Exiting; exit %d; }\n", s.term, s.exit)
	// A shell handles a signal when what it waits for is in the background.
	b.WriteString("pause() { sleep $1 & wait $!; }\n")
	b.WriteString("trap term TERM\nsay Starting\n")
	fmt.Fprintf(&b, "pause %g\nsay Started\ntouch /started\npause %g\n", s.start, s.delay)
	if s.loops {
		b.WriteString("while true; do say Looping; sleep 0.2; done\n")
	}
	fmt.Fprintf(&b, "say Exiting\nexit %d\n", s.exit)
	return []string{"/bin/sh", "-c", b.String()}
}

// A part is one container of a pod.
type part struct {
	corev1.Container
	init bool
}

// busybox is a container of the busybox image that runs a command.
func busybox(name string, command ...string) part {
	return part{Container: corev1.Container{Name: name, Image: busyboxImage, Command: command, ImagePullPolicy: corev1.PullIfNotPresent,
		VolumeMounts: []corev1.VolumeMount{{Name: "persistent", MountPath: mountPath}}}}
}

// shell is a container that runs a line of shell.
func shell(name, line string) part { return busybox(name, "/bin/sh", "-c", line) }

// sidekick is a container of podsim's own test program.
func sidekick(name string, args ...string) part {
	p := busybox(name)
	p.Image, p.Args = sidekickImage, args
	return p
}

// regular, first and sidecar are containers of a pod that do what a script says: one of its own, an init container, and a
// restartable one.
func regular(name string, s script) part { return busybox(name, s.command(name, name)...) }
func first(name string, s script) part   { return regular(name, s).asInit() }
func sidecar(name string, s script) part { return regular(name, s).asSidecar() }

func (p part) asInit() part {
	p.init = true
	return p
}

func (p part) asSidecar() part {
	p.init = true
	return p.policy(corev1.ContainerRestartPolicyAlways)
}

func (p part) policy(r corev1.ContainerRestartPolicy, rules ...corev1.ContainerRestartRule) part {
	p.RestartPolicy, p.RestartPolicyRules = &r, rules
	return p
}

func (p part) image(ref string) part {
	p.Image = ref
	return p
}

func (p part) liveness(b *corev1.Probe) part {
	p.LivenessProbe = b
	return p
}

func (p part) readiness(b *corev1.Probe) part {
	p.ReadinessProbe = b
	return p
}

func (p part) startup(b *corev1.Probe) part {
	p.StartupProbe = b
	return p
}

func (p part) postStart(h *corev1.LifecycleHandler) part {
	p.Lifecycle = p.Lifecycle.DeepCopy()
	if p.Lifecycle == nil {
		p.Lifecycle = &corev1.Lifecycle{}
	}
	p.Lifecycle.PostStart = h
	return p
}

func (p part) preStop(h *corev1.LifecycleHandler) part {
	p.Lifecycle = p.Lifecycle.DeepCopy()
	if p.Lifecycle == nil {
		p.Lifecycle = &corev1.Lifecycle{}
	}
	p.Lifecycle.PreStop = h
	return p
}

// gate is a postStart hook that waits until its container's script has started.
func gate() *corev1.LifecycleHandler {
	return hook("sh", "-c", "until [ -f /started ]; do sleep 0.1; done")
}

func hook(command ...string) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: command}}
}

// says is a hook that speaks as PREFIX-CONTAINER.
func says(prefix, container string, s script) *corev1.LifecycleHandler {
	return hook(s.command(prefix+"-"+container, container)...)
}

// probe is an exec probe that runs every second from a delay on, and gives up at the first failure.
func probe(delay int32, command ...string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}},
		InitialDelaySeconds: delay, PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 10}
}

// saying is a probe that speaks as PREFIX-CONTAINER.
func saying(prefix, container string, delay int32, s script) *corev1.Probe {
	return probe(delay, s.command(prefix+"-"+container, container)...)
}

// failing is a probe that fails after a delay.
func failing(delay int32) *corev1.Probe { return probe(delay, "sh", "-c", "exit 1") }

// hasStarted is a probe that succeeds when its container's script has started.
func hasStarted() *corev1.Probe {
	p := probe(0, "test", "-f", "/started")
	p.FailureThreshold = 60
	return p
}

// podOf is a pod of parts, in their order, with one volume that they share.
func podOf(policy corev1.RestartPolicy, parts ...part) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		Spec: corev1.PodSpec{RestartPolicy: policy, Volumes: []corev1.Volume{
			{Name: "persistent", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		}},
	}
	for _, c := range parts {
		if len(c.Resources.Limits) == 0 && c.Image != sidekickImage {
			c.Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("15Mi")},
				Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("35Mi")}}
		}
		if c.init {
			p.Spec.InitContainers = append(p.Spec.InitContainers, c.Container)
		} else {
			p.Spec.Containers = append(p.Spec.Containers, c.Container)
		}
	}
	return p
}
