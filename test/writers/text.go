package writers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

// The keys of aws-auth that hold lists.
const (
	mapRoles    = "mapRoles"
	mapUsers    = "mapUsers"
	mapAccounts = "mapAccounts"
)

var lists = []string{mapRoles, mapUsers, mapAccounts}

// An Atom is an element of a list, or a line of comment between elements.
type Atom struct {
	Text string // without its last line break
	Ours bool   // it is rolecall's
	By   string // the edit that made it what it is, where it is foreign
}

func (a Atom) isComment() bool { return strings.HasPrefix(a.Text, "#") }

// split cuts the text of a list into its atoms. Only a block sequence at column
// 0 without blank lines is known: an element begins with "- " and goes on with
// lines that are indented.
func split(text string) ([]Atom, error) {
	if body := strings.TrimSpace(text); body == "" || body == "[]" {
		return nil, nil
	}
	var atoms []Atom
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "#"):
			atoms = append(atoms, Atom{Text: line})
		case strings.HasPrefix(line, " ") && len(atoms) > 0 && !atoms[len(atoms)-1].isComment():
			atoms[len(atoms)-1].Text += "\n" + line
		default:
			return nil, fmt.Errorf("the line %q is neither an element nor a comment", line)
		}
	}
	return atoms, nil
}

// join is the text of a list again, with a line break at its end.
func join(atoms []Atom) string {
	var b strings.Builder
	for _, a := range atoms {
		b.WriteString(a.Text + "\n")
	}
	return b.String()
}

// An element is what an atom says.
type element struct {
	ARN      string
	Username string
	Groups   []string // sorted
	Mark     string
}

func (e element) sameGrant(g Grant) bool {
	return e.Username == g.Username && slices.Equal(e.Groups, g.Groups)
}

// parsed keeps what atoms say, by their text: most versions hold what the ones
// before them held.
var parsed sync.Map

// read parses an atom that is no comment. An account has its id for its ARN.
func (a Atom) read() (element, error) {
	known, _ := parsed.Load(a.Text)
	if e, ok := known.(element); ok {
		return e, nil
	}
	var e element
	var fields []struct {
		RoleARN  string   `json:"rolearn"`
		UserARN  string   `json:"userarn"`
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
		SyncedBy string   `json:"syncedBy"`
	}
	var ids []string
	switch err := yaml.Unmarshal([]byte(a.Text), &fields); {
	case err == nil && len(fields) == 1:
		f := fields[0]
		slices.Sort(f.Groups)
		e = element{f.RoleARN + f.UserARN, f.Username, f.Groups, f.SyncedBy}
	case yaml.Unmarshal([]byte(a.Text), &ids) == nil && len(ids) == 1:
		e = element{ARN: ids[0]}
	default:
		return element{}, fmt.Errorf("%q is no element: %w", a.Text, err)
	}
	parsed.Store(a.Text, e)
	return e, nil
}

// arn is the ARN of an element, empty where it is a comment or can't be read.
func (a Atom) arn() string {
	if a.isComment() {
		return ""
	}
	e, err := a.read()
	if err != nil {
		return ""
	}
	return e.ARN
}

// comment finds comments: no value in these texts holds a "#".
var comment = regexp.MustCompile(`(?m)(?:^|[ \t])#.*$`)

// comments counts the comments of atoms by their text.
func comments(atoms []Atom) map[string]int {
	found := map[string]int{}
	for _, a := range atoms {
		for _, c := range comment.FindAllString(a.Text, -1) {
			found[strings.TrimSpace(c)]++
		}
	}
	return found
}
