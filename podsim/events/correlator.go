package events

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What the kubelet's recorder does, as client-go has it (tools/record/events_cache.go).
const (
	// Events of one pod that differ in nothing but the message are combined from the tenth message on, until for
	// combineWindow nothing like them has come.
	combineFrom   = 10
	combineWindow = 10 * time.Minute
	combinedWords = "(combined from similar events): "
	// One pod may have spamBurst events of one type, and one more every spamRefill; the others are dropped.
	spamBurst  = 25
	spamRefill = 5 * time.Minute
)

// A correlator counts the events of one pod.
type correlator struct {
	events  []corev1.Event // in the order in which they first came
	byKey   map[string]*counted
	similar map[string]*group
	budgets map[string]*budget // by type
	names   map[string]bool
}

// A counted event is one of which the recorder remembers how often it came; index is its place among the events, -1 if
// it has been dropped whenever it came.
type counted struct {
	event corev1.Event
	index int
}

// A group is the messages of similar events.
type group struct {
	messages []string
	last     time.Time
}

// A budget is how many events may still be said.
type budget struct {
	tokens float64
	at     time.Time
}

func newCorrelator() correlator {
	return correlator{byKey: map[string]*counted{}, similar: map[string]*group{}, budgets: map[string]*budget{}, names: map[string]bool{}}
}

// add takes an event that came at a time, which is its own first and last one, and reports which of the events changed
// by it; ok is false if none did.
func (c *correlator) add(e corev1.Event, at time.Time) (index int, ok bool) {
	e.Name = c.name(e.InvolvedObject.Name, at)
	key := strings.Join([]string{e.InvolvedObject.FieldPath, e.Type, e.Reason, e.Message}, "\x00")
	if combined := c.combine(e, at); combined != "" {
		key, e.Message, e.ReportingController, e.ReportingInstance = combined, combinedWords+e.Message, "", ""
	}
	known := c.byKey[key]
	if known == nil {
		known = &counted{event: e, index: -1}
		c.byKey[key] = known
	} else {
		delete(c.names, e.Name)
		message, last, count := e.Message, e.LastTimestamp, known.event.Count+1
		e = known.event
		e.Message, e.LastTimestamp, e.Count = message, last, count
		known.event = e
	}
	if !c.afford(e.Type, at) {
		return 0, false
	}
	if known.index < 0 {
		known.index = len(c.events)
		c.events = append(c.events, e)
	} else {
		c.events[known.index] = e
	}
	return known.index, true
}

// put takes an event that is nobody's to count.
func (c *correlator) put(e corev1.Event) (index int) {
	c.events = append(c.events, e)
	return len(c.events) - 1
}

// name is an event's name, <pod>.<nanoseconds in hex>. Of several at one instant, each later one is a nanosecond later.
func (c *correlator) name(pod string, at time.Time) string {
	for n := at.UnixNano(); ; n++ {
		if name := fmt.Sprintf("%s.%x", pod, n); !c.names[name] {
			c.names[name] = true
			return name
		}
	}
}

// combine returns the key under which an event is combined with others, empty if it stands for itself. The recorder
// drops a message at random where it has too many; here the first ones stay.
func (c *correlator) combine(e corev1.Event, at time.Time) string {
	key := "combined\x00" + e.Type + "\x00" + e.Reason
	g := c.similar[key]
	if g == nil || at.Sub(g.last) > combineWindow {
		g = &group{}
		c.similar[key] = g
	}
	g.last = at
	switch {
	case slices.Contains(g.messages, e.Message):
		return ""
	case len(g.messages)+1 < combineFrom:
		g.messages = append(g.messages, e.Message)
		return ""
	}
	return key
}

// afford takes an event of a type from its budget, and reports whether there was one.
func (c *correlator) afford(eventType string, at time.Time) bool {
	b := c.budgets[eventType]
	if b == nil {
		b = &budget{tokens: spamBurst, at: at}
		c.budgets[eventType] = b
	}
	if passed := at.Sub(b.at); passed > 0 {
		b.tokens = min(spamBurst, b.tokens+passed.Seconds()/spamRefill.Seconds())
		b.at = at
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
