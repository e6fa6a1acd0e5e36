package awsauth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// now is when every plan of the tests is made.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// readCorpus reads the documents under testdata/corpus: txtar archives whose
// files are the keys of aws-auth. A "\n" that a file's last line must not end
// with is cut by a name that ends in "!"; CRLF and other bytes are written as
// \r, \t, \ufeff in a file whose name ends in "?".
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
			name, text := f.Name, string(f.Data)
			if base, ok := strings.CutSuffix(name, "!"); ok {
				name, text = base, strings.TrimSuffix(text, "\n")
			}
			if base, ok := strings.CutSuffix(name, "?"); ok {
				name = base
				text = strings.NewReplacer(`\r`, "\r", `\t`, "\t", `\n`, "\n", `\ufeff`, "\ufeff", `\u0085`, "\u0085", `\u2028`, "\u2028").Replace(text)
			}
			data[name] = text
		}
		corpus[strings.TrimSuffix(filepath.Base(file), ".txtar")] = data
	}
	return corpus
}
