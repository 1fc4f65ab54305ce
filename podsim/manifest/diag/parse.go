package diag

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What a document may come to. Both are far above what people write, and keep a few lines of aliases from
// growing into a tree that fills the memory.
const (
	maxDepth       = 200
	maxAliasedNode = 100_000
)

// Parse gives the roots of the source's documents. Empty documents are left out. The trees hold no alias, no
// merge key and no duplicate key; scalars keep their text and style. Each node carries the position it has in
// the file (an alias's contents: where the anchor is).
//
// What is wrong is in the list, in order. Documents before a syntax error are returned all the same.
func (s *Source) Parse() ([]*yaml.Node, List) {
	if d := s.check(); d != nil {
		return nil, List{*d}
	}
	var (
		roots []*yaml.Node
		found List
	)
	dec := yaml.NewDecoder(bytes.NewReader(s.data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, found
		}
		if err != nil {
			return roots, append(found, s.syntaxError(err))
		}
		if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		p := plainer{source: s, open: map[*yaml.Node]bool{}}
		root := p.plain(doc.Content[0], 0, false)
		found = append(found, p.found...)
		if root != nil {
			roots = append(roots, root)
		}
	}
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)
	// The library counts the lines of its parser's errors, these, from 0, and of its scanner's from 1.
	parserProblem = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or|<)`)
	// These are reported where the surrounding collection begins, which may be far from the mistake.
	blockProblem  = regexp.MustCompile(`^did not find expected (key|'-' indicator)`)
	cutOff        = regexp.MustCompile(`',' or|unexpected end|could not find expected ':'`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError turns the YAML library's error, which has at best a line, into a Diagnostic.
func (s *Source) syntaxError(err error) Diagnostic {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return s.Errorf("%v", err)
	}
	message, line := strings.TrimSpace(m[2]), 1
	if a := unknownAnchor.FindStringSubmatch(message); a != nil {
		return s.atOffset(max(0, bytes.Index(s.data, []byte("*"+a[1]))), message)
	}
	if m[1] != "" {
		line, _ = strconv.Atoi(m[1])
		if parserProblem.MatchString(message) {
			line++
		}
	}
	line = min(line, len(s.lines))
	text := s.lines[line-1]
	indent := len(text) - len(bytes.TrimLeft(text, " \t"))
	atEnd := len(bytes.TrimSpace(bytes.Join(s.lines[line:], nil))) == 0
	switch {
	case bytes.ContainsRune(text[:indent], '\t'):
		message += ": the line is indented with a tab, YAML wants spaces"
	case blockProblem.MatchString(message):
		message += " in what begins here: look at the indentation of the lines after it"
	case atEnd && cutOff.MatchString(message):
		message += " (is the file cut off?)"
	}
	return s.At(line, indent+1, len(bytes.TrimSpace(text)), message)
}

// A plainer copies a tree without its aliases and merge keys.
type plainer struct {
	source  *Source
	found   List
	open    map[*yaml.Node]bool // what the walk is inside of
	aliased int                 // nodes copied by way of an alias
	full    bool                // an error that ends the walk was reported
}

func (p *plainer) report(n *yaml.Node, format string, args ...any) {
	p.found = append(p.found, p.source.ErrorAt(n, format, args...))
}

// stop reports an error once and ends the walk.
func (p *plainer) stop(n *yaml.Node, format string, args ...any) {
	if !p.full {
		p.report(n, format, args...)
	}
	p.full = true
}

// plain is nil where the node could not be copied, which is then reported.
func (p *plainer) plain(n *yaml.Node, depth int, aliased bool) *yaml.Node {
	if p.full {
		return nil
	}
	if depth > maxDepth {
		p.stop(n, "nested more than %d levels deep", maxDepth)
		return nil
	}
	if aliased {
		if p.aliased++; p.aliased > maxAliasedNode {
			p.stop(n, "aliases stand for more than %d values; write them out or use fewer", maxAliasedNode)
			return nil
		}
	}
	if n.Kind == yaml.AliasNode {
		if p.open[n.Alias] {
			p.report(n, "alias *%s refers to something that contains it", n.Value)
			return nil
		}
		return p.plain(n.Alias, depth+1, true)
	}
	p.open[n] = true
	defer delete(p.open, n)

	c := *n
	c.Anchor, c.Alias, c.Content = "", nil, nil
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item = p.plain(item, depth+1, aliased); item != nil {
				c.Content = append(c.Content, item)
			}
		}
	case yaml.MappingNode:
		c.Content = p.mapping(n, depth, aliased)
	}
	return &c
}

// mapping gives the pairs of a mapping: its own first, then what its merge keys add.
func (p *plainer) mapping(n *yaml.Node, depth int, aliased bool) []*yaml.Node {
	var pairs, merges []*yaml.Node
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		key := p.plain(n.Content[i], depth+1, aliased)
		if key == nil {
			continue
		}
		if key.Kind != yaml.ScalarNode {
			p.report(key, "a key must be a plain word, not a %s", KindName(key))
			continue
		}
		if before := first[key.Value]; before != nil {
			p.report(key, "key %q is already set on line %d", key.Value, before.Line)
			continue
		}
		first[key.Value] = key
		if value := p.plain(n.Content[i+1], depth+1, aliased); value != nil {
			pairs = append(pairs, key, value)
		}
	}
	for _, m := range merges {
		for _, source := range p.mergeSources(m, depth, aliased) {
			for i := 0; i+1 < len(source.Content); i += 2 {
				if key := source.Content[i]; first[key.Value] == nil {
					first[key.Value] = key
					pairs = append(pairs, key, source.Content[i+1])
				}
			}
		}
	}
	return pairs
}

// mergeSources gives the mappings that a merge key's value names: one, or several in a list.
func (p *plainer) mergeSources(value *yaml.Node, depth int, aliased bool) []*yaml.Node {
	v := p.plain(value, depth+1, aliased)
	if v == nil {
		return nil
	}
	sources := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode {
		sources = v.Content
	}
	return slices.DeleteFunc(sources, func(m *yaml.Node) bool {
		if m.Kind != yaml.MappingNode {
			p.report(m, "<< merges mappings; this is a %s", KindName(m))
			return true
		}
		return false
	})
}

// KindName names what a node is, for messages: mapping, list, string, number, boolean, null.
func KindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!int", "!!float":
			return "number"
		case "!!bool":
			return "boolean"
		case "!!null":
			return "null"
		}
		return "string"
	}
	return fmt.Sprintf("node of kind %d", n.Kind)
}

// Lookup finds a key of a mapping: the key's node and its value's; nil, nil if m is no mapping or has no such key.
func Lookup(m *yaml.Node, key string) (k, v *yaml.Node) {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}
