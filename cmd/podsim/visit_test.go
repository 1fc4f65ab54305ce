package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTheKeysThatLeaveATerminalAreNotPassedOn(t *testing.T) {
	for _, c := range []struct{ typed, passed, then string }{
		{"ls\r", "ls\r", "EOF"},
		{"a\x10\x11b", "a", "detached"},
		{"a\x10b\x11", "a\x10b\x11", "EOF"},
		{"\x10\x10\x11", "\x10", "detached"},
		{"\x10\x10b\x10", "\x10\x10b", "EOF"}, // the last one waits for its follower
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			left := false
			d := &detachable{ReadCloser: io.NopCloser(wrap(strings.NewReader(c.typed))), detach: func() { left = true }}
			var passed []byte
			var err error
			for piece := make([]byte, 2); err == nil; {
				var n int
				n, err = d.Read(piece)
				passed = append(passed, piece[:n]...)
			}
			// What came with the keys at once may be lost.
			if !left && string(passed) != c.passed || left && !strings.HasPrefix(c.passed, string(passed)) || err.Error() != c.then || left != errors.Is(err, errDetached) {
				t.Errorf("of %q, %s, %q is passed on, and then comes %v; want %q and %s", c.typed, how, passed, err, c.passed, c.then)
			}
		}
	}
}

func TestTheContainerThatIsMeant(t *testing.T) {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "proxy"}},
			Containers:     []corev1.Container{{Name: "app"}, {Name: "log"}},
			EphemeralContainers: []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger"}},
			},
		},
	}
	annotated := p.DeepCopy()
	annotated.Annotations = map[string]string{defaultContainer: "log"}
	wrong := p.DeepCopy()
	wrong.Annotations = map[string]string{defaultContainer: "none"}
	one := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	const all = "app, log, debugger (ephem), proxy (init)"
	for _, c := range []struct {
		pod               *corev1.Pod
		named, want, says string
	}{
		{p, "", "app", `Defaulted container "app" out of: ` + all + "\n"},
		{p, "proxy", "proxy", ""},
		{p, "debugger", "debugger", ""},
		{p, "none", "", "container none is not valid for pod web out of: " + all},
		{annotated, "", "log", ""},
		{annotated, "app", "app", ""},
		{wrong, "", "", "container none is not valid for pod web out of: " + all},
		{one, "", "app", ""},
	} {
		var said bytes.Buffer
		v := visit{container: c.named, err: &said}
		got, err := v.choose(c.pod)
		if err != nil {
			said.WriteString(err.Error())
		}
		if got != nil && got.Name != c.want || got == nil && c.want != "" || said.String() != c.says {
			t.Errorf("of pod %v named %q: got %v and %q, want %q and %q", c.pod.Annotations, c.named, got, &said, c.want, c.says)
		}
	}
}

func TestPlacesOfACopy(t *testing.T) {
	for text, want := range map[string]place{
		"a": {path: "a"}, "/a:b": {path: "/a:b"}, "./a:b": {path: "./a:b"}, "web:/a": {"", "web", "/a"}, "ns/web:a:b": {"ns", "web", "a:b"},
	} {
		if got, err := parsePlace(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{":a", "web:", "/:a/", "a/b/c:d", "x/:y"} {
		if got, err := parsePlace(text); err == nil && got.pod != "" {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

func TestForwards(t *testing.T) {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
		{Name: "web", ContainerPort: 8080}, {Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
	}}}}}
	for text, want := range map[string]forward{
		"80": {80, 80}, "8080:80": {8080, 80}, ":80": {0, 80}, "0:80": {0, 80}, "web": {8080, 8080}, "1:web": {1, 8080},
	} {
		if got, err := parseForward(p, text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "must be > 0", "": "no number", "1:2:3": "invalid port format", "x:80": "local port 'x'", "70000": "remote port '70000'", "dns": "only TCP", "none": "no port of pod",
	} {
		if got, err := parseForward(p, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want an error with %q", text, got, err, want)
		}
	}
}
