// Package reference replaces the references $(NAME) that Kubernetes knows in commands, arguments, environment
// variables, subPathExprs and probe commands.
//
// It owns how a reference is written (CM-02). It never decides which names a text may refer to, nor what happens to
// one that is unknown: the caller gives the values, and they differ from place to place (CM-03, PB-07, VO-12).
package reference

import "strings"

// Expand replaces $(NAME) by what value gives for it, and $$ by $. A reference whose name is unknown, and anything
// that is no complete reference, stays as it is. What is put in is not expanded again.
func Expand(s string, value func(name string) (string, bool)) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "(") && closed:
			if v, known := value(name); known {
				b.WriteString(v)
			} else {
				b.WriteString("$(" + name + ")")
			}
			s = rest
		default:
			b.WriteByte('$')
			s = after
		}
	}
}
