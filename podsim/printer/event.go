package printer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// SortEvents sorts events by when they last came. Those of one moment keep their order.
func SortEvents(list []corev1.Event) {
	slices.SortStableFunc(list, func(a, b corev1.Event) int { return lastSeen(a).Compare(lastSeen(b)) })
}

func lastSeen(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}

// EventHeaders are the headers of a table of EventRows.
func EventHeaders(c Columns) []string {
	return append(c.front("EVENT", "NAMESPACE"), "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
}

// EventRow is an event's row as `kubectl events` shows it: with how often and for how long it has come.
func EventRow(e corev1.Event, c Columns, now time.Time) []string {
	return append(c.front("", e.Namespace), interval(e, now), e.Type, e.Reason,
		e.InvolvedObject.Kind+"/"+e.InvolvedObject.Name, strings.TrimSpace(e.Message))
}

// interval says how long ago an event came, and how often before.
func interval(e corev1.Event, now time.Time) string {
	first := sinceMicro(e.EventTime, now)
	if e.EventTime.IsZero() {
		first = since(e.FirstTimestamp, now)
	}
	switch {
	case e.Series != nil:
		return fmt.Sprintf("%s (x%d over %s)", sinceMicro(e.Series.LastObservedTime, now), e.Series.Count, first)
	case e.Count > 1:
		return fmt.Sprintf("%s (x%d over %s)", since(e.LastTimestamp, now), e.Count, first)
	}
	return first
}

// GetEventHeaders are the headers of a table of GetEventRows.
func GetEventHeaders(c Columns) []string {
	headers := append(c.front("EVENT", "NAMESPACE"), "LAST SEEN", "TYPE", "REASON", "OBJECT")
	if c.Wide {
		return append(headers, "SUBOBJECT", "SOURCE", "MESSAGE", "FIRST SEEN", "COUNT", "NAME")
	}
	return append(headers, "MESSAGE")
}

// GetEventRow is an event's row as `kubectl get events` shows it. watched is the type of its watch event, if that is a
// column.
func GetEventRow(e corev1.Event, c Columns, watched string, now time.Time) []string {
	first := since(e.FirstTimestamp, now)
	if e.FirstTimestamp.IsZero() {
		first = sinceMicro(e.EventTime, now)
	}
	last := since(e.LastTimestamp, now)
	if e.LastTimestamp.IsZero() {
		last = first
	}
	count := max(e.Count, 1)
	if e.Series != nil {
		last, count = sinceMicro(e.Series.LastObservedTime, now), e.Series.Count
	}
	row := append(c.front(fmt.Sprintf("%-8s", watched), e.Namespace), last, e.Type, e.Reason, about(e))
	message := firstLine(strings.TrimSpace(e.Message))
	if !c.Wide {
		return append(row, message)
	}
	source := or(e.Source.Component, e.ReportingController)
	if host := or(e.Source.Host, e.ReportingInstance); host != "" {
		source += ", " + host
	}
	return append(row, e.InvolvedObject.FieldPath, source, message, first, strconv.Itoa(int(count)), e.Name)
}

func about(e corev1.Event) string {
	kind := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name == "" {
		return kind
	}
	return kind + "/" + e.InvolvedObject.Name
}
