package writers

import (
	"slices"
	"strings"
)

// An Edit is one write of a tool's.
type Edit struct {
	ID      string // the tool and a number
	Base    string // the resourceVersion that the write named; empty where the API server merges
	Effects []Effect
}

// An Effect is something that an edit does to aws-auth, as its tool declares it.
type Effect interface {
	// apply does it to the model, on account of an edit.
	apply(s *state, by string)
}

// Append puts an element or a comment behind a list's last.
type Append struct{ List, Text string }

func (e Append) apply(s *state, by string) {
	s.lists[e.List] = append(s.lists[e.List], Atom{Text: e.Text, By: by})
}

// A Match names elements of one ARN.
type Match struct {
	ARN     string
	With    string // a group that it has, if not empty
	Without string // a group that it doesn't have, if not empty
}

func (m Match) holds(a Atom) bool {
	if a.isComment() {
		return false
	}
	e, err := a.read()
	return err == nil && e.ARN == m.ARN &&
		(m.With == "" || slices.Contains(e.Groups, m.With)) &&
		(m.Without == "" || !slices.Contains(e.Groups, m.Without))
}

// Remove takes elements out of a list.
type Remove struct {
	List string
	Match
}

func (e Remove) apply(s *state, _ string) {
	s.lists[e.List] = slices.DeleteFunc(s.lists[e.List], e.holds)
}

// Replace puts a text in place of elements.
type Replace struct {
	List string
	Match
	Text string
}

func (e Replace) apply(s *state, by string) {
	for i := range s.lists[e.List] {
		if a := &s.lists[e.List][i]; e.holds(*a) {
			a.Text, a.By = e.Text, by
		}
	}
}

// Suffix puts a text behind the first line of elements, whoever made them.
type Suffix struct {
	List string
	Match
	Text string
}

func (e Suffix) apply(s *state, _ string) {
	for i := range s.lists[e.List] {
		if a := &s.lists[e.List][i]; e.holds(*a) {
			first, rest, more := strings.Cut(a.Text, "\n")
			a.Text = first + e.Text
			if more {
				a.Text += "\n" + rest
			}
		}
	}
}

// Serialise writes all elements of a list anew, one by one. The comments go.
type Serialise struct {
	List   string
	Render func(element string) (string, error)
}

func (e Serialise) apply(s *state, _ string) {
	atoms := s.lists[e.List][:0]
	for _, a := range s.lists[e.List] {
		if a.isComment() {
			continue
		}
		if text, err := e.Render(a.Text); err == nil { // else the version that follows differs
			a.Text = text
		}
		atoms = append(atoms, a)
	}
	s.lists[e.List] = atoms
}

// StripMarks takes the marks of all tools off a list's elements.
type StripMarks struct{ List string }

func (e StripMarks) apply(s *state, _ string) {
	for i := range s.lists[e.List] {
		a := &s.lists[e.List][i]
		var kept []string
		for line := range strings.SplitSeq(a.Text, "\n") {
			if !strings.Contains(line, "syncedBy") {
				kept = append(kept, line)
			}
		}
		a.Text = strings.Join(kept, "\n")
	}
}

// Set gives a text that is no list a value.
type Set struct{ Where, Key, Text string }

func (e Set) apply(s *state, by string) { s.pairs[pair{e.Where, e.Key}] = value{e.Text, by} }

// Unset takes such a text away.
type Unset struct{ Where, Key string }

func (e Unset) apply(s *state, _ string) { delete(s.pairs, pair(e)) }

// Rebuild makes data anew of some keys alone; all others go.
type Rebuild struct{ Keep []string }

func (e Rebuild) apply(s *state, _ string) {
	for key := range s.lists {
		if !slices.Contains(e.Keep, key) {
			delete(s.lists, key)
		}
	}
	for p := range s.pairs {
		if p.Where == "data" && !slices.Contains(e.Keep, p.Key) {
			delete(s.pairs, p)
		}
	}
}
