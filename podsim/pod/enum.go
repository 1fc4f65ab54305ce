package pod

import "fmt"

// These functions are what the methods of every enum here do. A value's text is its name in names; 0 and what lies
// beyond names have none. To marshal such a value is an error, and so is to unmarshal a text that is no name.

// enumerate lists the values 1..n-1 of an enum whose zero value means "none".
func enumerate[T ~uint8](n int) []T {
	out := make([]T, 0, n-1)
	for i := 1; i < n; i++ {
		out = append(out, T(i))
	}
	return out
}

func enumString(typ string, names []string, v int) string {
	if v > 0 && v < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", typ, v)
}

func enumText(typ string, names []string, v int) ([]byte, error) {
	if v <= 0 || v >= len(names) {
		return nil, fmt.Errorf("no such %s: %d", typ, v)
	}
	return []byte(names[v]), nil
}

func enumParse[T ~uint8](typ string, names []string, text []byte, v *T) error {
	for i := 1; i < len(names); i++ {
		if names[i] == string(text) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("no such %s: %q", typ, text)
}
