package awsauth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestPlansOnMangledTexts plans on documents pieced together from the lines of
// the corpus and from scraps of YAML. A plan may be refused there; one that is
// made keeps the promises of the package.
func TestPlansOnMangledTexts(t *testing.T) {
	var texts []string
	corpus := readCorpus(t)
	names := make([]string, 0, len(corpus))
	for name := range corpus {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, kind := range []Kind{Role, User, Account} {
			if text := corpus[name][kind.Key()]; text != "" {
				texts = append(texts, text)
			}
		}
	}
	const parts = 4
	made := make([]int, parts)
	t.Run("parts", func(t *testing.T) {
		for part := range uint64(parts) {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				t.Parallel()
				for seed := part; seed < *mangled; seed += parts {
					if planOnMangled(t, texts, seed) {
						made[part]++
					}
				}
			})
		}
	})
	if sum := made[0] + made[1] + made[2] + made[3]; uint64(sum) < *mangled/4 {
		t.Errorf("only %d of %d documents came to a plan: the test sees too little", sum, *mangled)
	}
}

func planOnMangled(t *testing.T, texts []string, seed uint64) bool {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	data := map[string]string{}
	for _, kind := range []Kind{Role, User} {
		data[kind.Key()] = mangle(r, texts)
	}
	doc, err := Parse(data)
	if err != nil {
		return false
	}
	ledger := randomLedger(r, doc)
	req := randomRequest(r, doc)
	plan, err := MakePlan(doc, ledger, req)
	if err != nil {
		return false
	}
	if p := broken(doc, ledger, req, plan); p != "" {
		t.Fatalf("seed %d: %s", seed, p)
	}
	return plan.Writes()
}

// mangle makes one text out of several.
func mangle(r *rand.Rand, texts []string) string {
	var lines []string
	for range 1 + r.IntN(2) {
		lines = append(lines, strings.SplitAfter(texts[r.IntN(len(texts))], "\n")...)
	}
	for range r.IntN(4) {
		i := r.IntN(len(lines))
		switch r.IntN(6) {
		case 0:
			lines = slices.Delete(lines, i, i+1)
			if len(lines) == 0 {
				return ""
			}
		case 1:
			lines = slices.Insert(lines, i, lines[r.IntN(len(lines))])
		case 2:
			j := r.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
		case 3:
			lines = slices.Insert(lines, i, scraps[r.IntN(len(scraps))])
		case 4:
			at := r.IntN(len(lines[i]) + 1)
			lines[i] = lines[i][:at] + pieces[r.IntN(len(pieces))] + lines[i][at:]
		case 5:
			lines[i] = strings.Repeat(" ", r.IntN(3)) + lines[i]
		}
	}
	text := strings.Join(lines, "")
	switch r.IntN(12) {
	case 0:
		text = strings.ReplaceAll(text, "\n", "\r\n")
	case 1:
		text = strings.ReplaceAll(text, "\n", "\r")
	case 2:
		text = strings.TrimRight(text, "\n")
	case 3:
		text += "\n\n  \n"
	}
	return text
}

// scraps are lines to put between others.
var scraps = []string{
	"# a comment\n", "   # an indented comment\n", "\n", "  \t\n", "-\n", "- null\n", "---\n", "...\n", "- - a\n  - b\n",
	"- {}\n", "- []\n", "- |\n  text\n  # no comment\n", "- >+\n\n  text\n\n", "- ? rolearn\n  : arn:aws:iam::111122223333:role/n1\n",
	"- ? rolearn\n  : arn:aws:iam::111122223333:role/n2\n  ? username\n  : x\n  ? syncedBy\n  : rolecall\n",
	"- rolearn: arn:aws:iam::111122223333:role/n1 # one\n  # two\n  username: 'x' # three\n  syncedBy: rolecall\n",
	"- {rolearn: arn:aws:iam::111122223333:role/n2, # one\n   username: x, # two\n   syncedBy: rolecall} # three\n",
	"- userarn: &u arn:aws:iam::111122223333:user/n1\n  username: &v \"x\"\n  syncedBy: rolecall\n", "- userarn: *u\n  username: *v\n",
	"-   \"userarn\": arn:aws:iam::111122223333:user/n2\n    'username': >\n      folded\n      # text\n    syncedBy: rolecall\n",
	"- !!map\n  rolearn: !!str arn:aws:iam::111122223333:role/n3\n  username: !!str x\n  syncedBy: rolecall\n",
	"- userarn: arn:aws:iam::111122223333:user/n3\n  syncedBy: rolecall\n  note: |\n    don't 'do\n  # kept\n  username: x\n",
	"-\n\n  # before\n  rolearn: arn:aws:iam::111122223333:role/n4\n\n  # inside\n\n  syncedBy: rolecall\n",
	"- rolearn: arn:aws:iam::111122223333:role/n5\n  groups: [a, # first\n    b]\n  syncedBy: rolecall\n  username: \"two\n    lines # text\"\n",
	"- syncedBy: rolecall\n  syncedby: rolecall\n  rolearn: arn:aws:iam::111122223333:role/n0\n",
	"- rolearn: arn:aws:iam::111122223333:role/n0\n  <<: {username: merged}\n  syncedBy: rolecall\n",
}

// pieces are put inside a line.
var pieces = []string{" ", "#", " # c", "'", `"`, "&a ", "*a", "!!str ", "\t", ": ", "- ", "[", "]", "{", "}", ",", "|", ">", "\u0085", "\u2028", "\\", "%", "\x00", "é", "\ufeff"}
