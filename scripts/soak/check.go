package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/supervisor"
	"github.com/podsim/podsim/podsim/timeline"
)

// A checker holds the versions of one pod, in order, to the records of its run. It is told of both as they come; the
// versions that cannot be placed yet, since their records were not read, wait.
type checker struct {
	pod     *corev1.Pod // as the timeline's header has it
	records []timeline.Record
	waiting []shown

	// at is how many records the version placed last was made of, status what they fold to, said what it says.
	at     int
	status pod.Status
	said   *corev1.PodStatus
	placed []string // which versions were, in words
}

// A shown version is one with the time at which it was seen.
type shown struct {
	supervisor.Event
	seen time.Time
}

// add takes records and versions, at now, and places as many of the versions as it can. The error says what does not
// fit.
func (c *checker) add(now time.Time, records []timeline.Record, versions ...shown) error {
	c.records = append(c.records, records...)
	c.waiting = append(c.waiting, versions...)
	for c.pod != nil && len(c.waiting) > 0 {
		v := c.waiting[0]
		ok, err := c.place(v, now)
		if !ok || err != nil {
			return err
		}
		if seen, is := v.Pod.Status.ObservedGeneration, v.Pod.Generation; seen != is {
			return c.unplaced(v, fmt.Sprintf("its status is of generation %d, and it is of %d", seen, is))
		}
		c.placed = append(c.placed, fmt.Sprintf("version %s (%s, seen %s) is record %d's", v.Pod.ResourceVersion, v.Type, v.seen.Format("15:04:05.000"), c.at))
		c.waiting = c.waiting[1:]
	}
	return nil
}

// overdue returns an error if a version has waited for its records since before a time.
func (c *checker) overdue(before time.Time) error {
	if len(c.waiting) > 0 && c.waiting[0].seen.Before(before) {
		return c.unplaced(c.waiting[0], "no point of the timeline is like it; the last one says (-timeline +shown):\n"+cmp.Diff(plain(c.said), plain(&c.waiting[0].Pod.Status)))
	}
	return nil
}

// end checks, when the run is over and all of it was told, that nothing is left to place or to be shown.
func (c *checker) end() error {
	if len(c.waiting) > 0 {
		return c.overdue(c.waiting[0].seen.Add(1))
	}
	next, _, err := c.next()
	if err == nil && next != nil {
		return fmt.Errorf("pod %s: the timeline has a change after record %d that was never shown:\n%s", c.pod.Name, c.at, cmp.Diff(c.said, next.said))
	}
	return err
}

// A point is a place of the timeline, and what is to be said of the pod at it.
type point struct {
	at     int
	status pod.Status
	time   time.Time
	said   *corev1.PodStatus
}

// next returns the first point after the placed one at which something else is to be said, nil if there is none so far,
// and the points before it, at which only time could change what is said.
func (c *checker) next() (next *point, still []point, err error) {
	status := c.status
	if c.at > 0 {
		still = append(still, point{c.at, status, c.records[c.at-1].Time, c.said})
	}
	for i := c.at; i < len(c.records); i++ {
		r := c.records[i]
		if r.Action.Pod != c.pod.Name {
			continue
		}
		if status, err = status.Apply(r.Event); err != nil {
			return nil, nil, fmt.Errorf("pod %s: record %d: %w", c.pod.Name, r.Seq, err)
		}
		said := status.PodStatus(c.pod, r.Time)
		p := point{i + 1, status, r.Time, &said}
		if c.said != nil && encoded(&said) != encoded(c.said) {
			return &p, still, nil
		}
		still = append(still, p)
	}
	return nil, still, nil
}

// place finds the point of which a version was made. ok is false where the records that it was made of may be to come.
func (c *checker) place(v shown, now time.Time) (ok bool, err error) {
	text := encoded(&v.Pod.Status)
	if c.said == nil {
		return c.begin(v, text)
	}
	if encoded(c.said) == text { // something else of the object has changed, or it is DELETED
		return true, nil
	}
	next, still, err := c.next()
	if err != nil {
		return false, err
	}
	if next != nil && encoded(next.said) == text {
		c.take(*next)
		return true, nil
	}
	if next == nil && now.Sub(v.seen) < settled {
		return false, nil
	}
	// The newest point, since what was said before it at another time is said no more.
	for _, p := range slices.Backward(still) {
		if p.time.After(v.seen) {
			continue
		}
		if said := later(p, c.pod, v.seen, text); said != nil {
			p.said = said
			c.take(p)
			return true, nil
		}
	}
	if next != nil {
		return false, c.unplaced(v, fmt.Sprintf("after record %d, by %s %s %s, the timeline says (-timeline +shown):\n%s", next.at,
			c.records[next.at-1].Kind, c.records[next.at-1].Action.Op, c.records[next.at-1].Action.Container, cmp.Diff(plain(next.said), plain(&v.Pod.Status))))
	}
	return false, nil
}

// settled is how long after a version was seen all records are there of which it can be made. Where there are none by
// then, time alone has changed it.
const settled = time.Second

func (c *checker) take(p point) { c.at, c.status, c.said = p.at, p.status, p.said }

// begin places the first version, wherever the timeline had come to when it was shown.
func (c *checker) begin(v shown, text string) (ok bool, err error) {
	var status pod.Status
	if said := status.PodStatus(c.pod, v.seen); encoded(&said) == text {
		c.take(point{said: &said})
		return true, nil
	}
	for i, r := range c.records {
		if r.Action.Pod != c.pod.Name {
			continue
		}
		if status, err = status.Apply(r.Event); err != nil {
			return false, fmt.Errorf("pod %s: record %d: %w", c.pod.Name, r.Seq, err)
		}
		if said := status.PodStatus(c.pod, r.Time); encoded(&said) == text {
			c.take(point{i + 1, status, r.Time, &said})
			return true, nil
		}
	}
	return false, nil
}

// refreshes are how long before a version was seen it may have been made, where time alone changed it.
var refreshes = []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// later returns what a point has said of it some time after it, if that is what was shown.
func later(p point, spec *corev1.Pod, seen time.Time, text string) *corev1.PodStatus {
	for _, ago := range refreshes {
		at := seen.Add(-ago)
		if at.Before(p.time) {
			at = p.time
		}
		if said := p.status.PodStatus(spec, at); encoded(&said) == text {
			return &said
		}
	}
	return nil
}

// unplaced says that a version is not of the timeline, with what came before it.
func (c *checker) unplaced(v shown, why string) error {
	var b strings.Builder
	for _, p := range c.placed[max(0, len(c.placed)-5):] {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	for _, r := range c.records[max(0, c.at-5):min(len(c.records), c.at+12)] {
		fmt.Fprintf(&b, "  %4d %s %s %s %s[%d]\n", r.Seq, r.Time.Format("15:04:05.000"), r.Kind, r.Action.Op, r.Action.Container, r.Action.Instance)
	}
	return fmt.Errorf("pod %s: version %s (%s, seen %s) is not consistent with the timeline, of which record %d was the last that fits: %s\nbefore it:\n%s",
		v.Pod.Name, v.Pod.ResourceVersion, v.Type, v.seen.Format("15:04:05.000"), c.at, why, b.String())
}

// encoded is a status as it travels: its times are whole seconds then.
func encoded(s *corev1.PodStatus) string {
	if s != nil { // the generation is the object's, of which the timeline knows nothing
		s = s.DeepCopy()
		s.ObservedGeneration = 0
		for i := range s.Conditions {
			s.Conditions[i].ObservedGeneration = 0
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encode a pod's status: %v", err)) // it always can be
	}
	return string(text)
}

// plain is a status as it arrives; nil: as the zero one.
func plain(s *corev1.PodStatus) *corev1.PodStatus {
	if s == nil {
		return &corev1.PodStatus{}
	}
	var out corev1.PodStatus
	if err := json.Unmarshal([]byte(encoded(s)), &out); err != nil {
		panic(fmt.Sprintf("decode a pod's status: %v", err)) // it was just encoded
	}
	return &out
}
