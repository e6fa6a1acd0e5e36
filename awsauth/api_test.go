package awsauth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/constant"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var updateAPI = flag.Bool("update-api", false, "write api.txt as it is now")

// What the library exports is in api.txt, a line each. Whoever builds on it must
// not find a line gone or changed by accident.
func TestAPI(t *testing.T) {
	const golden = "api.txt"
	var now []string
	for path, export := range exported(t) {
		now = append(now, api(t, path, export)...)
	}
	slices.Sort(now)
	if *updateAPI {
		if err := os.WriteFile(golden, []byte(strings.Join(now, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.Split(strings.TrimSpace(string(text)), "\n")
	without := func(list, other []string) string {
		return "\t" + strings.Join(slices.DeleteFunc(slices.Clone(list), func(line string) bool { return slices.Contains(other, line) }), "\n\t")
	}
	if gone := without(was, now); gone != "\t" {
		t.Errorf("gone from the library, or no longer so:\n%s\nWho calls it breaks. Put it back and mark it \"Deprecated:\" instead; if it has to go, say so in CHANGELOG.md under \"Library\", and run go test ./awsauth -run TestAPI -update-api", gone)
	}
	if added := without(now, was); added != "\t" {
		t.Errorf("new in the library, or so now:\n%s\nIt has to stay once it is released. If it is meant to: go test ./awsauth -run TestAPI -update-api", added)
	}
}

// exported lists the packages of the library with the files of what the compiler
// exports of them and of all that they import.
func exported(t *testing.T) map[string]map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,DepOnly,Name", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	files := map[string]string{}
	library := map[string]map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath, Export, Name string
			DepOnly                  bool
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return library
		} else if err != nil {
			t.Fatal(err)
		}
		files[p.ImportPath] = p.Export
		if !p.DepOnly && p.Name != "main" && !strings.Contains(p.ImportPath, "/internal/") {
			library[p.ImportPath] = files
		}
	}
}

// api lists what a package exports.
func api(t *testing.T, path string, files map[string]string) []string {
	t.Helper()
	gc := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	pkg, err := gc.Import(path)
	if err != nil {
		t.Fatal(err)
	}
	a := lister{pkg: pkg}
	for _, name := range pkg.Scope().Names() {
		if o := pkg.Scope().Lookup(name); o.Exported() {
			a.object(o)
		}
	}
	return a.lines
}

type lister struct {
	pkg   *types.Package
	lines []string
}

func (a *lister) add(format string, args ...any) {
	a.lines = append(a.lines, strings.TrimSpace("pkg "+a.pkg.Name()+", "+fmt.Sprintf(format, args...)))
}

// text is a type with the paths of other packages, without the names of
// parameters.
func (a *lister) text(t types.Type) string {
	if s, ok := t.(*types.Signature); ok {
		t = types.NewSignatureType(nil, nil, nil, nameless(s.Params()), nameless(s.Results()), s.Variadic())
	}
	return types.TypeString(t, types.RelativeTo(a.pkg))
}

func nameless(tuple *types.Tuple) *types.Tuple {
	var vars []*types.Var
	for v := range tuple.Variables() {
		vars = append(vars, types.NewVar(token.NoPos, v.Pkg(), "", v.Type()))
	}
	return types.NewTuple(vars...)
}

func (a *lister) object(o types.Object) {
	switch o := o.(type) {
	case *types.Const:
		value := o.Val().ExactString()
		if o.Val().Kind() == constant.String {
			value = o.Val().String()
		}
		a.add("const %s %s = %s", o.Name(), a.text(o.Type()), value)
	case *types.Var:
		a.add("var %s %s", o.Name(), a.text(o.Type()))
	case *types.Func:
		a.add("func %s%s", o.Name(), strings.TrimPrefix(a.text(o.Type()), "func"))
	case *types.TypeName:
		a.typeName(o)
	}
}

func (a *lister) typeName(o *types.TypeName) {
	if o.IsAlias() {
		a.add("type %s = %s", o.Name(), a.text(types.Unalias(o.Type())))
		return
	}
	switch under := o.Type().Underlying().(type) {
	case *types.Struct:
		a.add("type %s struct", o.Name())
		for i := range under.NumFields() {
			if f := under.Field(i); f.Exported() {
				embedded := ""
				if f.Embedded() {
					embedded = "embedded "
				}
				a.add("type %s struct, %s%s %s %s", o.Name(), embedded, f.Name(), a.text(f.Type()), under.Tag(i))
			}
		}
	case *types.Interface: // one line: who implements it breaks by a new method
		var methods []string
		for m := range under.Methods() {
			methods = append(methods, m.Name()+strings.TrimPrefix(a.text(m.Type()), "func"))
		}
		slices.Sort(methods)
		a.add("type %s interface { %s }", o.Name(), strings.Join(methods, "; "))
		return
	default:
		a.add("type %s %s", o.Name(), a.text(under))
	}
	for _, receiver := range []types.Type{o.Type(), types.NewPointer(o.Type())} {
		star := ""
		of := types.NewMethodSet(receiver)
		if _, pointer := receiver.(*types.Pointer); pointer {
			star = "*"
		}
		for m := range of.Methods() {
			if !m.Obj().Exported() || star != "" && types.NewMethodSet(o.Type()).Lookup(a.pkg, m.Obj().Name()) != nil {
				continue
			}
			a.add("method (%s%s) %s%s", star, o.Name(), m.Obj().Name(), strings.TrimPrefix(a.text(m.Obj().Type()), "func"))
		}
	}
}
