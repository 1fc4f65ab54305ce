package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/podsim/podsim/podsim"
	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// errInterrupted is the cause of a run that the user broke off.
var errInterrupted = errors.New("interrupted")

// A job is one run, wired: a host that is open, a director, and who is told.
type job struct {
	pods     []*corev1.Pod
	config   host.Config
	director podsim.Director
	kubelet  pod.Kubelet // of a job without a director
	sinks    []timeline.Sink
	// keep is a further file for the timeline, beside the run's own; empty: none.
	keep string
	asks <-chan pod.Action
}

// drive opens the host, drives the run, and closes the host again. The view is that of the run, also if it failed.
func (j job) drive(ctx context.Context) (h timeline.Header, v timeline.View, err error) {
	for _, p := range j.pods {
		if p.UID == "" { // as an API server does; one in the manifest is kept
			p.UID = uuid.NewUUID()
		}
	}
	machine, err := host.Open(ctx, j.config)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return h, v, errInterrupted
	}
	if err != nil {
		return h, v, err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	h = timeline.Header{ID: machine.ID(), Begin: time.Now(), Podsim: version, Pods: j.pods}
	own, err := machine.Timeline()
	if err != nil {
		return h, v, errors.Join(err, machine.Reap(context.WithoutCancel(ctx)))
	}
	files := []io.WriteCloser{own}
	if j.keep != "" {
		kept, err := os.Create(j.keep)
		if err != nil {
			return h, v, errors.Join(&exit{exitUsage, err}, own.Close(), machine.Reap(context.WithoutCancel(ctx)))
		}
		files = append(files, kept)
	}
	var writers []*timeline.Writer
	sinks := j.sinks
	for _, f := range files {
		w := timeline.NewWriter(f, h)
		writers = append(writers, w)
		sinks = append(sinks, w)
	}
	r := podsim.Run{Pods: j.pods, Host: machine, Director: j.director, Kubelet: j.kubelet, Asks: j.asks, Notes: machine.Notes(), Sinks: sinks}
	v, err = r.Drive(ctx)
	for i, w := range writers {
		err = errors.Join(err, w.Flush(), files[i].Close())
	}
	return h, v, err
}

// interrupts calls each at every Ctrl-C, TERM and hang-up, with their number from 1, until stop is called. Meanwhile a
// reader of our output that goes away does not end this process: what it made would stay.
func interrupts(each func(n int)) (stop func()) {
	signals := make(chan os.Signal, 4)
	done, joined := make(chan struct{}), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		defer close(joined)
		for n := 1; ; n++ {
			select {
			case <-signals:
				each(n)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		signal.Reset(syscall.SIGPIPE)
		close(done)
		<-joined
	}
}

// driveError gives an error of a run its exit code.
func driveError(err error) error {
	var left *podsim.ReapError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &left):
		return &exit{exitLeft, fmt.Errorf("%w\n(podsim clean tries again)", err)}
	case errors.Is(err, errInterrupted):
		return &exit{exitInterrupted, nil}
	}
	return hostError(err)
}

// terminal reports whether w is one, and its file descriptor.
func terminal(w io.Writer) (fd int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}
