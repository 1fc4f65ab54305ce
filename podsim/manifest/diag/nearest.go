package diag

import (
	"slices"
	"strings"
)

// Nearest is the name among candidates that word was most probably meant to be: equal but for case, or a few
// edits away (a third of its length, at least one). It is "" if none is near. Of equally near ones the first in
// the alphabet is taken, so the answer never changes between runs.
func Nearest(word string, candidates []string) string {
	const longest = 80 // no name is; a longer word is text in the wrong place
	if word == "" || len(word) > longest {
		return ""
	}
	sorted := slices.Sorted(slices.Values(candidates))
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, c := range sorted {
		if len(c) > longest || c == word {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between a and b.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
