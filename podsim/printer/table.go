package printer

import (
	"bufio"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Widths of a table's columns, in characters.
const (
	minWidth = 6
	padding  = 3
)

// A Table prints rows in columns. What is flushed is on its way; later rows keep at least the columns' widths, so that
// the table of a watch stays in line. It is not safe for concurrent use.
type Table struct {
	out     io.Writer
	headers []string // nil once they are printed
	rows    [][]string
	widths  []int
}

// NewTable returns a table that begins with a line of headers, with none if there are no headers. A header is only
// printed with the first row.
func NewTable(out io.Writer, headers ...string) *Table {
	return &Table{out: out, headers: headers}
}

// Row adds a row. The cells are made safe for a terminal.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = escape(c)
	}
	t.rows = append(t.rows, row)
}

// Flush prints the rows so far. Before the first row it prints nothing.
func (t *Table) Flush() error {
	rows := t.rows
	switch {
	case len(rows) == 0:
		return nil
	case t.headers != nil:
		rows, t.headers = append([][]string{t.headers}, rows...), nil
	}
	t.rows = nil
	for _, row := range rows {
		for i, cell := range row[:max(0, len(row)-1)] {
			for len(t.widths) <= i {
				t.widths = append(t.widths, minWidth)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell)+padding)
		}
	}
	out := bufio.NewWriter(t.out)
	for _, row := range rows {
		for i, cell := range row {
			_, _ = out.WriteString(cell) // the writer remembers its error
			if i < len(row)-1 {
				_, _ = out.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)))
			}
		}
		_ = out.WriteByte('\n')
	}
	return out.Flush()
}

// unsafe are the characters that a terminal would act on.
var unsafe = strings.NewReplacer("\x1b", "^[", "\r", "\\r")

func escape(s string) string { return unsafe.Replace(s) }

// firstLine cuts a cell at its first line's end.
func firstLine(s string) string {
	if i := strings.IndexAny(s, "\f\n\r"); i >= 0 {
		return s[:i] + "..."
	}
	return s
}

// since is how long ago something was, roughly.
func since(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

func sinceMicro(t metav1.MicroTime, now time.Time) string {
	return since(metav1.Time(t), now)
}
