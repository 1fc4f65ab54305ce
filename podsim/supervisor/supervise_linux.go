package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim"
	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// Command is the argument by which podsim's own program is a supervisor.
const Command = "__supervisor"

// A reply is a supervisor's word to the command that started it: that it has taken the pod, or why not.
type reply struct {
	Run     string   `json:"run,omitempty"`
	Failure *failure `json:"failure,omitempty"`
}

// Main is a supervisor's process: it reads a Request from its standard input, writes a reply to its standard output, and
// goes on until the pod is deleted. It returns the exit code.
func Main() int {
	var r Request
	err := json.NewDecoder(os.Stdin).Decode(&r)
	_ = os.Stdin.Close()
	if err != nil {
		fmt.Fprintf(os.Stderr, "podsim: read what is asked for: %v\n", err)
		return 2
	}
	answer := func(a reply) {
		_ = json.NewEncoder(os.Stdout).Encode(a)
		_ = os.Stdout.Close()
	}
	replied := false
	err = supervise(context.Background(), r, func(run string) { replied = true; answer(reply{Run: run}) })
	if err != nil && !replied {
		answer(reply{Failure: failureOf(err)})
		return 1
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s podsim: pod %s/%s: %v\n", time.Now().Format(time.RFC3339), r.Pod.Namespace, r.Pod.Name, err)
		return 1
	}
	return 0
}

// supervise runs a pod from its acceptance, of which taken is told, to its deletion.
func supervise(ctx context.Context, r Request, taken func(run string)) (err error) {
	machine, err := host.Open(ctx, r.config())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	s := &server{request: r, machine: machine, object: newObject(r.Pod, time.Now()), asks: make(chan pod.Action), over: make(chan struct{})}
	own, writer, err := s.begin()
	if err != nil {
		return errors.Join(err, machine.Reap(ctx))
	}
	taken(machine.ID())
	stop := s.deleteOnSignal()
	defer stop()
	tick := s.refreshNowAndThen()
	defer tick()
	run := podsim.Run{Pods: []*corev1.Pod{r.Pod}, Host: machine, Director: &director{object: s.object, kubelet: r.Kubelet}, Asks: s.asks, Notes: machine.Notes(),
		Sinks: []timeline.Sink{writer, s.object}, Forget: true, Retain: true}
	_, err = run.Drive(ctx)
	err = errors.Join(err, writer.Flush(), own.Close())
	if err != nil {
		// Something failed that is not the pod's. It is not for us to take the pod away: it is lost, its timeline says why, and
		// podsim delete or clean takes it away.
		return errors.Join(err, s.abandon())
	}
	ctx, cancel := context.WithTimeout(ctx, reapTimeout)
	defer cancel()
	if err := machine.Reap(ctx); err != nil {
		return errors.Join(err, s.abandon())
	}
	return s.close()
}

// reapTimeout bounds the removal of what is left of a pod that has gone: nobody's grace is waited for.
const reapTimeout = time.Minute

// begin takes the pod's name, begins its timeline and listens.
func (s *server) begin() (*os.File, *timeline.Writer, error) {
	err := s.machine.Claim(s.request.Pod)
	if taken, ok := errors.AsType[*rundir.ClaimedError](err); ok {
		return nil, nil, &existsError{taken.Namespace, taken.Name, taken.Run}
	}
	if err != nil {
		return nil, nil, err
	}
	own, err := s.machine.Timeline()
	if err != nil {
		return nil, nil, err
	}
	writer := timeline.NewWriter(own, timeline.Header{ID: s.machine.ID(), Begin: time.Now(), Podsim: s.request.Host.Version, Pods: []*corev1.Pod{s.request.Pod}})
	if err := errors.Join(writer.Flush(), s.listen()); err != nil {
		return nil, nil, errors.Join(err, own.Close())
	}
	return own, writer, nil
}

// deleteOnSignal has the pod deleted when the process is asked to end, as a node that is shut down does it.
func (s *server) deleteOnSignal() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		select {
		case <-signals:
			s.changing.Lock()
			defer s.changing.Unlock()
			_ = s.ask(context.Background(), pod.Action{Op: pod.OpDelete, Pod: s.request.Pod.Name, Why: "the supervisor was asked to end"})
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-joined
	}
}

// refreshPeriod is how soon the object shows what only time has changed, as soon as a kubelet does.
const refreshPeriod = time.Second

func (s *server) refreshNowAndThen() (stop func()) {
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		t := time.NewTicker(refreshPeriod)
		defer t.Stop()
		for {
			select {
			case now := <-t.C:
				s.object.refresh(now)
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-joined
	}
}

// A director accepts its pod, and goes on until the pod was deleted and is gone.
type director struct {
	object  *object
	kubelet pod.Kubelet
}

// Next asks for the pod once, and is done when it has gone for good.
func (d *director) Next(_ timeline.View, pods map[string]pod.Status, _ time.Time) pod.Plan {
	p, _ := d.object.current()
	s := pods[p.Name]
	if !s.Up() {
		return pod.Plan{Actions: []pod.Action{{Op: pod.OpUp, Pod: p.Name, Kubelet: &d.kubelet, Why: "the pod was applied"}}}
	}
	return pod.Plan{Done: s.Deleting() && s.Gone()}
}
