package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Severity says whether a finding stops the reader.
type Severity uint8

// The severities. The zero value is an error, so a Diagnostic that says nothing about it is one.
const (
	Error Severity = iota
	Warning
)

var severityNames = [...]string{Error: "error", Warning: "warning"}

// Severities lists the severities, the gravest first.
func Severities() []Severity { return []Severity{Error, Warning} }

func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("Severity(%d)", uint8(s))
}

// MarshalText gives the severity's name.
func (s Severity) MarshalText() ([]byte, error) {
	if int(s) >= len(severityNames) {
		return nil, fmt.Errorf("no such severity: %d", s)
	}
	return []byte(severityNames[s]), nil
}

// UnmarshalText reads the severity's name.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range severityNames {
		if name == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("no such severity: %q (error, warning)", text)
}

// A Diagnostic is one finding in one file. It is an error, whatever its severity.
type Diagnostic struct {
	Severity Severity
	File     string
	// Line and Col count from 1; Col counts characters. 0: the finding concerns the file, or the line, as a whole.
	Line, Col int
	// Message is one sentence without a full stop.
	Message string
	// Suggestion is the right name nearest to the wrong one; empty if none is near.
	Suggestion string
	// Snippet is the source line with the lines before it and a caret, ready to print; it ends in a newline, or
	// is empty.
	Snippet string
}

// Position is "file:line:col", without the parts that are not known.
func (d Diagnostic) Position() string {
	switch {
	case d.Line == 0:
		return d.File
	case d.Col == 0:
		return fmt.Sprintf("%s:%d", d.File, d.Line)
	}
	return fmt.Sprintf("%s:%d:%d", d.File, d.Line, d.Col)
}

// Error is one line: position, message, suggestion. A warning says that it is one.
func (d Diagnostic) Error() string {
	var b strings.Builder
	if p := d.Position(); p != "" {
		b.WriteString(p + ": ")
	}
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(d.Message)
	if d.Suggestion != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", d.Suggestion)
	}
	return b.String()
}

// Detail is Error and the source lines under it. It ends in a newline.
func (d Diagnostic) Detail() string { return d.Error() + "\n" + d.Snippet }

// Format prints Error for %v and %s, and Detail for %+v.
func (d Diagnostic) Format(s fmt.State, verb rune) { format(s, verb, d.Error, d.Detail) }

// A List is findings, of one file or of several. The nil List is ready to use.
type List []Diagnostic

// Error is one line a finding.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, d := range l {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Detail is each finding with its source lines. It ends in a newline, unless the list is empty.
func (l List) Detail() string {
	var b strings.Builder
	for _, d := range l {
		b.WriteString(d.Detail())
	}
	return b.String()
}

// Format prints Error for %v and %s, and Detail for %+v.
func (l List) Format(s fmt.State, verb rune) { format(s, verb, l.Error, l.Detail) }

// Unwrap lets errors.As find each Diagnostic.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i, d := range l {
		errs[i] = d
	}
	return errs
}

// Errors are the findings that are no warnings.
func (l List) Errors() List { return l.only(Error) }

// Warnings are the findings that stop nobody.
func (l List) Warnings() List { return l.only(Warning) }

// Err is the errors of l as an error, nil if there is none.
func (l List) Err() error {
	if errs := l.Errors(); len(errs) > 0 {
		return errs
	}
	return nil
}

// Sort orders l by line, column and message, and keeps the order of the files; what is found twice stays once.
func (l List) Sort() List {
	files := map[string]int{}
	for _, d := range l {
		if _, seen := files[d.File]; !seen {
			files[d.File] = len(files)
		}
	}
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(files[a.File], files[b.File]), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(l, func(a, b Diagnostic) bool {
		return a.File == b.File && a.Line == b.Line && a.Col == b.Col && a.Message == b.Message
	})
}

func (l List) only(s Severity) List {
	var out List
	for _, d := range l {
		if d.Severity == s {
			out = append(out, d)
		}
	}
	return out
}

func format(s fmt.State, verb rune, short, long func() string) {
	text := short
	if verb == 'v' && s.Flag('+') {
		text = long
	}
	if verb == 'q' {
		_, _ = fmt.Fprintf(s, "%q", text())
		return
	}
	_, _ = fmt.Fprint(s, text())
}
