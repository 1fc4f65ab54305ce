package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns"
	"github.com/podsim/podsim/podsim/supervisor"
)

// A portForwardCommand is what `podsim port-forward` was asked to do.
type portForwardCommand struct {
	*globals
	pods      podFlags
	addresses []string

	mu       sync.Mutex // one line at a time
	out, err io.Writer
}

func newPortForward(g *globals) *cobra.Command {
	p := &portForwardCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "port-forward POD [LOCAL:]REMOTE...",
		Short: "Forward ports of this machine to an applied pod",
		Long: `Forward ports of this machine to localhost in an applied pod, as a kubelet does: past whatever intercepts the pod's traffic
from outside. Without LOCAL the port is the same here; with an empty one or 0 it is any that is free. REMOTE may be the
name of a container's port. It ends with the pod, or when it is interrupted.`,
		Args: usage(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.out, p.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return p.run(cmd.Context(), args[0], args[1:])
		},
	}
	p.pods.add(cmd)
	cmd.Flags().StringSliceVar(&p.addresses, "address", []string{"localhost"}, "addresses to listen on: IP addresses, or localhost for 127.0.0.1 and ::1")
	return cmd
}

// A forward is one port here and one in the pod.
type forward struct{ local, remote uint16 }

// errPodGone says that there is nothing to forward to any more.
var errPodGone = errors.New("lost connection to pod")

func (p *portForwardCommand) run(ctx context.Context, arg string, ports []string) error {
	name, err := podName(arg)
	if err != nil {
		return err
	}
	f, err := supervisor.Get(ctx, p.site, p.pods.namespace, name)
	if err != nil {
		return podError(err)
	}
	var forwards []forward
	for _, port := range ports {
		fw, err := parseForward(f.Pod, port)
		if err != nil {
			return &exit{exitUsage, err}
		}
		forwards = append(forwards, fw)
	}
	if phase := f.Pod.Status.Phase; phase != corev1.PodRunning && !f.Lost {
		return &exit{exitFailed, fmt.Errorf("unable to forward port because pod is not running. Current status=%v", phase)}
	}
	interrupted, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancelCause(interrupted)
	defer cancel(nil)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	for _, fw := range forwards {
		listeners, err := p.listen(ctx, fw)
		if err != nil {
			return err
		}
		for _, l := range listeners {
			all.Go(func() { p.serve(ctx, l, f, fw.remote, cancel) })
		}
	}
	all.Go(func() { cancel(p.watch(ctx, f)) })
	<-ctx.Done()
	switch why := context.Cause(ctx); {
	case errors.Is(why, errPodGone):
		return &exit{exitFailed, errPodGone}
	case interrupted.Err() != nil:
		return nil
	default:
		return podError(why)
	}
}

// parseForward reads [LOCAL:]REMOTE.
func parseForward(pod *corev1.Pod, text string) (forward, error) {
	local, remote, two := strings.Cut(text, ":")
	if !two {
		remote = local
	}
	if strings.Contains(remote, ":") {
		return forward{}, fmt.Errorf("invalid port format '%s': want [LOCAL:]REMOTE", text)
	}
	var f forward
	var err error
	if f.remote, err = remotePort(pod, remote); err != nil {
		return f, err
	}
	if !two {
		f.local = f.remote
	} else if local != "" {
		n, err := strconv.ParseUint(local, 10, 16)
		if err != nil {
			return f, fmt.Errorf("error parsing local port '%s': it is no number from 0 to 65535", local)
		}
		f.local = uint16(n)
	}
	return f, nil
}

// remotePort reads the number or the name of a port of a pod.
func remotePort(pod *corev1.Pod, text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err == nil && n == 0:
		return 0, errors.New("remote port must be > 0")
	case err == nil:
		return uint16(n), nil
	}
	all, _ := containersOf(pod)
	for _, c := range all {
		for _, p := range c.Ports {
			switch {
			case text == "" || p.Name != text:
			case p.Protocol != "" && p.Protocol != corev1.ProtocolTCP:
				return 0, fmt.Errorf("port %s is of %s: only TCP ports are forwarded", text, p.Protocol)
			default:
				return uint16(p.ContainerPort), nil
			}
		}
	}
	return 0, fmt.Errorf("error parsing remote port '%s': it is no number from 1 to 65535, and no port of pod %s has that name", text, pod.Name)
}

// listen opens a forward's port on every address, or, of localhost's two, on those that the machine has.
func (p *portForwardCommand) listen(ctx context.Context, f forward) (all []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				_ = l.Close()
			}
		}
	}()
	for _, address := range p.addresses {
		ips := []string{address}
		if address == "localhost" {
			ips = []string{"127.0.0.1", "::1"}
		} else if net.ParseIP(address) == nil {
			return all, &exit{exitUsage, fmt.Errorf("%s is not a valid IP", address)}
		}
		opened := len(all)
		var errs []error
		for _, ip := range ips {
			var c net.ListenConfig
			l, err := c.Listen(ctx, "tcp", net.JoinHostPort(ip, strconv.Itoa(int(f.local))))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, l)
			if f.local == 0 { // any, but the same on all
				f.local = uint16(l.Addr().(*net.TCPAddr).Port)
			}
			p.say(p.out, "Forwarding from %s -> %d", l.Addr(), f.remote)
		}
		if len(all) == opened {
			return all, &exit{exitFailed, fmt.Errorf("unable to listen on port %d: %w", f.local, errors.Join(errs...))}
		}
	}
	return all, nil
}

// say writes a line.
func (p *portForwardCommand) say(to io.Writer, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(to, format+"\n", args...)
}

// serve forwards what connects, until ctx ends; then all connections end too. Where the pod is gone it ends it.
func (p *portForwardCommand) serve(ctx context.Context, l net.Listener, f supervisor.Found, remote uint16, end context.CancelCauseFunc) {
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.say(p.err, "podsim: %v", err)
			return
		}
		all.Go(func() {
			if p.handle(ctx, conn.(*net.TCPConn), f, remote) != nil {
				end(errPodGone)
			}
		})
	}
}

// handle forwards one connection. That the pod refuses it is said, and no more; the error is that of a pod that is gone.
func (p *portForwardCommand) handle(ctx context.Context, conn *net.TCPConn, f supervisor.Found, remote uint16) error {
	defer conn.Close()
	local := conn.LocalAddr().(*net.TCPAddr).Port
	p.say(p.out, "Handling connection for %d", local)
	to, err := dialPod(ctx, f, remote)
	switch {
	case errors.Is(err, fs.ErrNotExist): // its network namespace
		return err
	case ctx.Err() != nil:
		return nil
	case err != nil:
		p.say(p.err, "podsim: an error occurred forwarding %d -> %d: %v", local, remote, err)
		return nil
	}
	defer to.Close()
	defer context.AfterFunc(ctx, func() { _, _ = conn.Close(), to.Close() })()
	var both sync.WaitGroup
	both.Go(func() { pass(to, conn) })
	both.Go(func() { pass(conn, to) })
	both.Wait()
	return nil
}

// dialPod connects to localhost in the pod: its 127.0.0.1 or, where nothing listens there, its ::1.
func dialPod(ctx context.Context, f supervisor.Found, port uint16) (*net.TCPConn, error) {
	d := netns.Dialer{Path: netns.PinsIn(f.Pins).Net}
	var errs []error
	for _, ip := range []string{"127.0.0.1", "::1"} {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(ip, strconv.Itoa(int(port))))
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("failed to connect to localhost:%d inside pod %s: IPv4: %w, IPv6: %w", port, f.Pod.Name, errs[0], errs[1])
}

// pass passes on what comes, and then its end.
func pass(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	if err != nil { // there is nobody left on one of the two sides
		_, _ = to.Close(), from.Close()
		return
	}
	_ = to.CloseWrite()
}

// watch returns errPodGone when the pod's containers have ended.
func (p *portForwardCommand) watch(ctx context.Context, f supervisor.Found) error {
	return supervisor.Watch(ctx, p.site, f.Pod.Namespace, f.Pod.Name, func(e supervisor.Event) error {
		phase := e.Pod.Status.Phase
		if e.Type == supervisor.Deleted || e.Pod.UID != f.Pod.UID || phase == corev1.PodSucceeded || phase == corev1.PodFailed {
			return errPodGone
		}
		return nil
	})
}
