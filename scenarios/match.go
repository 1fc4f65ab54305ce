package scenarios

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A textMatch is what is wanted of a text. All that is set must hold; its zero value holds of every text.
type textMatch struct {
	contains []string
	lacks    []string
	equals   *string
	matches  *regexp.Regexp
}

// textMatch reads a mapping of contains, lacks, equals and matches, or a plain text, which must be contained.
func (d *decoder) textMatch(n *yaml.Node, what string) textMatch {
	var m textMatch
	if n.Kind == yaml.ScalarNode {
		m.contains = []string{d.text(n)}
		return m
	}
	d.mapping(n, what, d.textMatchFields(&m), nil)
	return m
}

func (d *decoder) textMatchFields(m *textMatch) fields {
	return fields{
		"contains": func(v *yaml.Node) { m.contains = d.texts(v) },
		"lacks":    func(v *yaml.Node) { m.lacks = d.texts(v) },
		"equals":   func(v *yaml.Node) { s := d.text(v); m.equals = &s },
		"matches":  func(v *yaml.Node) { m.matches = d.pattern(v) },
	}
}

func (m textMatch) empty() bool {
	return len(m.contains) == 0 && len(m.lacks) == 0 && m.equals == nil && m.matches == nil
}

// holds reports whether text is as wanted, and if not, what is wrong with it.
func (m textMatch) holds(text string) (ok bool, why string) {
	for _, want := range m.contains {
		if !strings.Contains(text, want) {
			return false, fmt.Sprintf("%q is not in it", want)
		}
	}
	for _, bad := range m.lacks {
		if strings.Contains(text, bad) {
			return false, fmt.Sprintf("%q is in it", bad)
		}
	}
	if m.equals != nil && text != *m.equals {
		return false, fmt.Sprintf("it is %q", shorten(text))
	}
	if m.matches != nil && !m.matches.MatchString(text) {
		return false, fmt.Sprintf("nothing in it matches %s", m.matches)
	}
	return true, ""
}

func (m textMatch) String() string {
	var parts []string
	for _, s := range m.contains {
		parts = append(parts, fmt.Sprintf("contains %q", s))
	}
	for _, s := range m.lacks {
		parts = append(parts, fmt.Sprintf("lacks %q", s))
	}
	if m.equals != nil {
		parts = append(parts, fmt.Sprintf("equals %q", *m.equals))
	}
	if m.matches != nil {
		parts = append(parts, fmt.Sprintf("matches %s", m.matches))
	}
	return strings.Join(parts, " and ")
}

// shorten keeps a text fit for a report's line.
func shorten(s string) string {
	const most = 200
	s = strings.TrimRight(s, "\n")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// A bound is what is wanted of a number: at least Low, and at most High unless that is negative.
type bound struct{ low, high int }

var boundForm = regexp.MustCompile(`^(>=|<=|>|<)?\s*(\d{1,9})$`)

// bound reads a number, or ">= 2", "< 3" and the like.
func (d *decoder) bound(n *yaml.Node) bound {
	s, ok := d.scalar(n, "a number")
	if !ok {
		return bound{}
	}
	m := boundForm.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		d.errorf(n, `expected a number, or ">= 2", "> 2", "<= 2", "< 2", not %q`, s)
		return bound{}
	}
	var v int
	_, _ = fmt.Sscan(m[2], &v)
	switch m[1] {
	case ">=":
		return bound{v, -1}
	case ">":
		return bound{v + 1, -1}
	case "<=":
		return bound{0, v}
	case "<":
		if v == 0 {
			d.errorf(n, "nothing is less than zero times")
		}
		return bound{0, max(v-1, 0)}
	}
	return bound{v, v}
}

func (b bound) holds(n int) bool { return n >= b.low && (b.high < 0 || n <= b.high) }

func (b bound) String() string {
	switch {
	case b.high == b.low:
		return fmt.Sprint(b.low)
	case b.high < 0:
		return fmt.Sprintf("at least %d", b.low)
	}
	return fmt.Sprintf("at most %d", b.high)
}
