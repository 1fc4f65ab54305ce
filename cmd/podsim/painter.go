package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// A painter keeps a block of lines below what scrolls by on a terminal. It uses no mode of the terminal, so that there is
// nothing to restore: it goes up, erases, and writes anew.
type painter struct {
	// size is the terminal's, in columns and rows; 0: not known.
	size  func() (width, height int)
	drawn []int // the lengths of the block's lines that are on the screen now
}

// defaultWidth is that of a terminal that does not tell.
const defaultWidth = 80

func painterOf(fd int) *painter {
	return &painter{size: func() (width, height int) {
		width, height, err := term.GetSize(fd)
		if err != nil {
			return 0, 0
		}
		return width, height
	}}
}

// draw makes what replaces the block on the screen by text and a new block. Each line of the block takes one row, and
// the block never fills the screen: what has scrolled off cannot be erased.
func (p *painter) draw(text string, block []string) string {
	width, height := p.size()
	if width <= 0 {
		width = defaultWidth
	}
	var b strings.Builder
	if rows := p.rows(width); rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", rows)
	}
	b.WriteString(text)
	if height > 0 && len(block) >= height {
		block = block[:height-1]
	}
	p.drawn = p.drawn[:0]
	for _, line := range block {
		if runes := []rune(line); len(runes) >= width {
			line = string(runes[:width-1])
		}
		b.WriteString(line + "\n")
		p.drawn = append(p.drawn, utf8.RuneCountInString(line))
	}
	return b.String()
}

// rows is how many the block takes. In a window that has become narrower since, its lines have been broken.
func (p *painter) rows(width int) int {
	n := 0
	for _, length := range p.drawn {
		n += max(1, (length+width-1)/width)
	}
	return n
}
