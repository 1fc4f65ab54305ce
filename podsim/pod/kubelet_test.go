package pod

import (
	"slices"
	"testing"
	"time"
)

func TestOfAKubeletWhatDiffersIsNoted(t *testing.T) {
	if notes := (Kubelet{Version: DefaultVersion, Gates: map[Gate]bool{GateEnvFiles: true}}).Notes(); len(notes) > 0 {
		t.Errorf("the default kubelet, spelt out, has notes: %q", notes)
	}
	k := Kubelet{Version: 35, Gates: map[Gate]bool{GateContainerStopSignals: true}, Pace: 10, MaxBackOff: 30 * time.Second, Ticks: TicksSync, Poll: KubeletPoll, Pause: KubeletPause}
	want := []string{"Kubernetes 1.35", "feature gate ContainerStopSignals=true", "backoff x10: back-offs pass 10 times as fast as a kubelet's",
		"max backoff 30s", "probe ticks from the pod's sync, as a kubelet's are", "kubelet timing: a look every 1s whether a container has ended",
		"kubelet timing: 200ms from a container's start to the next one's"}
	if got := k.Notes(); !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := (Kubelet{Pace: PaceOff}).Notes(); !slices.Equal(got, []string{"backoff off: containers restart at once"}) {
		t.Errorf("without back-offs: %q", got)
	}
}
