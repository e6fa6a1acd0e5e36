package awsauth

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/test/corpus"
)

// checkPlain holds what readPlain makes of a text against the parsers, and
// reports whether it made anything of it.
func checkPlain(tb testing.TB, text string) bool {
	tb.Helper()
	read := false
	for _, kind := range []Kind{Role, User} {
		got, ok := readPlain(kind, text)
		if !ok {
			continue
		}
		read = true
		want, err := parseMappings(kind, text)
		if err != nil {
			tb.Fatalf("it reads %+v, and they: %v\n%s", got, err, text)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
			tb.Fatalf("(-they +it):\n%s\n%s", diff, text)
		}
	}
	return read
}

func TestPlain(t *testing.T) {
	for _, test := range []struct {
		text string
		read bool
	}{
		{"- rolearn: a\n", true},
		{"- rolearn: arn:aws:iam::111122223333:role/a\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:nodes\n  - b\n  syncedBy: rolecall\n- rolearn: b", true},
		{"# c\n  - username: \"a b\" # c\n\n    # c\n    rolearn: 'x'   \n    groups: # c\n        - g # i\n\n        - \"#\"\n\n  - rolearn: b\n    groups: [] # none\n", true},
		{"- username: a\n", false},
		{"- rolearn: a\n  username: yes\n", false},
		{"- rolearn: a\n  username: 1\n", false},
		{"- rolearn: a\n  username: a: b\n", false},
		{"- rolearn: a\n  username: {{a}}\n", false},
		{"- rolearn: a\n  username: a\n    b\n", false},
		{"- rolearn: a\n  username: 'it''s'\n", false},
		{"- rolearn: a\n  username: \"a\\n\"\n", false},
		{"- rolearn: a\n  username: \"a\"b\n", false},
		{"- rolearn: a\n  username: \"a\"#b\n", false},
		{"- rolearn: a\n  username:a\n", false},
		{"- rolearn: a\n  username:\n", false},
		{"- rolearn: a\n  rolearn: b\n", false},
		{"- rolearn: a\n  groups:\n  groups:\n  - a\n", false},
		{"- rolearn: a\n  groups:\n", false},
		{"- rolearn: a\n  groups: [a]\n", false},
		{"- rolearn: a\n  groups: b\n", false},
		{"- rolearn: a\n  groups:\n- b\n", false},
		{"- rolearn: a\n  groups:\n  - b\n    - c\n", false},
		{"- rolearn: a\n  groups:\n    - b\n  - c\n", false},
		{"- rolearn: a\n  - b\n", false},
		{"- rolearn: a\n  note: b\n", false},
		{"- rolearn: a\n   username: b\n", false},
		{" - rolearn: a\n- rolearn: b\n", false},
		{"- rolearn: \"\"\n", false},
		{"- rolearn: a\n---\n", false},
		{"---\n- rolearn: a\n", false},
		{"- rolearn: a\r\n", false},
		{"-\trolearn: a\n", false},
		{"- rolearn: é\n", false},
		{"-  rolearn: a\n", false},
		{"- rolearn: a\n  userName: b\n", false},
		{"- rolearn: \"a&b\"\n", false},
		{"a\n", false},
		{"# c\n", false},
	} {
		if got := checkPlain(t, test.text); got != test.read {
			t.Errorf("%q: %t, want %t", test.text, got, test.read)
		}
	}
}

// TestPlainTexts puts texts together from lines that are nearly plain.
func TestPlainTexts(t *testing.T) {
	t.Parallel()
	words := []string{"a", "arn:aws:iam::111122223333:role/a", "system:node:{{EC2PrivateDNSName}}", `"b c"`, `'d'`, "yes", "1", "e1", "a:", "a #b", "a#b", "[]", "x,y", "", "~", "a{b", "#", "- a", "_", "a  "}
	names := []string{"rolearn", "userarn", "username", "groups", "syncedBy", "note"}
	read := 0
	for seed := range *mangled * 5 {
		r := rand.New(rand.NewPCG(seed, 11))
		var text strings.Builder
		for range 1 + r.IntN(8) {
			word := words[r.IntN(len(words))]
			switch r.IntN(8) {
			case 0, 1, 2:
				fmt.Fprintf(&text, "- rolearn: %s\n", words[r.IntN(4)])
			case 3, 4:
				fmt.Fprintf(&text, "  %s: %s\n", names[r.IntN(len(names))], word)
			case 5:
				fmt.Fprintf(&text, "  groups:\n%s- %s\n", strings.Repeat(" ", 1+r.IntN(4)), word)
			case 6:
				fmt.Fprintf(&text, "%s- %s\n", strings.Repeat(" ", r.IntN(5)), word)
			case 7:
				fmt.Fprintf(&text, "%s# %s\n\n", strings.Repeat(" ", r.IntN(5)), word)
			}
		}
		if checkPlain(t, text.String()) {
			read++
		}
	}
	if uint64(read) < *mangled/4 {
		t.Errorf("only %d texts were plain: the test sees too little", read)
	}
}

// FuzzPlain holds readPlain against the parsers.
func FuzzPlain(f *testing.F) {
	for _, data := range corpus.Read(f, documents) {
		f.Add(data["mapRoles"])
	}
	f.Add("- rolearn: a\n  username: 'b c' # d\n  groups:\n    - \"e\"\n    - f\n  syncedBy: rolecall\n")
	f.Fuzz(func(t *testing.T, text string) { checkPlain(t, text) })
}

func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	for i := range 6500 {
		fmt.Fprintf(&text, "- rolearn: arn:aws:iam::111122223333:role/team-%04d\n  username: team-%04d\n  groups:\n  - viewers\n  syncedBy: rolecall\n", i, i)
	}
	for name, text := range map[string]string{"plain": text.String(), "other": text.String() + "\n---\n"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse(map[string]string{"mapRoles": text}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
