package probe

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

func execProbe(command ...string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}}}
}

func TestExecProbe(t *testing.T) {
	long := strings.Repeat("x", 2*maxOutput)
	tests := []struct {
		name   string
		code   int
		output string
		result pod.Result
		want   string
	}{
		{"PB-06: exit code 0 succeeds", 0, "fine", pod.Success, "fine"},
		{"PB-06: any other fails with its output", 3, "not yet", pod.Failed, "not yet"},
		{"PB-06: death by a signal fails", 137, "", pod.Failed, ""},
		{"of the output 10 KiB are kept", 1, long, pod.Failed, long[:maxOutput]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := new(Prober).Probe(t.Context(), execProbe("check"), Target{Exec: func(context.Context, []string) (int, []byte, error) {
				return tt.code, []byte(tt.output), nil
			}})
			if o.Result != tt.result || o.Output != tt.want {
				t.Errorf("got %v with %q; want %v with %q", o.Result, o.Output, tt.result, tt.want)
			}
		})
	}
}

// PB-06: running out of time is a failure, once and not three times.
func TestExecProbeTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := execProbe("sleep", "60")
		probe.TimeoutSeconds = 7
		begin := time.Now()
		o := new(Prober).Probe(t.Context(), probe, Target{Exec: func(ctx context.Context, _ []string) (int, []byte, error) {
			<-ctx.Done()
			return 137, nil, ctx.Err()
		}})
		want := `command timed out: "sleep 60" timed out after 7s`
		if o.Result != pod.Failed || o.Output != want {
			t.Errorf("got %v with %q; want failure with %q", o.Result, o.Output, want)
		}
		if spent := time.Since(begin); spent != 7*time.Second {
			t.Errorf("it took %v; want 7s", spent)
		}
	})
}

func TestExpand(t *testing.T) {
	env := []corev1.EnvVar{
		{Name: "A", Value: "1"}, {Name: "EMPTY"}, {Name: "B", Value: "old"}, {Name: "B", Value: "new"},
		{Name: "FROM", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "NEST", Value: "$(A)"},
	}
	tests := []struct{ name, in, want string }{
		{"a plain word stays", "word", "word"},
		{"a reference becomes its value", "x$(A)y", "x1y"},
		{"two references", "$(A)$(A)", "11"},
		{"the later entry wins", "$(B)", "new"},
		{"an unknown name stays", "$(NOPE)/$(A)", "$(NOPE)/1"},
		{"PB-07: a valueFrom is not looked up", "<$(FROM)>", "<>"},
		{"an empty value is a value", "<$(EMPTY)>", "<>"},
		{"a value is not expanded again", "$(NEST)", "$(A)"},
		{"two dollars are one", "$$(A)", "$(A)"},
		{"three dollars are one and a reference", "$$$(A)", "$1"},
		{"an open reference stays", "$(A", "$(A"},
		{"a shell's variable stays", "$A ${A}", "$A ${A}"},
		{"a dollar at the end stays", "cost in $", "cost in $"},
		{"an empty reference stays", "$()", "$()"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Expand([]string{tt.in}, env); got[0] != tt.want {
				t.Errorf("Expand(%q) = %q; want %q", tt.in, got[0], tt.want)
			}
		})
	}
}

func TestExpandProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[a-z$()A]{0,12}`)).Draw(t, "words")
		if got := Expand(words, nil); len(got) != len(words) {
			t.Fatalf("%d words became %d", len(words), len(got))
		}
		doubled := make([]string, len(words))
		for i, w := range words {
			doubled[i] = strings.ReplaceAll(w, "$", "$$")
		}
		env := []corev1.EnvVar{{Name: "A", Value: "1"}}
		if got := Expand(doubled, env); !reflect.DeepEqual(got, words) {
			t.Fatalf("escaped %q came back as %q", words, got)
		}
	})
}
