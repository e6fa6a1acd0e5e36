package config

import (
	"cmp"
	"fmt"
	"slices"
)

// A Problem is one thing that is wrong, or worth a word, at one place of a
// configuration.
type Problem struct {
	File    string // the path to open: that given to Load, joined with the ConfigMap's key
	Line    int    // from 1
	Column  int    // from 1; 0 where the whole line or file is meant
	Key     string // the path of keys, as roles[2].groups[0]; empty where the file as a whole is meant
	Message string // what is wrong and what to write instead
}

// String returns the problem on one line, as compilers write theirs.
func (p Problem) String() string {
	if p.Key == "" {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Key, p.Message)
}

// maxProblems bounds the list in an Error: a ConfigMap full of wrong lines
// should not become a log record of many megabytes.
const maxProblems = 1000

// An Error tells everything that is wrong with a configuration whose files
// could be read.
type Error struct {
	Problems []Problem // at least one, at most 1000; sorted by file, line and column
}

// Error returns the first problem and how many there are besides.
func (e *Error) Error() string {
	switch n := len(e.Problems); n {
	case 0:
		return "no problems" // not made by this package, but no reason to panic
	case 1:
		return e.Problems[0].String()
	default:
		return fmt.Sprintf("%s (and %d more)", e.Problems[0], n-1)
	}
}

func sortProblems(p []Problem) {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
