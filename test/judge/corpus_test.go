package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// corpus reads awsauth's documents; awsauth/corpus_test.go says how they are
// written.
func corpus(tb testing.TB) map[string]map[string]string {
	tb.Helper()
	const folder = "../../awsauth/testdata/corpus"
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		tb.Fatalf("no corpus: %v", err)
	}
	escaped := strings.NewReplacer(`\r`, "\r", `\t`, "\t", `\n`, "\n", `\ufeff`, "\ufeff", `\u0085`, "\u0085", `\u2028`, "\u2028", `\u2029`, "\u2029")
	out := map[string]map[string]string{}
	for _, file := range files {
		archive, err := txtar.ParseFile(filepath.Join(folder, file.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		data := map[string]string{}
		for _, f := range archive.Files {
			name, text := f.Name, string(f.Data)
			if base, ok := strings.CutSuffix(name, "!"); ok {
				name, text = base, strings.TrimSuffix(text, "\n")
			}
			if base, ok := strings.CutSuffix(name, "?"); ok {
				name, text = base, escaped.Replace(strings.TrimSuffix(text, "\n"))
			}
			data[name] = text
		}
		out[strings.TrimSuffix(file.Name(), ".txtar")] = data
	}
	return out
}
