package awsauth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestComments finds comments among quotes, plain scalars and brackets.
func TestComments(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"a: b", nil},
		{"a: b # c", []string{"# c"}},
		{"# a \n  # b\t\r\n#c", []string{"# a", "# b", "#c"}},
		{"a: b#c", nil},
		{"a: \"b # c\" # d", []string{"# d"}},
		{"a: 'it''s # no' # d", []string{"# d"}},
		{`{"a":"b # c","d":'e # f'} # g`, []string{"# g"}},
		{`a: "b \" # c" # d`, []string{"# d"}},
		{"a: foo 'bar # c", []string{"# c"}},
		{"a: it's # c", []string{"# c"}},
		{"a: o-'neil # c", []string{"# c"}},
		{"a: b, 'c # d' # e", []string{"# d' # e"}},
		{"[a, 'b # c', # d\n e]# f", []string{"# d", "# f"}},
		{"[# a\n]", []string{"# a"}},
		{"a: |\n  don't 'do\n# b\nc: 'd # e' # f", []string{"# b", "# f"}},
		{"a: \"b\n  c\" # d", []string{"# d"}},
		{"a: b\u0085# c\u2028d: e # f\u2029", []string{"# c", "# f"}},
		{"- 'a' #b", []string{"#b"}},
		{"? 'a # b' # c\n: 'd # e' # f", []string{"# c", "# f"}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, comments(test.text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}

// TestScalar reads back what scalar and quoteJSON write, in every place.
func TestScalar(t *testing.T) {
	texts := []string{
		"", "a", "yes", "No", "null", "~", "1", "1.5", "0x1", ".inf", "1:20", "2026-01-02", "=", "<<", "-", "- a", "?", ":", "a:", "a: b", "a #b", "#", "&a", "*a", "!a", "|", ">", "%", "@a", "`a",
		"[a", "{a", "{{a}}", "a{b}", "a]", "'", "\"", "\\", "a\nb", "\t", " a", "a ", "é", "\u0085", "\u0090", "\u2028", "\ufeff", "\ufffe", "\x7f", "\x00", "😀", "_", "_1", "a,b", "---", "...", "y", "N", "e1", "system:node:{{EC2PrivateDNSName}}",
	}
	for _, s := range texts {
		e := role("x", s, s)
		for _, text := range []string{marked(e), "[" + flowEntry(&e) + "]"} {
			list, err := readMappings(Role, text)
			if err != nil || len(list) != 1 || list[0].Username != s || len(list[0].Groups) != 1 || list[0].Groups[0] != s {
				t.Errorf("%q is read back from %q as %+v, %v", s, text, list, err)
			}
		}
		if !json.Valid([]byte(flowEntry(&e))) {
			t.Errorf("%s is no JSON", flowEntry(&e))
		}
	}
}

// TestListsWithAnchorsAndTags adds to lists of which the anchor or the tag stands
// before them, changes and removes what is in them, and leaves all else as it is.
func TestListsWithAnchorsAndTags(t *testing.T) {
	const x = "- rolearn: x # why\n"
	added := marked(role("a", "a"))
	for text, want := range map[string]string{
		"--- &list\n" + x:                      "--- &list\n" + x + added,
		"--- !!seq\n" + x:                      "--- !!seq\n" + x + added,
		"--- !!seq &list # c\n# d\n\n" + x:     "--- !!seq &list # c\n# d\n\n" + x + added,
		"--- !!seq\n&list\n" + x:               "--- !!seq\n&list\n" + x + added,
		"&list\n" + x:                          "&list\n" + x + added,
		"# c\n!!seq\n" + x + "# d\n":           "# c\n!!seq\n" + x + "# d\n" + added,
		"\ufeff&list\r\n- rolearn: x\r\n":      "\ufeff&list\r\n- rolearn: x\r\n" + strings.ReplaceAll(added, "\n", "\r\n"),
		"--- &list\n  - rolearn: x\n":          "--- &list\n  - rolearn: x\n  " + strings.TrimSuffix(strings.ReplaceAll(added, "\n", "\n  "), "  "),
		"--- &list\n-\n  rolearn: x\n---\n- y": "--- &list\n-\n  rolearn: x\n" + added + "---\n- y",
		"&list [{rolearn: x}]\n":               "&list [{rolearn: x}, " + flowEntry(&Entry{Kind: Role, ARN: role("a", "").ARN, Username: "a"}) + "]\n",
		"&list null\n":                         added,
		"!!null null\n":                        added,
		"!!null\n":                             added,
		"--- &list ~ # c\n":                    "---\n" + added + "# c\n",
		"--- !!null\n# c\n":                    "---\n" + added + "# c\n",
		"&list []\n":                           "&list\n" + added,
		"--- !!seq []\n":                       "--- !!seq\n" + added,
		"&list # c\nnull\n":                    "&list # c\n" + added,
	} {
		doc := parse(t, map[string]string{"mapRoles": text})
		got, err := doc.Edit(map[Kind]*Edit{Role: {Add: []Entry{role("a", "a")}}})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got.data["mapRoles"]); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		// And back: what was added goes again.
		n := len(got.roles) - 1
		back, err := got.Edit(map[Kind]*Edit{Role: {Remove: map[int]bool{n: true}}})
		if err != nil || len(back.roles) != n {
			t.Errorf("%q: what was added is not removed: %v", text, err)
		}
	}
	emptied, err := parse(t, map[string]string{"mapRoles": "--- !!seq\n# c\n- rolearn: x\n# d\n- rolearn: y # e\n# f\n---\n- z\n"}).Edit(map[Kind]*Edit{Role: {Remove: map[int]bool{0: true, 1: true}}})
	if err != nil || emptied.data["mapRoles"] != "--- !!seq\n# c\n[]\n# d\n# e\n# f\n---\n- z\n" {
		t.Errorf("emptied: %v, %+v", err, emptied)
	}
	changed, err := parse(t, map[string]string{"mapRoles": "--- &list\n" + x + marked(role("a", "a"))}).Edit(map[Kind]*Edit{Role: {Replace: map[int]Entry{1: role("a", "b")}}})
	if err != nil || changed.data["mapRoles"] != "--- &list\n"+x+marked(role("a", "b")) {
		t.Errorf("changed: %v, %+v", err, changed)
	}
}
