package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/internal/rundir"
	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
)

// A Found is a pod that was applied, as it is now.
type Found struct {
	Run  string      // the run's ID
	ID   string      // the pod's in the runtime: its containers are <ID>-<name>.<restartCount>
	Dir  string      // the run's directory
	Pins string      // the directory of the pod's namespace pins
	Pod  *corev1.Pod // with its status
	Lost bool        // its supervisor has died; Pod is what the timeline still tells

	site host.Site
}

// List finds the pods that were applied, by namespace and name. Those that are just coming or going are left out.
func List(ctx context.Context, site host.Site) ([]Found, error) {
	site = site.Resolved()
	claims, err := rundir.Claims(site.StateDir)
	if err != nil {
		return nil, err
	}
	var found []Found
	for _, c := range claims {
		f, err := find(ctx, site, c)
		if _, gone := errors.AsType[*NotFoundError](err); gone {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Pod.Namespace, b.Pod.Namespace), cmp.Compare(a.Pod.Name, b.Pod.Name))
	})
	return found, nil
}

// Get finds one pod; where there is none, the error is a *NotFoundError.
func Get(ctx context.Context, site host.Site, namespace, name string) (Found, error) {
	site = site.Resolved()
	claims, err := rundir.Claims(site.StateDir)
	if err != nil {
		return Found{}, err
	}
	for _, c := range claims {
		if c.Namespace == namespace && c.Name == name {
			return find(ctx, site, c)
		}
	}
	return Found{}, &NotFoundError{namespace, name}
}

// answerPatience is how long a supervisor that lives may fail to answer: far longer than its start and its end take.
const answerPatience = 10 * time.Second

// find asks a claim's supervisor for its pod, or its timeline where the supervisor has died.
func find(ctx context.Context, site host.Site, c rundir.Claim) (Found, error) {
	id := host.FirstPodID(c.Run)
	f := Found{Run: c.Run, ID: id, Dir: rundir.DirOf(site.StateDir, c.Run), Pins: site.PodDir(id), site: site}
	patient, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	for {
		err := f.call(patient, http.MethodGet, "/pod", nil, &f.Pod)
		if err == nil {
			return f, nil
		}
		if ctx.Err() != nil {
			return f, context.Cause(ctx)
		}
		alive, aerr := rundir.Alive(site.StateDir, c.Run)
		switch {
		case aerr != nil:
			return f, aerr
		case alive && !unreachable(err):
			return f, err
		case !alive:
			return f.lost(c)
		}
		// It has claimed its name and does not listen yet, or it is about to go.
		select {
		case <-time.After(5 * time.Millisecond):
		case <-patient.Done():
			if ctx.Err() != nil {
				return f, context.Cause(ctx)
			}
			return f.silent(c)
		}
	}
}

// silent tells a pod whose supervisor lives and does not answer.
func (f Found) silent(c rundir.Claim) (Found, error) {
	f, err := f.lost(c)
	if err == nil {
		f.Pod.Status.Message = fmt.Sprintf("The process that runs the pod has not answered for %s; this is what it saw last.", answerPatience)
	}
	return f, err
}

// lost tells a pod from its timeline, and what cannot be told of it from its name.
func (f Found) lost(c rundir.Claim) (Found, error) {
	f.Pod, f.Lost = &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}}, true
	if _, err := os.Lstat(f.Dir); errors.Is(err, fs.ErrNotExist) { // it is gone
		return f, &NotFoundError{c.Namespace, c.Name}
	}
	why := "The process that ran the pod has died; this is what it saw last."
	h, v, err := f.Timeline()
	switch {
	case err != nil:
		why = "The process that ran the pod has died, and nothing tells what it saw: " + err.Error()
	case len(h.Pods) == 0:
		why = "The process that ran the pod has died, and its timeline names no pod."
	default:
		p, _ := objectOf(h.Pods[0], v, h.Begin).current()
		f.Pod = p.DeepCopy()
		if failure := failureIn(v); failure != "" {
			why = "The process that ran the pod has failed: " + failure
		}
	}
	f.Pod.Status.Message = why
	if phase := f.Pod.Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed { // PH-07
		f.Pod.Status.Phase, f.Pod.Status.Reason = corev1.PodUnknown, ReasonLost
	}
	return f, nil
}

// failureIn is what ended a run that was not to end.
func failureIn(v timeline.View) string {
	if v.Len() == 0 || v.At(v.Len()).Note != pod.NoteEnded {
		return ""
	}
	return v.At(v.Len()).Detail
}

// Timeline reads what has happened to the pod so far. A last record that is being written is left out.
func (f Found) Timeline() (timeline.Header, timeline.View, error) {
	file, err := rundir.OpenTimeline(f.Dir)
	if err != nil {
		return timeline.Header{}, timeline.View{}, err
	}
	defer file.Close()
	h, v, _, err := timeline.Read(file)
	return h, v, err
}

// client speaks to the pod's supervisor.
func (f Found) client() *http.Client {
	path := f.site.Socket(f.Run)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
}

// unreachable reports whether nobody was there to be asked.
func unreachable(err error) bool {
	_, isURL := errors.AsType[*url.Error](err)
	return isURL
}

// call asks the supervisor. What it refuses comes back as the error that it was.
func (f Found) call(ctx context.Context, method, path string, body, into any) error {
	r, err := f.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return &url.Error{Op: method, URL: path, Err: err} // it died as it answered
	}
	return nil
}

func (f Found) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode what is asked for: %w", err)
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://podsim"+path, in)
	if err != nil {
		return nil, err
	}
	answer, err := f.client().Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	var why failure
	if err := json.NewDecoder(answer.Body).Decode(&why); err != nil {
		return nil, fmt.Errorf("ask the supervisor of pod %s: %s", f.Run, answer.Status)
	}
	return nil, why.err()
}

// Delete asks for the pod's deletion, with grace seconds instead of its own if that is not nil, and returns when that
// is accepted; a later call can only shorten (TM-09). Of a lost pod, what is left is taken away. AwaitGone waits for
// the end.
func (f Found) Delete(ctx context.Context, c Host, grace *int64) error {
	if f.Lost {
		_, err := host.Clean(ctx, Request{Host: c}.config(), f.Run)
		return err
	}
	path := "/delete"
	if grace != nil {
		path += "?gracePeriodSeconds=" + strconv.FormatInt(*grace, 10)
	}
	var p corev1.Pod
	err := f.call(ctx, http.MethodPost, path, nil, &p)
	if errors.Is(err, errGone) || unreachable(err) && f.isGone() {
		return nil
	}
	return err
}

func (f Found) isGone() bool {
	alive, err := rundir.Alive(f.site.StateDir, f.Run)
	return err == nil && !alive
}

// AwaitGone waits until nothing is left of the pod, nor of its supervisor.
func (f Found) AwaitGone(ctx context.Context) error {
	for {
		alive, err := rundir.Alive(f.site.StateDir, f.Run)
		if err != nil || !alive {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// AddEphemeral adds an ephemeral container, and returns when the pod has it (EC-01).
func (f Found) AddEphemeral(ctx context.Context, c corev1.EphemeralContainer) error {
	if f.Lost {
		return &LostError{f.Pod.Namespace, f.Pod.Name}
	}
	var p corev1.Pod
	return f.call(ctx, http.MethodPost, "/ephemeral", c, &p)
}
