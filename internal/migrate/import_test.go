package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

// importers are all of them, by the folder of their corpus.
var importers = map[string]func(file string, data []byte) (*Result, error){
	"eksctl":     FromEksctl,
	"ssowrapper": FromSSOWrapper,
	"terraform":  FromTerraform,
	"objects":    FromFile,
	"usermapper": func(file string, data []byte) (*Result, error) { return FromUserMapper(file, data, nil) },
}

func TestImport(t *testing.T) {
	for dir, from := range importers {
		t.Run(dir, func(t *testing.T) {
			golden(t, dir, func(t *testing.T, name string, data []byte) string {
				result, err := from(name, data)
				if err != nil {
					return listing(nil, err)
				}
				checkResult(t, result)
				return string(result.Config)
			})
		})
	}
}

// checkResult holds what is promised of every config: config takes it, and each
// note stands in it too.
func checkResult(t *testing.T, result *Result) *config.Config {
	t.Helper()
	file, err := config.Parse("config.yaml", result.Config)
	if err != nil {
		t.Fatalf("config does not take what was made: %v\n%s", err, result.Config)
	}
	if n := strings.Count(string(result.Config), "\n# - "); n != len(result.Notes) {
		t.Errorf("%d notes, but %d in the comments", len(result.Notes), n)
	}
	if strings.Contains(fmt.Sprintf("%s %v", result.Config, result.Notes), "a-secret-that-is-never-said") {
		t.Error("a secret is said")
	}
	return &file.Config
}

// What is imported and read again is what the source says: no entry is lost or
// changed by the way through YAML.
func TestImportKeepsEntries(t *testing.T) {
	const source = `apiVersion: eksctl.io/v1alpha5
kind: ClusterConfig
iamIdentityMappings:
  - {arn: "arn:aws:iam::111122223333:role/a", username: "a:{{SessionName}}", groups: [system:masters, "x y", "yes", "#", "é😀"]}
  - {arn: "arn:aws-cn:iam::111122223333:role/b", username: "007", groups: ["1e3", "null"]}
  - {arn: "arn:aws:iam::111122223333:user/team/c", username: "c@example.com", groups: ["a: b"]}
  - {account: "012345678901"}
`
	want, err := Read("cluster.yaml", []byte(source), nil)
	if err != nil {
		t.Fatal(err)
	}
	result, err := FromEksctl("cluster.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read("config.yaml", result.Config, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, result.Config)
	}
	if diff := cmp.Diff(want.Entries, got.Entries); diff != "" {
		t.Errorf("(-source +imported)\n%s", diff)
	}
	if len(got.Entries) != 4 {
		t.Errorf("%d entries, want 4", len(got.Entries))
	}
}

// A plan that a config of ours makes over the aws-auth that it was made of
// changes nothing: what was asked for stands there already.
func TestImportPlansNothing(t *testing.T) {
	data := map[string]string{
		"mapRoles": `- rolearn: arn:aws:iam::111122223333:role/a
  username: a:{{SessionName}}
  groups: [system:masters, viewers]
- rolearn: arn:aws:iam::111122223333:role/b
  username: b
  groups: [viewers]
`,
		"mapUsers": `- {userarn: "arn:aws:iam::111122223333:user/c", username: c, groups: [viewers]}
`,
	}
	var text strings.Builder
	for _, key := range []string{"mapRoles", "mapUsers"} {
		text.WriteString(data[key])
	}
	result, err := FromEksctl("mappings.yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	in, err := Read("config.yaml", result.Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := awsauth.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	made := configmap.MakePlan(doc, 0, plan.Snapshot{Sources: []plan.Source{{Name: "file", Entries: in.Entries}}})
	if made.Writes() || len(made.Conflicts) > 0 || len(in.Entries) != 3 {
		t.Errorf("%d entries, changes %v, conflicts %v; want 3 and none", len(in.Entries), made.Changes, made.Conflicts)
	}
}

// Flags stand over the file.
func TestUserMapperFlags(t *testing.T) {
	result, err := FromUserMapper("mapper.env", []byte("ENABLE_GROUP_USER_SYNC=true\nIAM_K8S_GROUPS=Admins->a\nREFRESH_INTERVAL_SECONDS=30\n"),
		[]Setting{{Name: "IAM_K8S_GROUPS", Value: "Devs->d", From: "flags"}})
	if err != nil {
		t.Fatal(err)
	}
	c := checkResult(t, result)
	want := []config.IAMGroup{{Name: "Devs", Username: "{{UserName}}", Groups: []string{"d"}}}
	if diff := cmp.Diff(want, c.IAMGroups); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.RefreshInterval.Seconds() != 30 {
		t.Errorf("refreshInterval is %s, want 30s", c.RefreshInterval)
	}
}

// Whatever is imported, nothing panics, and what is made config takes.
func FuzzImport(f *testing.F) {
	for dir := range importers {
		paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
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
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for dir, from := range importers {
			result, err := from("file", data)
			if err == nil {
				checkResult(t, result)
				continue
			}
			var problems *config.Error
			if !errors.As(err, &problems) || len(problems.Problems) == 0 {
				t.Fatalf("%s: got %v, want a *config.Error with problems", dir, err)
			}
		}
	})
}

// An entry that somebody marks by hand as ours, as the pages "coming from" say,
// is ours from then on, and not a byte of it changes.
func TestMarkHandsOver(t *testing.T) {
	data := map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [viewers]\n  syncedBy: rolecall\n"}
	doc, err := awsauth.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	result, err := FromEksctl("cluster.yaml", []byte("iamIdentityMappings: [{arn: 'arn:aws:iam::111122223333:role/a', username: a, groups: [viewers]}]"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := Read("config.yaml", result.Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := configmap.MakePlan(doc, 0, plan.Snapshot{Sources: []plan.Source{{Name: "file", Entries: in.Entries}}})
	if made.Writes() || len(made.Managed) != 1 || made.Unmanaged != 0 {
		t.Errorf("writes %t, %d ours, %d foreign; want false, 1, 0", made.Writes(), len(made.Managed), made.Unmanaged)
	}
}
