package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A screenshot is what a terminal of a size would show of what was written to it, with all that has scrolled off.
type screenshot struct {
	width, height int
	lines         [][]rune
	row, col      int
	escape        []rune // one that is not complete; nil: none
	style         string // the last SGR sequence's parameters
	unknown       []string
}

func newScreenshot(width, height int) *screenshot {
	return &screenshot{width: width, height: height, lines: [][]rune{nil}}
}

// write takes what a terminal gets. A row's end breaks a line only when something follows, as on real terminals.
func (s *screenshot) write(text string) {
	for _, r := range text {
		switch {
		case s.escape != nil:
			s.escape = append(s.escape, r)
			if r >= '@' && r <= '~' && r != '[' {
				s.perform(string(s.escape))
				s.escape = nil
			}
		case r == '\x1b':
			s.escape = []rune{}
		case r == '\r':
			s.col = 0
		case r == '\n':
			s.down()
		case r >= ' ':
			if s.col == s.width {
				s.down()
				s.col = 0
			}
			line := s.lines[s.row]
			for len(line) <= s.col {
				line = append(line, ' ')
			}
			line[s.col] = r
			s.lines[s.row] = line
			s.col++
		default:
			s.unknown = append(s.unknown, fmt.Sprintf("%q", r))
		}
	}
}

func (s *screenshot) down() {
	s.row++
	if s.row == len(s.lines) {
		s.lines = append(s.lines, nil)
	}
}

func (s *screenshot) perform(escape string) {
	var n int
	switch {
	case strings.HasSuffix(escape, "m"):
		s.style = strings.TrimSuffix(strings.TrimPrefix(escape, "["), "m")
	case escape == "[J":
		s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
		s.lines = s.lines[:s.row+1]
	case strings.HasSuffix(escape, "A"):
		if _, err := fmt.Sscanf(escape, "[%dA", &n); err != nil {
			s.unknown = append(s.unknown, escape)
		}
		s.row = max(s.row-n, s.top())
	default:
		s.unknown = append(s.unknown, escape)
	}
}

// top is the first row that has not scrolled off.
func (s *screenshot) top() int { return max(0, len(s.lines)-s.height) }

// text is all of it, without the spaces at the ends of lines.
func (s *screenshot) text() string {
	var b strings.Builder
	for _, line := range s.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func TestABlockIsReplacedWhateverTheWindow(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {20, 24}, {1, 24}, {80, 3}, {80, 1}, {0, 0}} {
		shown := newScreenshot(size[0], size[1])
		if size[0] == 0 {
			shown.width, shown.height = defaultWidth, 1000
		}
		p := &painter{size: func() (int, int) { return size[0], size[1] }}
		var want []string
		for i := range 10 {
			text := ""
			if i%2 == 0 {
				text = fmt.Sprintf("%d\n", i)
				want = append(want, fmt.Sprint(i))
			}
			block := make([]string, 1+i%4)
			for j := range block {
				block[j] = fmt.Sprintf("block %d of %s", i, strings.Repeat("é", 60))
			}
			shown.write(strings.ReplaceAll(p.draw(text, block), "\n", "\r\n"))
		}
		shown.write(strings.ReplaceAll(p.draw("", nil), "\n", "\r\n"))
		if got := strings.Fields(shown.text()); !slices.Equal(got, want) || shown.unknown != nil {
			t.Errorf("in a window of %v is left %q, want %q; not understood: %q", size, got, want, shown.unknown)
		}
	}
}

func TestTheRowsOfABlockAreCountedInANarrowerWindow(t *testing.T) {
	width := 40
	p := &painter{size: func() (int, int) { return width, 24 }}
	p.draw("", []string{strings.Repeat("x", 100), "short", ""})
	width = 20
	if got, want := p.draw("", nil), "\x1b[4A\r\x1b[J"; got != want {
		t.Errorf("a block of 39, 5 and 0 columns is erased by %q, want %q", got, want)
	}
}
