// Package diag says what is wrong with a YAML file, and where: file, line, column, the source lines, and the
// nearest right name.
//
// It owns three things that everything which reads YAML for people shares: Source, the text of one file and its
// parsed documents; Diagnostic, one finding with its position; and List, findings in the order of the file. It
// knows nothing of pods or of scenarios, reads no file and prints nothing.
//
// Parse hands out plain trees: aliases are replaced by what they name, merge keys (<<) are merged, duplicate keys
// and recursive or exploding aliases are reported. So whoever walks a tree needs no care for any of them, and a
// walk always ends.
package diag
