package diag

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxBytes bounds a file: larger ones are refused unread.
const MaxBytes = 8 << 20

// A Source is the text of one YAML file. It keeps data, which must not change any more.
type Source struct {
	// File is the name that positions show.
	File string

	data  []byte
	lines [][]byte
}

// NewSource takes a file's name and text. A byte order mark and CRLF line ends are understood.
func NewSource(file string, data []byte) *Source {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	return &Source{File: file, data: data, lines: bytes.Split(data, []byte("\n"))}
}

// Errorf is an error of the file as a whole.
func (s *Source) Errorf(format string, args ...any) Diagnostic {
	return Diagnostic{File: s.File, Message: fmt.Sprintf(format, args...)}
}

// ErrorAt is an error at a node of one of the source's trees. A nil node stands for the whole file.
func (s *Source) ErrorAt(n *yaml.Node, format string, args ...any) Diagnostic {
	if n == nil {
		return s.Errorf(format, args...)
	}
	return s.At(n.Line, n.Column, width(n), fmt.Sprintf(format, args...))
}

// WarningAt is a warning at a node, as ErrorAt is an error.
func (s *Source) WarningAt(n *yaml.Node, format string, args ...any) Diagnostic {
	d := s.ErrorAt(n, format, args...)
	d.Severity = Warning
	return d
}

// At is an error at a line and a column, both counted from 1, with width characters underlined. A value that is
// not there may lie behind the end of the file; the finding is then at its last line.
func (s *Source) At(line, col, width int, message string) Diagnostic {
	if line > len(s.lines) {
		line, col = len(s.lines), 0
	}
	return Diagnostic{File: s.File, Line: line, Col: col, Message: message, Snippet: s.snippet(line, col, width)}
}

// check refuses what cannot be YAML text before a parser sees it.
func (s *Source) check() *Diagnostic {
	var d Diagnostic
	switch i := bytes.IndexByte(s.data, 0); {
	case len(s.data) > MaxBytes:
		d = s.Errorf("the file is larger than %d MiB; split it", MaxBytes>>20)
	case bytes.HasPrefix(s.data, []byte("\xff\xfe")) || bytes.HasPrefix(s.data, []byte("\xfe\xff")):
		d = s.Errorf("the file is UTF-16; save it as UTF-8")
	case i >= 0:
		d = s.atOffset(i, "the file holds a NUL byte; it is no YAML text")
	default:
		i := notText(s.data)
		if i < 0 {
			return nil
		}
		d = s.atOffset(i, "the file is not valid UTF-8; it is no YAML text")
		if s.data[i] < utf8.RuneSelf {
			d.Message = fmt.Sprintf("the file holds the control character %q, which YAML does not allow", s.data[i])
		}
	}
	return &d
}

func (s *Source) atOffset(offset int, message string) Diagnostic {
	before := s.data[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return s.At(bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(before[start:])+1, 1, message)
}

// notText finds the first byte that is no UTF-8 or is a control character, -1 if there is none.
func notText(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		control := r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
		if control || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// Lines of context above the line in question, and the characters shown of one line.
const (
	contextLines = 2
	lineWidth    = 120
)

// snippet shows a line with the lines above it and a caret under col.
func (s *Source) snippet(line, col, width int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	var b strings.Builder
	digits := len(fmt.Sprint(line))
	from := 0 // the first character shown, where the line is too long to show all of it
	if col > lineWidth*3/4 {
		from = col - lineWidth/2
	}
	for n := max(1, line-contextLines); n < line; n++ {
		fmt.Fprintf(&b, "  %*d | %s\n", digits, n, s.shown(n, from))
	}
	fmt.Fprintf(&b, "> %*d | %s\n", digits, line, s.shown(line, from))
	if col < 1 {
		return b.String()
	}
	text := []rune(s.shown(line, from))
	at := col - 1 - from
	if at > len(text) {
		return b.String()
	}
	fmt.Fprintf(&b, "  %*s | %s%s\n", digits, "", strings.Repeat(" ", at), strings.Repeat("^", max(1, min(width, len(text)-at))))
	return b.String()
}

// shown is a line made fit for a terminal: one column a character, no control characters, of bounded width.
func (s *Source) shown(line, from int) string {
	text := []rune(string(bytes.TrimSuffix(s.lines[line-1], []byte("\r"))))
	if from >= len(text) && len(text) > 0 && from > 0 {
		return "..."
	}
	text = text[min(from, len(text)):]
	text = text[:min(len(text), lineWidth)]
	for i, r := range text {
		switch {
		case r == '\t':
			text[i] = ' '
		case !unicode.IsPrint(r):
			text[i] = '\u00b7'
		}
	}
	return strings.TrimRight(string(text), " ")
}

// width is how many characters of n's first line to underline.
func width(n *yaml.Node) int {
	if n.Kind != yaml.ScalarNode || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return 1
	}
	w := utf8.RuneCountInString(n.Value)
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		w += 2
	}
	return max(1, w)
}
