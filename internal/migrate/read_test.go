package migrate

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/serviceaccess"
)

var update = flag.Bool("update", false, "rewrite the golden part of testdata")

// golden runs what is to be done with every archive of a folder, whose first
// file is the input, and compares what it says with the file golden.
func golden(t *testing.T, dir string, say func(t *testing.T, name string, data []byte) string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("testdata/%s: no archives (%v)", dir, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			in := archive.Files[0]
			got := say(t, in.Name, in.Data)
			want := ""
			if len(archive.Files) > 1 {
				want = string(archive.Files[1].Data)
			}
			if *update {
				archive.Files = []txtar.File{in, {Name: "golden", Data: []byte(got)}}
				if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// listing is what Read makes of a text, for people.
func listing(in *Input, err error) string {
	var b strings.Builder
	if problems := (*config.Error)(nil); errors.As(err, &problems) {
		for _, p := range problems.Problems {
			fmt.Fprintf(&b, "error %s\n", p)
		}
		return b.String()
	}
	fmt.Fprintf(&b, "format %s\n", in.Format)
	for _, e := range in.Entries {
		fmt.Fprintf(&b, "%s %s %q %q\n", e.Kind, e.ARN, e.Username, e.Groups)
	}
	for _, arn := range in.NoDuplicateARNs {
		fmt.Fprintf(&b, "no duplicates of %s\n", arn)
	}
	for _, n := range in.Notes {
		fmt.Fprintf(&b, "note %s\n", n)
	}
	return b.String()
}

// A service of several namespaces is one entry, and a grant for each.
func TestReadServices(t *testing.T) {
	const file = `apiVersion: eksctl.io/v1alpha5
kind: ClusterConfig
iamIdentityMappings:
  - {serviceName: emr-containers, namespace: b}
  - {arn: "arn:aws:iam::111122223333:role/ops", username: ops}
  - {serviceName: emr-containers, namespace: a, username: x, groups: [y]}
`
	in, err := Read("cluster.yaml", []byte(file), func(text string) (string, error) {
		return strings.NewReplacer("$PARTITION", "aws-cn", "$ACCOUNTID", "111122223333").Replace(text), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Input{
		Format: Eksctl,
		Entries: []awsauth.Entry{
			{Kind: awsauth.Role, ARN: "arn:aws-cn:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers", Username: "emr-containers"},
			{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/ops", Username: "ops"},
		},
		Services: []serviceaccess.Grant{{Service: "emr-containers", Namespace: "b"}, {Service: "emr-containers", Namespace: "a"}},
	}
	if diff := cmp.Diff(want, in, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Input{}, "Notes")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := in.Notes; len(n) != 2 || !strings.Contains(n[1].String(), "neither a username nor groups") {
		t.Errorf("notes: %q", n)
	}
}

func TestRead(t *testing.T) {
	golden(t, "read", func(t *testing.T, name string, data []byte) string {
		in, err := Read(name, data, nil)
		if err == nil {
			checkInput(t, in)
		}
		return listing(in, err)
	})
}

// Placeholders are filled in where somebody knows the account, and are problems
// where nobody does.
func TestReadFillsIn(t *testing.T) {
	own := func(s string) (string, error) { return config.Expand(s, "111122223333", "aws-cn") }
	for name, text := range map[string]string{
		"eksctl": "apiVersion: eksctl.io/v1alpha5\nkind: ClusterConfig\niamIdentityMappings:\n- {serviceName: emr-containers, namespace: emr}\n",
		"own":    "apiVersion: rolecall.dev/v1\nkind: Config\nroles:\n- {arn: 'arn:$PARTITION:iam::$ACCOUNTID:role/AWSServiceRoleForAmazonEMRContainers', username: emr-containers}\n",
	} {
		in, err := Read(name, []byte(text), own)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkInput(t, in)
		want := []awsauth.Entry{{Kind: awsauth.Role, ARN: "arn:aws-cn:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers", Username: "emr-containers"}}
		if diff := cmp.Diff(want, in.Entries, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if _, err := Read(name, []byte(text), func(string) (string, error) { return "", errors.New("no credentials") }); err == nil || !strings.Contains(err.Error(), "no credentials") {
			t.Errorf("%s: %v, want why the account is not known", name, err)
		}
		if _, err := Read(name, []byte(text), nil); err == nil {
			t.Errorf("%s: nobody knows the account, and it is read: %v", name, in.Entries)
		}
	}
}

// checkInput holds what Read promises of its entries.
func checkInput(t *testing.T, in *Input) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range in.Entries {
		id := string(e.Kind) + strings.ToLower(e.ARN)
		if seen[id] {
			t.Errorf("%s comes twice", e.ARN)
		}
		seen[id] = true
		var canonical string
		var err error
		switch e.Kind {
		case awsauth.Role:
			canonical, err = awsauth.RoleARN(e.ARN)
		case awsauth.User:
			canonical, err = awsauth.UserARN(e.ARN)
		default:
			canonical, err = e.ARN, awsauth.CheckAccountID(e.ARN)
		}
		if err != nil || canonical != e.ARN {
			t.Errorf("%s %q is not canonical: %q, %v", e.Kind, e.ARN, canonical, err)
		}
		if e.Kind == awsauth.Account {
			continue
		}
		if err := awsauth.CheckUsername(e.Username); e.Username != "" && err != nil { // an empty one gets the default where it is written
			t.Error(err)
		}
		for _, g := range e.Groups {
			if err := awsauth.CheckGroup(g); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	for _, text := range []string{"a: &a [*a]", "&a [x, *a]", "- &a {rolearn: x}\n- *a\n", "<<: {mapRoles: '- {}'}", "{{x}}: 1", "[[]]", "? [a]\n: b", "mapRoles: [{rolearn: !!binary aGk=}]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Read("file", data, nil)
		if err == nil {
			checkInput(t, in)
			return
		}
		var problems *config.Error
		if !errors.As(err, &problems) || len(problems.Problems) == 0 {
			t.Fatalf("got %v, want a *config.Error with problems", err)
		}
		for _, p := range problems.Problems {
			if p.File != "file" || p.Line < 1 || p.Message == "" {
				t.Errorf("a problem that nobody can find: %+v", p)
			}
		}
	})
}

// A text of a few lines does not grow until memory is full, and one that stands
// in itself ends.
func TestAliases(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	for _, text := range []string{laughs.String(), "a: &a [*a]\n"} {
		_, err := Read("file", []byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), "the aliases repeat more than") {
			t.Errorf("got %v", err)
		}
	}
}
