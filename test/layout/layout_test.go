// Package layout_test holds the directions in which the folders import each
// other. The linter's depguard rules say the same and are quicker to point at
// the line, but see direct imports only; these tests see what an import drags
// along, and need nothing but Go.
package layout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const module = "github.com/rolecall/rolecall"

// A room is what a folder may import; a package path stands for all
// below it too.
type room struct {
	ours   []string // our folders that it may reach, directly or not, beside itself
	never  []string // what it must not reach, directly or not
	direct []string // what it must not import itself; others that it reaches may
}

var (
	aws        = []string{"github.com/aws"}
	clients    = []string{"k8s.io/client-go"}
	kubernetes = []string{"k8s.io", "sigs.k8s.io"}
	yamls      = []string{"go.yaml.in/yaml", "sigs.k8s.io/yaml", "gopkg.in/yaml.v2", "gopkg.in/yaml.v3"}
)

// rooms are the folders of the product. internal/cli is the only one that knows all
// the others, and cmd is the only one that knows it.
var rooms = map[string]room{
	"cmd":                    {ours: append([]string{"internal/cli"}, everything...)},
	"agent":                  {ours: []string{"awsauth", "config", "election", "internal/plan", "internal/register", "internal/report", "internal/roster", "internal/source", "internal/visible"}, never: aws, direct: yamls},
	"awsauth":                {never: slices.Concat(aws, clients), direct: []string{"log", "net/http", "os"}},
	"config":                 {ours: []string{"awsauth"}, never: slices.Concat(aws, clients)},
	"election":               {never: aws},
	"imds":                   {never: kubernetes},
	"internal/aws":           {never: kubernetes},
	"internal/cli":           {ours: everything},
	"internal/history":       {never: aws},
	"internal/migrate":       {ours: []string{"awsauth", "config", "internal/serviceaccess", "internal/visible"}, never: slices.Concat(aws, clients), direct: []string{"log", "net/http", "os"}},
	"internal/page":          {ours: []string{"internal/visible"}, never: slices.Concat(aws, kubernetes)},
	"internal/plan":          {ours: []string{"awsauth"}, never: slices.Concat(aws, clients), direct: slices.Concat(yamls, []string{"context", "log", "net/http", "os"})},
	"internal/recipe":        {ours: []string{"awsauth"}, never: slices.Concat(aws, clients), direct: []string{"log", "net/http", "os"}},
	"internal/register":      {ours: []string{"awsauth", "internal/history", "internal/plan"}, never: aws, direct: yamls},
	"internal/report":        {ours: []string{"awsauth", "config", "internal/plan", "internal/register", "internal/roster", "internal/source", "internal/visible"}, never: aws, direct: yamls},
	"internal/roster":        {never: aws},
	"internal/serviceaccess": {ours: []string{"awsauth"}, never: slices.Concat(aws, clients), direct: []string{"log", "net/http", "os"}},
	"internal/source":        {ours: []string{"awsauth", "config", "internal/plan", "internal/roster"}, never: aws, direct: yamls},
	"internal/visible":       {never: slices.Concat(aws, []string{"k8s.io"})},
}

// everything is all rooms but cmd and internal/cli.
var everything = []string{
	"agent", "awsauth", "config", "election", "imds", "internal/aws", "internal/history", "internal/migrate", "internal/page", "internal/plan",
	"internal/recipe", "internal/register", "internal/report", "internal/roster", "internal/serviceaccess", "internal/source", "internal/visible",
}

// A pkg is what "go list -json" tells of a package.
type pkg struct {
	ImportPath string
	GoFiles    []string // none where a folder holds tests only
	Imports    []string
}

// packages lists all packages of the module and all that they reach, tests left
// out.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	all := map[string]pkg{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// under reports whether path is one of the packages, or below one.
func under(path string, packages []string) bool {
	return slices.ContainsFunc(packages, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// roomOf returns the folder of one of our packages: a top-level one, or one below
// internal.
func roomOf(path string) (string, bool) {
	rest, ours := strings.CutPrefix(path, module+"/")
	folder, below, _ := strings.Cut(rest, "/")
	if folder == "internal" {
		name, _, _ := strings.Cut(below, "/")
		folder += "/" + name
	}
	return folder, ours
}

// trespasses returns the ways from a package to all that its room must not
// reach. What lies beyond one of those is not followed.
func trespasses(all map[string]pkg, from string, r room) [][]string {
	folder, _ := roomOf(from)
	seen := map[string]bool{from: true}
	var bad [][]string
	for queue := [][]string{{from}}; len(queue) > 0; queue = queue[1:] {
		way := queue[0]
		for _, next := range all[way[len(way)-1]].Imports {
			if seen[next] {
				continue
			}
			seen[next] = true
			longer := append(slices.Clone(way), next)
			other, ours := roomOf(next)
			if ours && other != folder && !slices.Contains(r.ours, other) || under(next, r.never) {
				bad = append(bad, longer)
			} else {
				queue = append(queue, longer)
			}
		}
	}
	return bad
}

func TestImportDirections(t *testing.T) {
	all := packages(t)
	seen := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		folder, ours := roomOf(path)
		if !ours || folder == "test" || len(all[path].GoFiles) == 0 {
			continue
		}
		room, known := rooms[folder]
		if !known {
			t.Errorf("%s is in no room: say in this test and in .golangci.yml what the folder %s may import", path, folder)
			continue
		}
		seen[folder] = true
		for _, direct := range all[path].Imports {
			if under(direct, room.direct) {
				t.Errorf("%s must not import %s itself", path, direct)
			}
		}
		for _, way := range trespasses(all, path, room) {
			t.Errorf("%s must not reach %s, but does:\n\t%s", path, way[len(way)-1], strings.Join(way, "\n\t→ "))
		}
	}
	for folder := range rooms {
		if !seen[folder] {
			t.Errorf("the room %s holds no package", folder)
		}
	}
}

// The linter holds the same rooms.
func TestLinterHoldsTheSame(t *testing.T) {
	text, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	type rule struct {
		Files []string
		Allow []string
		Deny  []struct{ Pkg string }
	}
	var file struct {
		Linters struct {
			Settings struct {
				Depguard struct{ Rules map[string]rule }
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	type list struct{ Files, Allow, Deny []string }
	got := map[string]list{}
	for name, r := range file.Linters.Settings.Depguard.Rules {
		l := list{Files: r.Files, Allow: r.Allow}
		for _, d := range r.Deny {
			l.Deny = append(l.Deny, d.Pkg)
		}
		slices.Sort(l.Allow)
		slices.Sort(l.Deny)
		got[name] = l
	}
	want := map[string]list{}
	for folder, r := range rooms {
		if folder == "cmd" || folder == "internal/cli" {
			continue // may import all
		}
		l := list{
			Files: []string{"${base-path}/" + folder + "/**.go", "!$test"},
			Allow: []string{module + "/" + folder},
			Deny:  slices.Concat([]string{module}, r.never, r.direct),
		}
		for _, other := range r.ours {
			l.Allow = append(l.Allow, module+"/"+other)
		}
		slices.Sort(l.Allow)
		slices.Sort(l.Deny)
		want[folder] = l
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("depguard's rules (-this test +.golangci.yml)\n%s", diff)
	}
}
