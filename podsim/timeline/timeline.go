package timeline

import (
	"iter"
	"time"

	"github.com/podsim/podsim/podsim/pod"
	corev1 "k8s.io/api/core/v1"
)

// Version is the form of the file. A reader refuses any other.
const Version = "podsim.timeline/v1"

// A Header is the first line of a timeline's file: what must be known to read the rest.
type Header struct {
	Version string    `json:"version"`
	ID      string    `json:"id"` // the run's ID
	Begin   time.Time `json:"begin"`
	Podsim  string    `json:"podsim,omitempty"` // podsim's own version
	// Pods are the run's pods as the planner saw them, defaults filled in.
	Pods []*corev1.Pod `json:"pods,omitempty"`
	// Notes state what makes this run differ from a plain one: a scaled back-off, a weaker ledger.
	Notes []string `json:"notes,omitempty"`
}

// A Record is one event with its place in the log.
type Record struct {
	// Seq counts records from 1. The order of Seq is the order of folding; that of Time is the order in the world.
	Seq int `json:"seq"`
	pod.Event
}

// A Sink is told of every record, in order, on the driver's own goroutine. It must not block for long, and
// cannot influence the run.
type Sink interface {
	Record(Record)
}

// A Log is a run's growing timeline. Its zero value is empty and ready. It is not safe for concurrent use:
// the driver owns it. The Views it gives may be kept and read from anywhere.
type Log struct {
	records []Record
}

// Append adds an event and returns its record.
func (l *Log) Append(e pod.Event) Record {
	r := Record{Seq: len(l.records) + 1, Event: e}
	l.records = append(l.records, r)
	return r
}

// View returns the log as it stands. Later appends do not change it.
func (l *Log) View() View { return View{records: l.records[:len(l.records):len(l.records)]} }

// A View is a timeline as it stood at one moment. Its zero value is an empty timeline.
type View struct {
	records []Record
}

// Of returns a view of records, which must be in order of Seq without gaps, from 1.
func Of(records []Record) View { return View{records: records} }

// Len is the number of records.
func (v View) Len() int { return len(v.records) }

// At returns the record with the given sequence number, from 1 to Len.
func (v View) At(seq int) Record { return v.records[seq-1] }

// Since yields the records after the given sequence number, in order.
func (v View) Since(seq int) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, r := range v.records[min(seq, len(v.records)):] {
			if !yield(r) {
				return
			}
		}
	}
}

// All yields every record in order.
func (v View) All() iter.Seq[Record] { return v.Since(0) }

// Until returns the view of the first n records.
func (v View) Until(n int) View { return View{records: v.records[:min(n, len(v.records))]} }
