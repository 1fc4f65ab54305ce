package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/events"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// Load reads a side: a file, or all .json and .jsonl files of a directory. podName says which pod is meant where a
// timeline or a recording has several; empty where there is one.
func Load(path, podName string) (*Recording, error) {
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read a recording: %w", err)
	} else if info.IsDir() {
		files = nil
		for _, pattern := range []string{"*.json", "*.jsonl"} {
			found, err := filepath.Glob(filepath.Join(path, pattern))
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		}
		slices.Sort(files)
		if len(files) == 0 {
			return nil, fmt.Errorf("read a recording: %s has no .json or .jsonl files", path)
		}
	}
	r := &Recording{Name: path}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = r.read(text, podName)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
	if len(files) > 1 || r.Merged || slices.ContainsFunc(r.Events, func(e Event) bool { return e.Lane != LaneLines }) {
		r.sort()
	}
	return r, nil
}

// read adds a file, whatever its form.
func (r *Recording) read(text []byte, podName string) error {
	var probe struct {
		Version string          `json:"version"`
		Event   string          `json:"event"`
		Kind    string          `json:"kind"`
		Type    string          `json:"type"`
		Object  json.RawMessage `json:"object"`
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&probe); err != nil {
		return fmt.Errorf("it is neither a timeline nor a recording: %w", err)
	}
	switch {
	case probe.Version == timeline.Version:
		h, v, _, err := timeline.Read(bytes.NewReader(text))
		if err != nil {
			return err
		}
		return r.timeline(h, v, podName)
	case probe.Event != "":
		return r.lines(bytes.NewReader(text))
	case probe.Kind != "" || probe.Object != nil:
		return r.kubectl(bytes.NewReader(text), podName)
	}
	return errors.New("it is neither a timeline of podsim's nor a recording in one of the forms that README.md names")
}

// timeline adds a pod's part of a timeline.
func (r *Recording) timeline(h timeline.Header, v timeline.View, podName string) error {
	i := slices.IndexFunc(h.Pods, func(p *corev1.Pod) bool { return p.Name == podName })
	switch {
	case podName == "" && len(h.Pods) == 1:
		i = 0
	case podName == "":
		return fmt.Errorf("it is of %d pods: say which one with --pod", len(h.Pods))
	case i < 0:
		return fmt.Errorf("it has no pod %q", podName)
	}
	r.Pod = h.Pods[i]
	h.Pods = h.Pods[i : i+1]
	r.tells(Whats()...)
	recorder := events.NewRecorder(h)
	var tells teller
	var reports reporter
	var status pod.Status
	p := r.Pod.DeepCopy()
	for rec := range v.All() {
		if rec.Action.Pod != r.Pod.Name {
			continue
		}
		for _, e := range recorder.Add(rec) {
			r.add(tells.add(&e, rec.Time, rec.Time), LaneLines, rec.Seq)
		}
		next, err := status.Apply(rec.Event)
		if err != nil {
			return fmt.Errorf("record %d: %w", rec.Seq, err)
		}
		if status = next; rec.Kind == pod.Began && rec.Action.Op == pod.OpUpdate {
			p = rec.Action.Spec.DeepCopy()
		}
		p.Status = status.PodStatus(p, rec.Time)
		r.add(reports.add(p, rec.Time), LaneLines, rec.Seq)
	}
	return nil
}

// add adds events that were told together.
func (r *Recording) add(list []Event, lane Lane, seq int) {
	for _, e := range list {
		e.Lane, e.Seq = lane, seq
		r.Events = append(r.Events, e)
	}
}

// A line is an event in the plain form.
type line struct {
	Time      time.Time `json:"time,omitzero"`
	Event     What      `json:"event"`
	Container string    `json:"container,omitempty"`
	Instance  int       `json:"instance,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}

// lines adds events in the plain form. Each comes after those before it.
func (r *Recording) lines(in io.Reader) error {
	r.tells(Whats()...)
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		var l line
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if l.Event == 0 || l.Event.OfPod() != (l.Container == "") {
			return fmt.Errorf("line %d: an event of a container needs one, and an event of the pod has none", n)
		}
		r.Events = append(r.Events, Event{What: l.Event, Container: l.Container, Instance: l.Instance, Detail: l.Detail, From: l.Time, To: l.Time, Lane: LaneLines, Seq: n})
	}
	return scan.Err()
}

// WriteLines writes events in the plain form, for people and for other programs. What is not known of their order is lost:
// read again, they are in the order of the lines.
func WriteLines(w io.Writer, list []Event) error {
	for _, e := range list {
		text, err := json.Marshal(line{Time: e.From, Event: e.What, Container: e.Container, Instance: e.Instance, Detail: e.Detail})
		if err == nil {
			_, err = w.Write(append(text, '\n'))
		}
		if err != nil {
			return fmt.Errorf("write events: %w", err)
		}
	}
	return nil
}

// kubectl adds what kubectl printed: objects, lists of them, or watch events, one after the other.
func (r *Recording) kubectl(in io.Reader, podName string) error {
	k := kubectlReader{r: r, pod: podName}
	for d := json.NewDecoder(in); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		switch {
		case errors.Is(err, io.EOF):
			return k.end()
		case errors.Is(err, io.ErrUnexpectedEOF): // it was interrupted as it wrote
			return k.end()
		case err != nil:
			return err
		}
		if err := k.object(raw, false); err != nil {
			return err
		}
	}
}

// A kubectlReader reads one file of kubectl's.
type kubectlReader struct {
	r       *Recording
	pod     string
	tells   teller
	reports reporter
	seq     int
	listed  []*corev1.Event // not watched: their order is not known
}

// object takes one object, whatever it is.
func (k *kubectlReader) object(raw json.RawMessage, watched bool) error {
	var o struct {
		Kind   string            `json:"kind"`
		Type   string            `json:"type"`
		Object json.RawMessage   `json:"object"`
		Items  []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	switch {
	case o.Object != nil:
		return k.object(o.Object, true)
	case strings.HasSuffix(o.Kind, "List"):
		for _, item := range o.Items {
			if err := k.object(item, false); err != nil {
				return err
			}
		}
		return nil
	case o.Kind == "Event":
		var e corev1.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		k.event(&e, watched)
		return nil
	case o.Kind == "Pod":
		var p corev1.Pod
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		return k.version(&p)
	}
	return fmt.Errorf("it has an object of kind %q: only events and pods can be read", o.Kind)
}

// event takes an event, as it is now.
func (k *kubectlReader) event(e *corev1.Event, watched bool) {
	if e.InvolvedObject.Kind != "Pod" || k.pod != "" && e.InvolvedObject.Name != k.pod {
		return
	}
	k.r.tells(toldKinds...)
	if !watched {
		k.listed = append(k.listed, e)
		return
	}
	from, to := second(e.LastTimestamp.Time)
	if e.Count <= 1 {
		from, to = firstTime(e)
	}
	k.seq++
	k.r.add(k.tells.add(e, from, to), LaneEvents, k.seq)
}

// version takes a version of the pod.
func (k *kubectlReader) version(p *corev1.Pod) error {
	if k.pod != "" && p.Name != k.pod {
		return nil
	}
	if k.r.Pod == nil {
		k.r.Pod = p
	}
	if k.r.Pod.Name != p.Name {
		return fmt.Errorf("it is of several pods, %s and %s: say which one with --pod", k.r.Pod.Name, p.Name)
	}
	k.r.Merged = true
	k.r.tells(reportedKinds...)
	k.seq++
	k.r.add(k.reports.add(p, time.Time{}), LaneStatus, k.seq)
	return nil
}

// end takes the events of lists. Each tells its first and its last time alone, so that of a step that came more often
// nobody knows when.
func (k *kubectlReader) end() error {
	var all []Event
	for _, e := range k.listed {
		what, _ := kindOf(e.Reason, e.Message)
		if e.Count > 2 && (what.starts() || what == Killing) {
			return fmt.Errorf("the event %s of %s came %d times, and a list tells only the first and the last time: record with `kubectl get events --watch --output-watch-events -o json`",
				e.Reason, e.InvolvedObject.FieldPath, e.Count)
		}
		from, to := firstTime(e)
		first, last := *e, *e
		first.Count = 1
		all = append(all, occurrence(&first, from, to)...)
		if e.Count > 1 {
			from, to = second(e.LastTimestamp.Time)
			all = append(all, occurrence(&last, from, to)...)
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.From.Compare(b.From) })
	var count teller
	count.created = map[string]int{}
	for i := range all {
		e := &all[i]
		e.Instance = count.instance(e.Container, e.What, e.Detail)
	}
	k.r.Events = append(k.r.Events, all...)
	return nil
}

// occurrence is one time that an event came.
func occurrence(e *corev1.Event, from, to time.Time) []Event {
	var t teller
	list := t.add(e, from, to)
	return list[:min(len(list), 1)]
}
