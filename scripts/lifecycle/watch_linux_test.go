package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A watch is one `podsim get pods -w` that all trials share; each gets the events of its own pod.
type watch struct {
	mu     sync.Mutex
	trials map[string]*trial
	broken error // why it ended

	cmd    *exec.Cmd
	joined chan struct{}
}

// startWatch starts the watch. The caller calls stop.
func startWatch(m *machine) (*watch, error) {
	w := &watch{trials: map[string]*trial{}, joined: make(chan struct{}), cmd: m.command(context.Background(), "get", "pods", "-w", "-o", "json", "--output-watch-events")}
	var said bytes.Buffer
	w.cmd.Stderr = &said
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(w.joined)
		err := w.dispatch(json.NewDecoder(out))
		w.end(fmt.Errorf("the watch ended: %w", errors.Join(err, w.cmd.Wait(), errors.New(said.String()))))
	}()
	return w, nil
}

func (w *watch) dispatch(in *json.Decoder) error {
	for {
		var e struct {
			Type   string      `json:"type"`
			Object *corev1.Pod `json:"object"`
		}
		if err := in.Decode(&e); err != nil {
			return err
		}
		w.mu.Lock()
		tr := w.trials[e.Object.Name]
		w.mu.Unlock()
		if tr != nil {
			tr.add(version{e.Type, e.Object, time.Now()})
		}
	}
}

// end tells all trials that there will be no more.
func (w *watch) end(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = why
	for _, tr := range w.trials {
		tr.cut(why)
	}
}

func (w *watch) follow(tr *trial) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trials[tr.name] = tr
	if w.broken != nil {
		tr.cut(w.broken)
	}
}

func (w *watch) leave(tr *trial) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.trials, tr.name)
}

// stop ends the watch.
func (w *watch) stop() {
	if w == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	<-w.joined
}
