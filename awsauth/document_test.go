package awsauth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNothingIsWrittenThatReadsOtherwise gives replaceList texts that are not
// what the edit was to come to.
func TestNothingIsWrittenThatReadsOtherwise(t *testing.T) {
	theirs, ours, added := role("theirs", "t", "g"), role("ours", "new"), role("added", "a")
	doc := parse(t, map[string]string{"mapRoles": unmarked(theirs) + "- rolearn: gone\n" + marked(role("ours", "old"))})
	e := &Edit{Remove: map[int]bool{1: true}, Replace: map[int]Entry{2: ours}, Add: []Entry{added}}
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"as asked":                  {unmarked(theirs) + marked(ours, added), true},
		"added in front":            {marked(added) + unmarked(theirs) + marked(ours), true},
		"not removed":               {unmarked(theirs) + "- rolearn: gone\n" + marked(ours, added), false},
		"another removed":           {"- rolearn: gone\n" + marked(ours, added), false},
		"not replaced":              {unmarked(theirs) + marked(role("ours", "old"), added), false},
		"replaced without the mark": {unmarked(theirs, ours) + marked(added), false},
		"not added":                 {unmarked(theirs) + marked(ours), false},
		"added without the mark":    {unmarked(theirs) + marked(ours) + unmarked(added), false},
		"added dropped":             {unmarked(theirs) + marked(ours) + strings.Replace(marked(added), "  username", "  sso: {}\n  username", 1), false},
		"a foreign field changed":   {strings.Replace(unmarked(theirs), "  groups", "  note: x\n  groups", 1) + marked(ours, added), false},
		"another order":             {marked(ours) + unmarked(theirs) + marked(added), false},
		"malformed":                 {"[", false},
	} {
		next := &Document{data: doc.Data(), reading: doc.reading}
		err := next.replaceList(Role, func(yield func(string) bool) { yield(test.text) }, expected(doc.roles, e), 1)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "nothing is written") || next.data["mapRoles"] != doc.data["mapRoles"]) {
			t.Errorf("%s: %v, and the text is %q", name, err, next.data["mapRoles"])
		}
	}
}

func TestShadowed(t *testing.T) {
	doc := parse(t, map[string]string{
		"mapRoles": unmarked(role("twice", "a"), role("once", "b"), role("TWICE", "c"), Entry{Role, user("shadowed", "").ARN, "d", nil}) + "- rolearn: " + role("once", "").ARN + "\n  sso: {}\n",
		"mapUsers": unmarked(user("shadowed", "e"), user("twice", "f"), user("twice", "g"), user("Case", "h"), user("case", "i")), "mapAccounts": "- '1'\n- '1'\n",
	})
	want := []bool{true, false, false, false, false, true, true, false, false, false, false, false}
	if diff := cmp.Diff(want, doc.Shadowed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Aliases of honest length are no bomb.
func TestAliasesStayReadable(t *testing.T) {
	text := "- {rolearn: a, username: u, groups: &g [viewers, developers]}\n"
	entries := 3000
	if testing.Short() {
		entries = 500
	}
	for i := range entries {
		text += fmt.Sprintf("- {rolearn: 'arn:aws:iam::111122223333:role/r%d', username: u, groups: *g, note: written out by hand for each of the nodes}\n", i)
	}
	doc, err := Parse(map[string]string{"mapRoles": text})
	if err != nil || len(doc.Entries()) != entries+1 {
		t.Errorf("%v", err)
	}
}
