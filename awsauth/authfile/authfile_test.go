package authfile_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/awsauth/authfile"
)

const manifest = `# ours
apiVersion: v1
kind: ConfigMap
metadata: {name: aws-auth, namespace: kube-system} # keep
data:
  mapRoles: |
    # nodes
    - rolearn: arn:aws:iam::111122223333:role/x/a
      username: a

  mapUsers: "- userarn: arn:aws:iam::111122223333:user/u\n  username: 1\n"
  notes: >-
    folded
    text
`

const role = "- rolearn: arn:aws:iam::111122223333:role/"

func read(t *testing.T, name, file string) []*authfile.Document {
	t.Helper()
	docs, err := authfile.Read(name, []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		want       []map[string]string
	}{
		{"manifest.yaml", manifest, []map[string]string{{
			"mapRoles": "# nodes\n" + role + "x/a\n  username: a\n", "mapUsers": "- userarn: arn:aws:iam::111122223333:user/u\n  username: 1\n", "notes": "folded text",
		}}},
		{"list.yaml", "kind: List\nitems:\n- kind: ConfigMap\n  metadata: {name: other}\n  data: {x: y}\n- kind: ConfigMap\n  metadata: {name: aws-auth}\n  data: {mapAccounts: '- \"111122223333\"'}\n", []map[string]string{{"mapAccounts": `- "111122223333"`}}},
		{"configmaps.json", `{"kind":"ConfigMapList","items":[{"metadata":{"name":"aws-auth"},"data":{"mapRoles":"[]"}}]}`, []map[string]string{{"mapRoles": "[]"}}},
		{"docs.yaml", "kind: Deployment\n---\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {maproles: a}\n---\n# end\n", []map[string]string{{"maproles": "a"}}},
		{"empty-map.yaml", "kind: ConfigMap\nmetadata: {name: aws-auth}\n", []map[string]string{{}}},
		{"data.yaml", "mapRoles: |\n  - x\n", []map[string]string{{"mapRoles": "- x\n"}}},
		{"roles.txt", role + "a\n", []map[string]string{{"mapRoles": role + "a\n"}}},
		{"users.txt", "- userarn: x\n", []map[string]string{{"mapUsers": "- userarn: x\n"}}},
		{"accounts.txt", "- \"111122223333\"\n", []map[string]string{{"mapAccounts": "- \"111122223333\"\n"}}},
		{"mapUsers", "- x: y\n", []map[string]string{{"mapUsers": "- x: y\n"}}},
		{"mapAccounts.yaml", "[]", []map[string]string{{"mapAccounts": "[]"}}},
		{"empty", "", []map[string]string{{"mapAccounts": ""}}},
		{"broken", role + "a\n  username: {{SessionName}}\n", []map[string]string{{"mapRoles": role + "a\n  username: {{SessionName}}\n"}}},
		{"nested", "mapRoles:\n" + role + "a\n", []map[string]string{{"mapRoles": "mapRoles:\n" + role + "a\n"}}},
	} {
		var got []map[string]string
		for _, d := range read(t, c.name, c.file) {
			got = append(got, d.Data)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"kind: Deployment\nspec: {}\n": authfile.ErrNone.Error(),
		"just text":                    authfile.ErrNone.Error(),
		"kind: ConfigMap\nmetadata: {name: aws-auth\ndata: {}\n":                          "it is no YAML that kubectl could read: ",
		"kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles:\n  - rolearn:\n": "line 4: mapRoles is no text",
	} {
		_, err := authfile.Read("f", []byte(file))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
		if (want == authfile.ErrNone.Error()) != errors.Is(err, authfile.ErrNone) {
			t.Errorf("%q: %v is ErrNone: %v", file, err, errors.Is(err, authfile.ErrNone))
		}
	}
}

// A place in a key's text is the place of the same bytes in the file.
func TestLine(t *testing.T) {
	t.Parallel()
	d := read(t, "f", manifest)[0]
	type at struct{ line, column int }
	for _, c := range []struct {
		key  string
		give at
		want at
	}{
		{"mapRoles", at{1, 1}, at{7, 5}},
		{"mapRoles", at{2, 12}, at{8, 16}},
		{"mapRoles", at{0, 0}, at{6, 3}},
		{"mapUsers", at{2, 3}, at{11, 61}},
		{"notes", at{1, 1}, at{12, 10}},
		{"other", at{1, 1}, at{0, 0}},
	} {
		line, column := d.Line(c.key, c.give.line, c.give.column)
		if got := (at{line, column}); got != c.want {
			t.Errorf("%s %v is at %v of the file, want %v", c.key, c.give, got, c.want)
		}
	}
	bare := read(t, "f", "- x\n")[0]
	if line, column := bare.Line("mapRoles", 3, 4); line != 3 || column != 4 {
		t.Errorf("of a bare text: %d:%d", line, column)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, want string }{
		{"block and quotes", manifest, strings.NewReplacer("role/x/a", "role/a", `"- userarn: arn:aws:iam::111122223333:user/u\n  username: 1\n"`, `"- userarn: arn:aws:iam::111122223333:user/u\n  username: \"1\"\n"`).Replace(manifest)},
		{"crlf", strings.ReplaceAll(manifest, "\n", "\r\n"), strings.ReplaceAll(strings.NewReplacer("role/x/a", "role/a", `  username: 1\n"`, `  username: \"1\"\n"`).Replace(manifest), "\n", "\r\n")},
		{"no line break at the end", "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles: |-\n    " + role + "x/a\n      username: a", "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles: |-\n    " + role + "a\n      username: a"},
		{"another name", "data:\n  maproles: |\n    " + role + "a\n      username: a\nkind: ConfigMap\n", "data:\n  mapRoles: |\n    " + role + "a\n      username: a\nkind: ConfigMap\n"},
		{"single quotes", "kind: ConfigMap\ndata:\n  mapRoles: '[{rolearn: \"arn:aws:iam::111122223333:role/x/a\", username: it''s}]' # c\n", "kind: ConfigMap\ndata:\n  mapRoles: '[{rolearn: \"arn:aws:iam::111122223333:role/a\", username: it''s}]' # c\n"},
		{"json", `{"kind": "ConfigMap", "data": {"mapRoles": "` + role + `x/a\n  username: a\n"}, "metadata": {}}`, `{"kind": "ConfigMap", "data": {"mapRoles": "` + role + `a\n  username: a\n"}, "metadata": {}}`},
		{"the second of two", "kind: ConfigMap\ndata: {mapRoles: ''}\n---\nkind: ConfigMap\ndata:\n  mapRoles: |+\n    " + role + "x/a\n      username: a\n\n---\nkind: Other\n", "kind: ConfigMap\ndata: {mapRoles: ''}\n---\nkind: ConfigMap\ndata:\n  mapRoles: |+\n    " + role + "a\n      username: a\n\n---\nkind: Other\n"},
		{"bare", role + "x/a\n  username: a\n", role + "a\n  username: a\n"},
	} {
		docs := read(t, c.name, c.file)
		d := docs[len(docs)-1]
		mended, done := awsauth.Mend(d.Data)
		if len(done) == 0 {
			t.Errorf("%s: nothing to mend in %q", c.name, d.Data)
			continue
		}
		got, err := d.Write(mended)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What cannot be written is refused.
func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	shared := read(t, "f", "kind: ConfigMap\ndata:\n  mapRoles: &a |\n    - x\n  mapUsers: *a\n")[0]
	for _, k := range []string{"mapRoles", "mapUsers"} {
		data := maps.Clone(shared.Data)
		data[k] = "- y\n"
		if body, err := shared.Write(data); err == nil {
			t.Errorf("%q is written:\n%s", data, body)
		}
	}
	for _, data := range []map[string]string{{"mapRoles": "x", "more": "y"}, {}} {
		if body, err := read(t, "f", manifest)[0].Write(data); err == nil {
			t.Errorf("%q is written:\n%s", data, body)
		}
	}
}

// Every text of the corpus comes out of a manifest as it went in, and can be
// written there anew.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/corpus/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]string{}
		for _, f := range txtar.Parse(body).Files {
			data[strings.TrimRight(f.Name, "!?")] = string(f.Data)
		}
		object := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": "aws-auth"}, "data": data}
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		docs := read(t, file, string(text))
		if len(docs) != 1 {
			t.Errorf("%s: %d documents", file, len(docs))
			continue
		}
		if diff := cmp.Diff(data, docs[0].Data); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
		next := maps.Clone(data)
		for k := range next {
			next[k] = "# first\n" + next[k]
		}
		out, err := docs[0].Write(next)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if diff := cmp.Diff(next, read(t, file, string(out))[0].Data); diff != "" {
			t.Errorf("%s written (-want +got):\n%s", file, diff)
		}
	}
}
