package config

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const reference = "reference.yaml"

func TestReferenceLoads(t *testing.T) {
	file, err := Load(reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range file.Warnings {
		t.Errorf("warning: %s", w)
	}
	// Where the file shows a setting and not an example, it shows the default.
	got, want := file.Config, Default()
	got.AWS, got.Karpenter, got.Roles, got.IAMGroups, got.Users, got.Accounts, got.Adopt = AWS{}, Karpenter{}, nil, nil, nil, nil, nil
	got.NodeRoles.Accounts, got.NodeRoles.Extra, got.NodeRoles.Windows, got.NodeRoles.VPCs = nil, nil, nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings of %s (-default +shown):\n%s", reference, diff)
	}
}

// TestReferenceIsWhole holds that the file has a key for every field of Config and a
// comment for every key, and the table of README.md a row.
func TestReferenceIsWhole(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	var walk func(n *yaml.Node, path, comment string)
	walk = func(n *yaml.Node, path, comment string) {
		switch n.Kind {
		case yaml.SequenceNode:
			for _, c := range n.Content {
				// YAML gives the comment above an item's first key to the item.
				walk(c, path, c.HeadComment)
			}
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				k := n.Content[i]
				key := path + "/" + strings.ToLower(k.Value)
				shown[key] = true
				if k.HeadComment == "" && (i > 0 || comment == "") {
					t.Errorf("%s:%d: %s has no comment", reference, k.Line, k.Value)
				}
				walk(n.Content[i+1], key, "")
			}
		}
	}
	// The same for the comment above the file's first key.
	walk(doc.Content[0], "", doc.HeadComment+doc.Content[0].HeadComment)

	tabled := tableOf(t, "../README.md")
	var fields func(typ reflect.Type, path string)
	fields = func(typ reflect.Type, path string) {
		switch {
		case typ == reflect.TypeFor[RemovalLimit]():
			// One value in the file.
		case typ.Kind() == reflect.Slice:
			fields(typ.Elem(), path)
		case typ.Kind() == reflect.Struct:
			for i := range typ.NumField() {
				f := typ.Field(i)
				key := path + "/" + strings.ToLower(f.Name)
				if !shown[key] {
					t.Errorf("%s has no key for the field %s", reference, key)
				}
				if !tabled[key] && !holdsKeys(f.Type) {
					t.Errorf("the table of README.md has no row for the field %s", key)
				}
				fields(f.Type, key)
			}
		}
	}
	fields(reflect.TypeFor[Config](), "")
}

// holdsKeys reports whether a field of this type is a mapping in the file, or a list
// of mappings.
func holdsKeys(typ reflect.Type) bool {
	if typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	return typ.Kind() == reflect.Struct && typ != reflect.TypeFor[RemovalLimit]()
}

// tableOf reads the keys in the first column of the config's table: "a[].b", ".c" is
// /a/b and /a/c.
func tableOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for row := range strings.Lines(string(text)) {
		if !strings.HasPrefix(row, "| `") {
			continue
		}
		prefix := ""
		for i, code := range strings.Split(strings.Split(row, "|")[1], "`") {
			if i%2 == 0 {
				continue
			}
			path := "/" + strings.ToLower(strings.NewReplacer("[]", "", ".", "/").Replace(code))
			if strings.HasPrefix(code, ".") {
				path = prefix + path[1:]
			}
			prefix = path[:strings.LastIndex(path, "/")]
			keys[path] = true
		}
	}
	return keys
}
