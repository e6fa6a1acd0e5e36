package awsauth

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestEdit shows for each document under testdata/edit what a plan makes of
// it: the archive holds the request, the keys before and, under after/, those
// that changed.
func TestEdit(t *testing.T) {
	golden(t, "edit", func(t *testing.T, given []txtar.File) []txtar.File {
		data, request := givenKeys(given, "request.json")
		var req Request
		strictly(t, request, &req)
		req.Now = now
		plan, err := MakePlan(parse(t, data), nil, req)
		if err != nil {
			t.Fatal(err)
		}
		if p := broken(plan.Before, &Ledger{}, req, plan); p != "" {
			t.Error(p)
		}
		return changedKeys(given, data, plan.After)
	})
}

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

// TestBlankTexts fills what the authenticator takes for nothing.
func TestBlankTexts(t *testing.T) {
	for _, text := range []string{"", " ", "\t\n \t  ", "\v", "\n \r\t\r", "\u00a0", "``", " ``\n", `""`, "''\r\n", "# c", "\ufeff", "---", "~", "null # c", "[]", "[\n# c\n]\n", "[ ] # c"} {
		doc := parse(t, map[string]string{"mapRoles": text})
		req := Request{Now: now, Sources: []Source{from("file", role("a", "a"))}}
		plan, err := MakePlan(doc, nil, req)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if p := broken(doc, &Ledger{}, req, plan); p != "" {
			t.Errorf("%q: %s", text, p)
		}
	}
}
