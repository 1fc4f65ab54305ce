package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func hookTo(port int, path string) *corev1.HTTPGetAction {
	return &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(int32(port))}
}

// LH-05, by cases.
func TestHTTPHook(t *testing.T) {
	var seen []*http.Request
	handler := func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		w.WriteHeader(http.StatusTeapot)
	}
	_, port := serve(t, handler)

	t.Run("any status is a success", func(t *testing.T) {
		seen = nil
		warning, err := new(Prober).HTTPHook(t.Context(), hookTo(port, "/bye?now"), loopback)
		if err != nil || warning != "" {
			t.Errorf("got warning %q, error %v; want neither", warning, err)
		}
		if len(seen) != 1 || seen[0].URL.String() != "/bye?now" || seen[0].UserAgent() != "kube-lifecycle/1.36" {
			t.Errorf("the server saw %v; want one request for /bye?now from kube-lifecycle/1.36", seen)
		}
	})
	t.Run("a certificate is not verified", func(t *testing.T) {
		s := httptest.NewTLSServer(http.HandlerFunc(handler))
		defer s.Close()
		hook := hookTo(portOf(t, s.URL), "/")
		hook.Scheme = corev1.URISchemeHTTPS
		if warning, err := new(Prober).HTTPHook(t.Context(), hook, loopback); err != nil || warning != "" {
			t.Errorf("got warning %q, error %v; want neither", warning, err)
		}
	})
	t.Run("https to a plain server is asked again over http, without its credentials", func(t *testing.T) {
		seen = nil
		hook := hookTo(port, "/")
		hook.Scheme = corev1.URISchemeHTTPS
		hook.HTTPHeaders = []corev1.HTTPHeader{{Name: "Authorization", Value: "Bearer s3cret"}, {Name: "X-Kept", Value: "yes"}}
		warning, err := new(Prober).HTTPHook(t.Context(), hook, loopback)
		want := fmt.Sprintf("request to HTTPS lifecycle hook 127.0.0.1:%d got HTTP response, retry with HTTP succeeded", port)
		if err != nil || warning != want {
			t.Errorf("got warning %q, error %v; want %q", warning, err, want)
		}
		if len(seen) != 1 || seen[0].Header.Get("Authorization") != "" || seen[0].Header.Get("X-Kept") != "yes" {
			t.Errorf("the server saw %d requests, the first with headers %v; want one, without Authorization", len(seen), seen[0].Header)
		}
	})
	t.Run("a transport error is a failure", func(t *testing.T) {
		_, err := new(Prober).HTTPHook(t.Context(), hookTo(closedPort(t), "/"), loopback)
		if err == nil || !strings.Contains(err.Error(), "connect: connection refused") {
			t.Errorf("got error %v; want a refused connection", err)
		}
	})
	t.Run("a hung server is waited for until the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}))
		defer s.Close()
		if _, err := new(Prober).HTTPHook(ctx, hookTo(portOf(t, s.URL), "/"), loopback); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v; want %v", err, context.Canceled)
		}
	})
}
