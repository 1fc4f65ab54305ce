package logs

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func podWith(st corev1.ContainerStatus) *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, st.Name = "x", "app"
	p.Status.ContainerStatuses = []corev1.ContainerStatus{st}
	return p
}

func runs() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

func waits(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func ended(id string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: id}}
}

func TestMS03WhoseLogIsMeant(t *testing.T) {
	const second, third = "containerd://abcdefga-app.1", "containerd://abcdefga-app.2"
	for name, c := range map[string]struct {
		status   corev1.ContainerStatus
		previous bool
		want     int
		refused  string
	}{
		"one that runs":                      {status: corev1.ContainerStatus{State: runs(), ContainerID: third, LastTerminationState: ended(second)}, want: 2},
		"before one that runs":               {status: corev1.ContainerStatus{State: runs(), ContainerID: third, LastTerminationState: ended(second)}, previous: true, want: 1},
		"before the first":                   {status: corev1.ContainerStatus{State: runs(), ContainerID: second}, previous: true, refused: `previous terminated container "app" in pod "x" not found`},
		"one that has ended":                 {status: corev1.ContainerStatus{State: ended(third), ContainerID: third}, want: 2},
		"one in back-off":                    {status: corev1.ContainerStatus{State: waits("CrashLoopBackOff"), LastTerminationState: ended(second)}, want: 1},
		"before the one in back-off":         {status: corev1.ContainerStatus{State: waits("CrashLoopBackOff"), LastTerminationState: ended(second)}, previous: true, want: 1},
		"one that was lost, after another":   {status: corev1.ContainerStatus{State: ended(""), LastTerminationState: ended(second)}, want: 1},
		"one that was lost":                  {status: corev1.ContainerStatus{State: ended("")}, refused: `container "app" in pod "x" is terminated`},
		"one that was taken away":            {status: corev1.ContainerStatus{State: waits("RestartingAllContainers"), LastTerminationState: ended("")}, refused: `container "app" in pod "x" is terminated`},
		"one that is created":                {status: corev1.ContainerStatus{State: waits("ContainerCreating")}, refused: `container "app" in pod "x" is waiting to start: ContainerCreating`},
		"one that waits for init containers": {status: corev1.ContainerStatus{State: waits("PodInitializing")}, refused: `container "app" in pod "x" is waiting to start: PodInitializing`},
		"one whose image cannot be pulled":   {status: corev1.ContainerStatus{State: waits("ErrImagePull")}, refused: `container "app" in pod "x" is waiting to start: image can't be pulled`},
		"one whose image is waited for":      {status: corev1.ContainerStatus{State: waits("ImagePullBackOff")}, refused: `container "app" in pod "x" is waiting to start: trying and failing to pull image`},
		"one of which nothing is known":      {refused: `container "app" in pod "x" is waiting to start - no logs yet`},
		"one with a number in its own name":  {status: corev1.ContainerStatus{State: runs(), ContainerID: "containerd://abcdefga-app2.10"}, want: 10},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := InstanceOf(podWith(c.status), "app", c.previous)
			refused, isRefused := errors.AsType[*UnavailableError](err)
			if c.refused != "" && (!isRefused || refused.Error() != c.refused) || c.refused == "" && (err != nil || got != c.want) {
				t.Errorf("got instance %d, %v; want %d %s", got, err, c.want, c.refused)
			}
		})
	}
	if _, err := InstanceOf(podWith(corev1.ContainerStatus{}), "side", false); err == nil || err.Error() != `container "side" in pod "x" is not available` {
		t.Errorf("a container without a status: %v", err)
	}
}

func TestAnInstanceRunsUntilTheNextDoes(t *testing.T) {
	p := podWith(corev1.ContainerStatus{State: runs(), ContainerID: "containerd://abcdefga-app.1", LastTerminationState: ended("containerd://abcdefga-app.0")})
	for instance, want := range []bool{false, true, false} {
		if got := Runs(p, "app", instance); got != want {
			t.Errorf("instance %d runs: %v, want %v", instance, got, want)
		}
	}
	if Runs(podWith(corev1.ContainerStatus{State: ended("containerd://abcdefga-app.1")}), "app", 1) {
		t.Error("one that has ended runs")
	}
}
