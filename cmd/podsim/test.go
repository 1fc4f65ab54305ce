package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/netns/intercept"
	"github.com/podsim/podsim/netns/world"
	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
	"github.com/podsim/podsim/scenarios/report"
)

// A testCommand is what `podsim test` was asked to do.
type testCommand struct {
	*globals
	network      networkFlags
	junit, json  string
	timelines    string
	quiet        bool
	out, err     io.Writer
	shown        *console // out, while scenarios run
	style        report.Style
	imageSources *host.Images
}

func newTest(g *globals) *cobra.Command {
	t := &testCommand{globals: g}
	cmd := &cobra.Command{
		Use:   "test FILE|DIR...",
		Short: "Run scenarios",
		Long: `Run the scenarios of files and directories, one after the other, and judge them. All are loaded, and every error in
them reported, before the first begins.`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.out, t.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return t.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.junit, "junit", "", "write a JUnit report to this file")
	f.StringVar(&t.json, "json", "", "write a JSON report to this file")
	f.StringVar(&t.timelines, "timelines", "", "keep each scenario's timeline in this directory, for podsim check")
	f.BoolVarP(&t.quiet, "quiet", "q", false, "print verdicts only, not what happens")
	t.network.add(cmd)
	return cmd
}

func (t *testCommand) run(ctx context.Context, paths []string) (err error) {
	all, found := scenarios.Load(paths...)
	if err := amiss(t.err, found); err != nil {
		return err
	}
	if len(all) == 0 {
		return &exit{exitUsage, fmt.Errorf("no scenario in %s: a scenario is a YAML document of kind Scenario", strings.Join(paths, ", "))}
	}
	_, t.style.Color = terminal(t.out)
	if t.timelines != "" {
		if err := os.MkdirAll(t.timelines, 0o755); err != nil {
			return &exit{exitUsage, err}
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.shown = newConsole(t.out, t.kept(), nil)
	defer interrupts(func(int) {
		cancel(errInterrupted)
		t.shown.hurry()
	})()
	defer func() { err = t.endShow(err) }()

	if t.imageSources, err = host.OpenImages(ctx, t.config()); err != nil {
		return hostError(err)
	}
	defer func() { err = errors.Join(err, t.imageSources.Close()) }()
	var results []scenarios.Result
	var errs []error
	for _, s := range all {
		result, err := t.one(ctx, s)
		results = append(results, result)
		errs = append(errs, err)
		errs = append(errs, report.Verdict(t.shown, t.style, result))
		if ctx.Err() != nil {
			break
		}
	}
	errs = append(errs, t.report(results))
	return conclude(results, errors.Join(errs...))
}

// endShow waits until all is shown, as far as it is read. Verdicts that could not be written are not to be taken for
// good; that nobody reads them changes nothing.
func (t *testCommand) endShow(err error) error {
	cerr := t.shown.Close()
	if cerr != nil {
		say(t.err, fmt.Sprintf("podsim: %v", cerr))
	}
	if err == nil && cerr != nil && !errors.Is(cerr, errUnread) {
		return &exit{exitInconclusive, nil}
	}
	return err
}

// one runs one scenario. The error is one that decides the exit code; what broke the scenario is in the result.
func (t *testCommand) one(ctx context.Context, s *scenarios.Scenario) (scenarios.Result, error) {
	config, err := t.configOf(ctx, s)
	if err != nil {
		result := scenarios.Judge(s, timeline.Header{}, timeline.View{})
		result.Broke(err)
		return result, nil
	}
	if !t.quiet {
		fmt.Fprintf(t.shown, "\n=== %s (%s:%d)\n", s.Name, s.Pos.File, s.Pos.Line)
	}
	j := job{pods: s.Pods, config: config, director: scenarios.NewScript(s)}
	if !t.quiet {
		live := report.NewLive(t.shown, t.style, s.Pods)
		live.Steps = slices.Concat(s.Steps, s.Finally)
		j.sinks = append(j.sinks, live)
	}
	if t.timelines != "" {
		j.keep = filepath.Join(t.timelines, s.Name+".jsonl")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j.sinks = append(j.sinks, giveUp{cancel})
	h, v, err := j.drive(ctx)
	result := scenarios.Judge(s, h, v)
	result.Broke(err)
	return result, driveError(err)
}

// giveUp ends a run whose script has given up waiting for a pod to go away.
type giveUp struct{ cancel context.CancelCauseFunc }

func (g giveUp) Record(r timeline.Record) {
	if m, ok := scenarios.MarkOf(r); ok && m.GaveUp != "" {
		g.cancel(errors.New(m.GaveUp))
	}
}

// configOf is what the host must know of a scenario. Its pods get the references of the images that were made for them.
func (t *testCommand) configOf(ctx context.Context, s *scenarios.Scenario) (host.Config, error) {
	c := t.config()
	c.Pods, c.Resources = s.Pods, s.Resources
	c.World = &host.World{Offline: s.Offline, Stubs: stubsOf(s)}
	t.network.apply(&c)
	if c.NoNetwork && len(s.Stubs) == 0 {
		c.World = nil
	}
	if err := t.images(ctx, s); err != nil {
		return c, err
	}
	var err error
	c.Intercept, err = interceptOf(s.Intercept)
	return c, err
}

// images makes or loads the images that a scenario brings along, and has its pods and its update steps use them.
func (t *testCommand) images(ctx context.Context, s *scenarios.Scenario) error {
	for name, src := range s.Images {
		ref, err := t.image(ctx, name, src)
		if err != nil {
			return err
		}
		eachContainer(s.Pods, name, func(c *corev1.Container) { c.Image, c.ImagePullPolicy = ref, corev1.PullIfNotPresent })
	}
	for _, u := range s.UpdateImages() {
		ref, err := t.image(ctx, u.Container, *u.Image)
		if err != nil {
			return err
		}
		if u.Image.Binary != "" || u.Image.Archive != "" { // no registry has it
			eachContainer(s.Pods, u.Container, func(c *corev1.Container) { c.ImagePullPolicy = corev1.PullIfNotPresent })
		}
		u.Image.Reference = ref
	}
	return nil
}

// image makes or loads an image for a container, and returns its reference.
func (t *testCommand) image(ctx context.Context, container string, src scenarios.Image) (ref string, err error) {
	switch {
	case src.Binary != "" && src.Reference != "":
		ref, err = t.imageSources.Make(ctx, src.Reference, src.Binary)
	case src.Binary != "":
		ref, err = t.imageSources.FromBinary(ctx, src.Binary)
	case src.Archive != "":
		var refs []string
		if refs, err = t.imageSources.Load(ctx, src.Archive); err == nil && len(refs) != 1 {
			err = fmt.Errorf("%s holds the images %v; an image for container %s needs an archive of one", src.Archive, refs, container)
		} else if err == nil {
			ref = refs[0]
		}
	default:
		return src.Reference, nil
	}
	if err != nil {
		return "", fmt.Errorf("image of container %s: %w", container, err)
	}
	return ref, nil
}

// eachContainer calls do for the containers of a name.
func eachContainer(pods []*corev1.Pod, name string, do func(*corev1.Container)) {
	for _, p := range pods {
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				if list[i].Name == name {
					do(&list[i])
				}
			}
		}
	}
}

// tcpModes are a stub's modes by their names in a scenario.
var tcpModes = map[scenarios.TCPMode]world.Mode{
	scenarios.TCPEcho: world.Echo, scenarios.TCPBanner: world.Banner, scenarios.TCPSilent: world.Silent,
	scenarios.TCPHang: world.Hang, scenarios.TCPReset: world.Reset,
}

func stubsOf(s *scenarios.Scenario) []world.Stub {
	var out []world.Stub
	for _, in := range s.Stubs {
		stub := world.Stub{Name: in.Name, Hosts: in.Hosts, Addresses: in.Addresses}
		if h := in.HTTP; h != nil {
			stub.HTTP = &world.HTTP{Port: h.Port}
			if len(h.Routes) == 0 && in.Delay > 0 {
				stub.HTTP.Routes = []world.Route{{Status: http.StatusNotFound, Delay: in.Delay}}
			}
			// A scenario's longest path wins; the world's first.
			routes := slices.Clone(h.Routes)
			slices.SortStableFunc(routes, func(a, b scenarios.Route) int { return len(b.Path) - len(a.Path) })
			for _, r := range routes {
				route := world.Route{Path: strings.TrimSuffix(r.Path, "/") + "/*", Status: r.Status, Body: r.Body, Delay: in.Delay + r.Delay, Header: map[string][]string{}}
				for k, v := range r.Header {
					route.Header[k] = []string{v}
				}
				stub.HTTP.Routes = append(stub.HTTP.Routes, route)
			}
		}
		if p := in.TCP; p != nil {
			stub.TCP = &world.TCP{Port: p.Port, Mode: tcpModes[p.Mode], Banner: p.Banner, Delay: in.Delay}
		}
		out = append(out, stub)
	}
	return out
}

// The listeners of a proxy whose rules are its own and whose scenario names none: Istio's.
const (
	defaultOutbound = 15001
	defaultInbound  = 15006
)

func interceptOf(in *scenarios.Intercept) (*host.Intercept, error) {
	if in == nil {
		return nil, nil
	}
	out := &host.Intercept{Proxy: in.Proxy, OutboundPort: defaultOutbound, InboundPort: defaultInbound}
	if in.Outbound != 0 {
		out.OutboundPort = uint16(in.Outbound)
	}
	if in.Inbound != 0 {
		out.InboundPort = uint16(in.Inbound)
	}
	if in.Profile == "" {
		return out, nil
	}
	profile, err := intercept.ParseProfile(in.Profile)
	if err != nil {
		return nil, err
	}
	c, err := intercept.Default(profile)
	if err != nil {
		return nil, err
	}
	if in.Outbound != 0 {
		c.OutboundPort = uint16(in.Outbound)
	}
	if in.Inbound != 0 {
		c.InboundPort = uint16(in.Inbound)
	}
	c.ExcludeOutboundPorts = append(c.ExcludeOutboundPorts, ports(in.Exclude.OutboundPorts)...)
	c.ExcludeInbound = append(c.ExcludeInbound, ports(in.Exclude.InboundPorts)...)
	c.ExcludeOutbound = append(c.ExcludeOutbound, in.Exclude.CIDRs...)
	for _, uid := range in.Exclude.UIDs {
		c.ExcludeUIDs = append(c.ExcludeUIDs, uint32(uid))
	}
	include(&c, in.Include)
	out.Rules = &c
	return out, nil
}

// include restricts what is captured to what a scenario names.
func include(c *intercept.Config, in scenarios.Selection) {
	if len(in.CIDRs) > 0 || len(in.OutboundPorts) > 0 {
		c.IncludeOutbound = intercept.CIDRs{List: append([]netip.Prefix(nil), in.CIDRs...)}
		c.IncludeOutboundPorts = ports(in.OutboundPorts)
	}
	if len(in.InboundPorts) > 0 {
		c.IncludeInbound = intercept.Ports{List: ports(in.InboundPorts)}
	}
}

func ports(list []int) []intercept.PortRange {
	var out []intercept.PortRange
	for _, p := range list {
		out = append(out, intercept.Port(uint16(p)))
	}
	return out
}

// report writes the reports that were asked for, and the summary.
func (t *testCommand) report(results []scenarios.Result) error {
	return errors.Join(
		writeReport(t.junit, func(w io.Writer) error { return report.JUnit(w, results) }),
		writeReport(t.json, func(w io.Writer) error { return report.JSON(w, results) }),
		report.Summary(t.shown, t.style, results))
}

func writeReport(file string, write func(io.Writer) error) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return errors.Join(write(f), f.Close())
}

// conclude is the exit code of all results together. What could not be removed outweighs a verdict.
func conclude(results []scenarios.Result, err error) error {
	if e, ok := errors.AsType[*exit](err); ok {
		return e
	}
	if err != nil && !slices.ContainsFunc(results, func(r scenarios.Result) bool { return r.Outcome == scenarios.Errored }) {
		return err
	}
	if code := report.ExitCode(results); code != exitOK {
		return &exit{code, nil}
	}
	return nil
}
