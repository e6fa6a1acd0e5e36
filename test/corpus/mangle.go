package corpus

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// Mangle makes one text out of several.
func Mangle(r *rand.Rand, texts []string) string {
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
			lines = slices.Insert(lines, i, Scraps[r.IntN(len(Scraps))])
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

// Scraps are lines to put between others.
var Scraps = []string{
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

// BadTexts are small ones of what readers stumble over: encodings, controls,
// nesting and aliases. TestHostileTexts has the large ones.
func BadTexts() []string {
	return []string{
		"\xff\xfe-\x00 \x00a\x00", "\xfe\xff\x00-\x00 \x00a", "\ufeff- a", "- \xff\xfe", "- a\x00b", "- \"\x1b[2J\u202e\u0085\u2028\"",
		strings.Repeat("[", 200), strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("- ", 200), strings.Repeat("? ", 100),
		"- &a [*a]", "- &a {rolearn: r, username: &u u, groups: &g [g, *u]}\n- {rolearn: s, username: *u, groups: *g}\n- *a\n",
		"- &a [x, x]\n- &b [*a, *a]\n- &c [*b, *b]\n- [*c, *c]\n", "- &a {a: b}\n- {<<: [*a, *a]}\n", "- ? {a: b}\n  : c\n",
		"- !!binary aGk=\n", "- !!python/object:x {}\n", "%YAML 1.1\n---\n- a\n...\n", "- 1e999999999\n- .inf\n- 0o17\n- 012345678901\n",
		`[{"rolearn":"r","ROLEARN":"s","username":"\ud800"}]`,
	}
}
