package scenarios

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podsim/podsim/podsim/manifest/diag"
	"go.yaml.in/yaml/v3"
)

// A decoder reads one file's nodes and collects what is wrong with them. Its methods return zero values for what
// is wrong, so that the reader goes on and finds the next mistake too.
type decoder struct {
	src   *diag.Source
	found diag.List
}

// fields are a mapping's keys and who reads each.
type fields map[string]func(v *yaml.Node)

// later are keys that the language has and this version of podsim does not support, and what to do instead, if
// there is anything.
type later map[string]string

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.found = append(d.found, d.src.ErrorAt(n, format, args...))
}

// suggest reports an unknown name with the nearest right one.
func (d *decoder) suggest(n *yaml.Node, word string, candidates []string, format string, args ...any) {
	e := d.src.ErrorAt(n, format, args...)
	if e.Suggestion = diag.Nearest(word, candidates); e.Suggestion == "" && len(candidates) > 0 && len(candidates) <= 12 {
		e.Message += " (there is: " + strings.Join(slices.Sorted(slices.Values(candidates)), ", ") + ")"
	}
	d.found = append(d.found, e)
}

// unsupported reports something that the language has and podsim does not do yet.
func (d *decoder) unsupported(n *yaml.Node, what, instead string) {
	if instead != "" {
		what += "; " + instead
	}
	d.errorf(n, "not supported yet: %s", what)
}

// mapping reads a mapping's keys in the order of the file. It reports whether n is a mapping.
func (d *decoder) mapping(n *yaml.Node, what string, f fields, l later) bool {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "%s must be a mapping, not a %s", what, diag.KindName(n))
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if read := f[key.Value]; read != nil {
			read(value)
			continue
		}
		if instead, known := l[key.Value]; known {
			d.unsupported(key, key.Value, instead)
			continue
		}
		names := make([]string, 0, len(f))
		for name := range f {
			names = append(names, name)
		}
		d.suggest(key, key.Value, names, "unknown field %q in %s", key.Value, what)
	}
	return true
}

// list calls read for each item; what is no list is read as the only item of one.
func (d *decoder) list(n *yaml.Node, read func(v *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		read(n)
		return
	}
	for _, item := range n.Content {
		read(item)
	}
}

func (d *decoder) scalar(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.errorf(n, "expected %s, not a %s", what, diag.KindName(n))
		return "", false
	}
	return n.Value, true
}

// text reads a string; numbers and booleans are taken as they are written.
func (d *decoder) text(n *yaml.Node) string {
	s, _ := d.scalar(n, "a text")
	return s
}

func (d *decoder) texts(n *yaml.Node) []string {
	var out []string
	d.list(n, func(v *yaml.Node) { out = append(out, d.text(v)) })
	return out
}

func (d *decoder) textMap(n *yaml.Node, what string) map[string]string {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "%s must be a mapping, not a %s", what, diag.KindName(n))
		return nil
	}
	out := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = d.text(n.Content[i+1])
	}
	return out
}

func (d *decoder) boolean(n *yaml.Node) bool {
	s, ok := d.scalar(n, "true or false")
	if ok && (n.ShortTag() != "!!bool") {
		d.errorf(n, "expected true or false, not %q", s)
	}
	return strings.EqualFold(s, "true")
}

// integer reads a whole number between low and high.
func (d *decoder) integer(n *yaml.Node, low, high int64) int64 {
	s, ok := d.scalar(n, "a whole number")
	if !ok {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		d.errorf(n, "expected a whole number, not %q", s)
	case v < low || v > high:
		d.errorf(n, "%d is out of range: from %d to %d", v, low, high)
	default:
		return v
	}
	return 0
}

func (d *decoder) port(n *yaml.Node) int { return int(d.integer(n, 1, 65535)) }

func (d *decoder) ports(n *yaml.Node) []int {
	var out []int
	d.list(n, func(v *yaml.Node) { out = append(out, d.port(v)) })
	return out
}

// duration reads a length of time above zero, with its unit: 500ms, 15s, 2m.
func (d *decoder) duration(n *yaml.Node) time.Duration {
	s, ok := d.scalar(n, "a duration such as 15s")
	if !ok {
		return 0
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		d.errorf(n, "expected a duration with its unit, such as 500ms, 15s or 2m, not %q", s)
	case v <= 0:
		d.errorf(n, "a duration must be longer than zero")
	}
	return max(v, 0)
}

func (d *decoder) pattern(n *yaml.Node) *regexp.Regexp {
	s, ok := d.scalar(n, "a regular expression")
	if !ok {
		return nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		d.errorf(n, "not a regular expression: %v", err)
	}
	return re
}

func (d *decoder) prefix(n *yaml.Node) netip.Prefix {
	s, ok := d.scalar(n, "an address range such as 10.0.0.0/8")
	if !ok {
		return netip.Prefix{}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		d.errorf(n, "not an address range: %q (write it as 10.0.0.0/8)", s)
	}
	return p
}

func (d *decoder) address(n *yaml.Node) netip.Addr {
	s, ok := d.scalar(n, "an IP address")
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		d.errorf(n, "not an IP address: %q", s)
	}
	return a
}

// word reads one of a few words.
func (d *decoder) word(n *yaml.Node, what string, words ...string) string {
	s, ok := d.scalar(n, what)
	if ok && !slices.Contains(words, s) {
		d.suggest(n, s, words, "unknown %s %q", what, s)
		return ""
	}
	return s
}

// pos is where a node is, for reports.
func (d *decoder) pos(n *yaml.Node) Pos {
	e := d.src.ErrorAt(n, "")
	return Pos{File: e.File, Line: e.Line, Col: e.Col, Snippet: e.Snippet}
}
