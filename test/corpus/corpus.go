// Package corpus holds what tests of several packages share: the documents under
// awsauth/testdata/corpus, texts made of them that hurt, and archives that show
// what becomes of a document. The product does not import it.
package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Read reads the documents of a folder: txtar archives whose files are the keys of
// aws-auth. A file whose name ends in "!" has one line
// break more than the key; in one whose name ends in "?", all line breaks but
// that one and other odd characters are written as \r, \n, \t, \u0085.
func Read(tb testing.TB, dir string) map[string]map[string]string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no corpus: %v", err)
	}
	documents := map[string]map[string]string{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		data := map[string]string{}
		for _, f := range txtar.Parse(body).Files {
			name, text := Unescape(f.Name, string(f.Data))
			data[name] = text
		}
		documents[strings.TrimSuffix(filepath.Base(file), ".txtar")] = data
	}
	return documents
}

// escapes are what a file whose name has a "?" writes for other bytes.
var escapes = []string{"\r", `\r`, "\t", `\t`, "\n", `\n`, "\ufeff", `\ufeff`, "\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`}

// Unescape returns a key's name and text from those of its file in an archive.
func Unescape(name, text string) (key, value string) {
	key = strings.TrimRight(name, "!?")
	marks := name[len(key):]
	if strings.Contains(marks, "?") {
		text = strings.TrimSuffix(text, "\n")
		pairs := slices.Clone(escapes)
		for i := 0; i < len(pairs); i += 2 {
			pairs[i], pairs[i+1] = pairs[i+1], pairs[i]
		}
		return key, strings.NewReplacer(pairs...).Replace(text)
	}
	if strings.Contains(marks, "!") {
		text = strings.TrimSuffix(text, "\n")
	}
	return key, text
}

// Escape is the way back.
func Escape(name, text string) string {
	switch {
	case strings.HasSuffix(name, "?"):
		return strings.NewReplacer(escapes...).Replace(text) + "\n"
	case strings.HasSuffix(name, "!"):
		return text + "\n"
	}
	return text
}

// LostComment names a comment line that a document has no more, or "": whoever
// comments stand with, they stay, be it beside something else.
func LostComment(before, after map[string]string) string {
	for _, key := range []string{"mapRoles", "mapUsers", "mapAccounts"} {
		left := Lines(after[key])
		for _, line := range Lines(before[key]) {
			if !strings.HasPrefix(line, "#") || strings.ContainsAny(line, `'"`) {
				continue // no comment, or perhaps the end of a quoted text
			}
			i := slices.IndexFunc(left, func(a string) bool { return a == line || strings.HasSuffix(a, " "+line) })
			if i < 0 {
				return fmt.Sprintf("%s lost the comment %q", key, line)
			}
			left = slices.Delete(left, i, i+1)
		}
	}
	return ""
}

// Lines are the lines of a text by YAML's rules, trimmed.
func Lines(text string) []string {
	var lines []string
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("\r\n\u0085\u2028\u2029", r) }) {
		lines = append(lines, strings.Trim(strings.TrimPrefix(line, "\ufeff"), " \t"))
	}
	return lines
}
