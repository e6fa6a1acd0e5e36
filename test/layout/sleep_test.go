package layout_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Tests don't sleep. They may where it takes no time, which is taken to be so in
// a folder whose tests work with testing/synctest, since the text doesn't tell
// whether a helper is called inside of a bubble; and in a loop, which polls.
func TestNoTestSleeps(t *testing.T) {
	var checked int
	bubbles := map[string]bool{}    // by folder
	sleeps := map[string][]string{} // by folder: where
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		checked++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := filepath.Dir(path)
		for _, spec := range file.Imports {
			if spec.Path.Value == `"testing/synctest"` {
				bubbles[folder] = true
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.ForStmt, *ast.RangeStmt:
				return false
			}
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
					sleeps[folder] = append(sleeps[folder], fset.Position(sel.Pos()).String())
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, where := range sleeps {
		if !bubbles[folder] {
			t.Errorf("tests sleep: use testing/synctest, channels, or polling with a deadline:\n\t%s", strings.Join(where, "\n\t"))
		}
	}
	if checked == 0 {
		t.Error("no test file was found")
	}
}
