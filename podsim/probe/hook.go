package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// HTTPHook makes the request of an httpGet lifecycle hook. Any answer, whatever its status, is success; only a
// transport error is a failure, and is returned (LH-05). A server that answers https in plain http is asked again
// over http; the warning then says so, and is empty otherwise.
//
// It has no time-out of its own: a preStop's grace, or nothing for a postStart, is ctx's matter.
func (p *Prober) HTTPHook(ctx context.Context, get *corev1.HTTPGetAction, t Target) (warning string, err error) {
	ctx, end := bounded(ctx)
	defer end()
	req, err := request(ctx, get, t, "lifecycle")
	if err != nil {
		return "", err
	}
	p.transports()
	client := &http.Client{Transport: p.hook, CheckRedirect: sameHost}
	err = send(client, req)
	if !plainServer(err) {
		return "", err
	}
	again := req.Clone(ctx)
	again.URL.Scheme = "http"
	again.Header.Del("Authorization") // never in plain text
	if send(client, again) != nil {
		return "", err
	}
	return fmt.Sprintf("request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", req.URL.Host), nil
}

// send makes the request and throws the answer away.
func send(client *http.Client, req *http.Request) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxOutput)
	return nil
}

// plainServer reports whether err says that an https request met a server that speaks http.
func plainServer(err error) bool {
	var u *url.Error
	return errors.As(err, &u) && strings.Contains(u.Err.Error(), "server gave HTTP response to HTTPS client")
}
