package awsauth

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// now is when every plan of the tests is made.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// readCorpus reads the documents under testdata/corpus: txtar archives whose
// files are the keys of aws-auth. A file whose name ends in "!" has one line
// break more than the key; in one whose name ends in "?", all line breaks but
// that one and other odd characters are written as \r, \n, \t, \u0085.
func readCorpus(tb testing.TB) map[string]map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no corpus: %v", err)
	}
	corpus := map[string]map[string]string{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		data := map[string]string{}
		for _, f := range txtar.Parse(body).Files {
			name, text := unescape(f.Name, string(f.Data))
			data[name] = text
		}
		corpus[strings.TrimSuffix(filepath.Base(file), ".txtar")] = data
	}
	return corpus
}

// escapes are what a file whose name has a "?" writes for other bytes.
var escapes = []string{"\r", `\r`, "\t", `\t`, "\n", `\n`, "\ufeff", `\ufeff`, "\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`}

// unescape returns a key's name and text from those of its file in an archive.
func unescape(name, text string) (key, value string) {
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

// escape is the way back.
func escape(name, text string) string {
	switch {
	case strings.HasSuffix(name, "?"):
		return strings.NewReplacer(escapes...).Replace(text) + "\n"
	case strings.HasSuffix(name, "!"):
		return text + "\n"
	}
	return text
}
