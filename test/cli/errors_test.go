package cli_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unscripted are the errors of internal/cli that no script can see happen, and
// why. The key is the text as the code has it.
var unscripted = map[string]string{
	"the node's name is unknown: give --node-name: %w": "the system has to know no name of its own",
	"read DaemonSet %s: %w":                            "a leader logs it and asks again; no command shows it",
	"it has lost a document":                           "a mended file that has fewer documents is a fault of this program",
	"%s cannot be read as it was written: %w":          "a mended file that can't be read is a fault of this program",
	"encode as %s: %w":                                 "its own types encode",
	"encode as sarif: %w":                              "its own types encode",
	"%w; and then: %w":                                 "it takes two faults in a row, and says both",

	"%s: somebody else has written it meanwhile: nothing is written, run it again": "a file has no moment to wait for: internal/cli's TestFileEdit",
}

// An errorText is one that internal/cli makes, as the code has it.
type errorText struct{ text, at string }

// Every error that internal/cli can show is expected by a script, in words that
// no other error of it has.
func TestEveryErrorHasAScript(t *testing.T) {
	t.Parallel()
	expected := expectedTexts(t)
	errs := errorTexts(t)
	used := map[string]bool{}
	for _, e := range errs {
		why, excepted := unscripted[e.text]
		used[e.text] = true
		switch found := seen(e, errs, expected); {
		case excepted && found:
			t.Errorf("%s: a script expects %q: take it out of unscripted", e.at, e.text)
		case excepted && why == "":
			t.Errorf("%s: unscripted does not say why no script can expect %q", e.at, e.text)
		case !excepted && !found:
			t.Errorf("%s: no script under testdata expects %q: write one that makes it happen", e.at, e.text)
		}
	}
	for text := range unscripted {
		if !used[text] {
			t.Errorf("unscripted has %q, which is no error of internal/cli", text)
		}
	}
	if len(errs) < 80 || len(expected) < 200 {
		t.Errorf("%d errors and %d expectations only: the test sees too little", len(errs), len(expected))
	}
}

var (
	formatVerb = regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z]`)
	letters    = regexp.MustCompile(`[a-zA-Z]{2,}`)
)

// errorTexts are the texts of errors.New and fmt.Errorf in internal/cli that say
// something: "%s: %w" only says where.
func errorTexts(t *testing.T) []errorText {
	t.Helper()
	const dir = "../../internal/cli"
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var found []errorText
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			function, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"errors.New", "fmt.Errorf"}, fmt.Sprintf("%s.%s", function.X, function.Sel)) {
				return true
			}
			at := set.Position(call.Pos())
			literal, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the text is no literal, so that this test can't see it", at)
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			if len(letters.FindAllString(formatVerb.ReplaceAllString(text, ""), -1)) > 1 {
				found = append(found, errorText{text, fmt.Sprintf("%s:%d", filepath.Base(at.Filename), at.Line)})
			}
			return true
		})
	}
	return found
}

// expectedTexts are the patterns of the scripts' stderr, as far as they are plain
// text, and the texts of the Go tests of this folder.
func expectedTexts(t *testing.T) []string {
	t.Helper()
	var found []string
	// Go tests that run the binary expect texts too.
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if path == "errors_test.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					found = append(found, text)
				}
			}
			return true
		})
	}
	err = filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".txtar" {
			return err
		}
		text, err := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "[unix] ")
			if pattern, ok := strings.CutPrefix(line, "stderr "); ok {
				pattern = strings.ReplaceAll(pattern, "''", "\x00")
				pattern = strings.ReplaceAll(strings.ReplaceAll(pattern, "'", ""), "\x00", "'")
				found = append(found, regexp.MustCompile(`\\([^a-z])`).ReplaceAllString(pattern, "$1"))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// run is how many letters in a row tell one error from the others.
const run = 20

// seen reports whether an expectation has enough of an error's words to mean
// that error. Of an error that has no words of its own it must have all.
func seen(e errorText, all []errorText, expected []string) bool {
	has := func(part string) bool {
		return slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(text, part) })
	}
	own := false
	for _, part := range formatVerb.Split(e.text, -1) {
		for i := range max(1, len(part)-run+1) {
			piece := part[i:min(len(part), i+run)]
			if len(letters.FindAllString(piece, -1)) == 0 || slices.ContainsFunc(all, func(other errorText) bool { return other.text != e.text && strings.Contains(other.text, piece) }) {
				continue
			}
			own = true
			if has(piece) {
				return true
			}
		}
	}
	if own {
		return false
	}
	var pattern strings.Builder
	for i, part := range formatVerb.Split(e.text, -1) {
		if i > 0 {
			pattern.WriteString(".*")
		}
		pattern.WriteString(regexp.QuoteMeta(part))
	}
	whole := regexp.MustCompile(pattern.String())
	return slices.ContainsFunc(expected, whole.MatchString)
}
