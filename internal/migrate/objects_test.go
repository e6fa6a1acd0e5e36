package migrate

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// An error for what is not known lists every object that is, and there is an example
// of each that is read.
func TestFormatsAreListed(t *testing.T) {
	t.Parallel()
	_, err := Read("x.yaml", []byte("apiVersion: apps/v1\nkind: Deployment\n"), nil)
	if err == nil {
		t.Fatal("a Deployment is read")
	}
	kinds := []string{
		"IAMIdentityMapping", "AWSManagedControlPlane", "aws-iam-authenticator's server", "AWSAuthItem", "AwsAuthSyncConfig", "AwsAuthMapping", "MapRole", "MapUser",
		"AwsAuthMapSnippet", "AWSIamConfig", "kOps", "ClusterConfig", "aws-auth", "rolecall.dev/v1",
	}
	for _, kind := range kinds {
		if !strings.Contains(err.Error(), kind) {
			t.Errorf("the error does not list %s: %v", kind, err)
		}
	}
	for _, f := range formatTable() {
		if f.object && (f.write == "" || f.writer == "" || !strings.Contains(err.Error(), f.write)) {
			t.Errorf("%s is not said: %+v", f.name, f)
		}
	}
}

// objectExamples is an object of each format, and the entries that it has.
func objectExamples() map[Format]struct {
	text string
	want []awsauth.Entry
} {
	role := func(username string) awsauth.Entry {
		return awsauth.Entry{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/r", Username: username, Groups: []string{"g"}}
	}
	user := func(username string) awsauth.Entry {
		return awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/team/u", Username: username, Groups: []string{"g"}}
	}
	const lists = `mapRoles: [{roleARN: "arn:aws:iam::111122223333:role/r", username: r, groups: [g]}], mapUsers: [{userARN: "arn:aws:iam::111122223333:user/team/u", username: u, groups: [g]}]`
	both := []awsauth.Entry{role("r"), user("u")}
	type example = struct {
		text string
		want []awsauth.Entry
	}
	return map[Format]example{
		Authenticator:   {"clusterID: c\nserver: {" + lists + "}\n", both},
		IdentityMapping: {"apiVersion: iamauthenticator.k8s.aws/v1alpha1\nkind: IAMIdentityMapping\nspec: {arn: 'arn:aws:iam::111122223333:user/team/u', username: u, groups: [g]}\n", both[1:]},
		CAPA:            {"apiVersion: controlplane.cluster.x-k8s.io/v1beta2\nkind: AWSManagedControlPlane\nspec: {iamAuthenticatorConfig: {" + lists + "}}\n", both},
		Kops:            {"apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nspec: {authentication: {aws: {identityMappings: [{arn: 'arn:aws:iam::111122223333:role/r', username: r, groups: [g]}]}}}\n", both[:1]},
		SyncConfig:      {"apiVersion: auth.ops42.org/v1alpha1\nkind: AwsAuthSyncConfig\nspec: {syncIamGroups: [{source: S, dest: d}]}\n", nil},
		Mapping: {
			"apiVersion: tier.app/v1\nkind: AwsAuthMapping\nspec: {mappings: [{arn: 'arn:aws:iam::111122223333:role/r', username: r, usertype: Role, groups: [g]}, {arn: 'arn:aws:iam::111122223333:user/team/u', username: u, usertype: User, groups: [g]}]}\n", both,
		},
		MapEntry:  {"apiVersion: iamauthenticator.skpr.io/v1beta1\nkind: MapUser\nspec: {userARN: 'arn:aws:iam::111122223333:user/team/u', username: u, groups: [g]}\n", both[1:]},
		SpecLists: {"apiVersion: aws.maruina.k8s/v1alpha1\nkind: AWSAuthItem\nspec: {suspend: false, " + lists + "}\n", both},
	}
}

// Every importer, Read and Listing read every format alike, alone, in a file of
// several documents and in a list; what a file of one format has with another is the
// union.
func TestObjectsEverywhere(t *testing.T) {
	t.Parallel()
	examples := objectExamples()
	for _, f := range formatTable() {
		if _, ok := examples[f.name]; f.object && !ok {
			t.Errorf("there is no example of %s", f.name)
		}
	}
	indent := func(s string) string { return "- " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n" }
	for name, ex := range examples {
		for how, text := range map[string]string{
			"alone":     ex.text,
			"documents": "apiVersion: v1\nkind: Namespace\n---\n" + ex.text,
			"list":      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace}\n" + indent(ex.text),
			"aws-auth":  ex.text + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: aws-auth}\ndata: {mapRoles: ''}\n",
		} {
			in, err := Read("x.yaml", []byte(text), nil)
			if err != nil {
				t.Errorf("%s, %s: %v", name, how, err)
				continue
			}
			if diff := cmp.Diff(ex.want, in.Entries); diff != "" {
				t.Errorf("%s, %s: Read (-want +got)\n%s", name, how, diff)
			}
			if name == SyncConfig && !slices.ContainsFunc(in.Notes, func(p config.Problem) bool { return strings.Contains(p.Message, `the IAM group "S" is left out`) }) {
				t.Errorf("%s, %s: the group is not told: %v", name, how, in.Notes)
			}
			listed, _, err := Listing("x.yaml", []byte(text))
			if err != nil || len(listed) != len(ex.want) {
				t.Errorf("%s, %s: Listing has %v, %v", name, how, listed, err)
			}
			for tool, from := range importers {
				result, err := from("x.yaml", []byte(text))
				if err != nil {
					t.Errorf("%s, %s: import by %s: %v", name, how, tool, err)
					continue
				}
				c := checkResult(t, result)
				if got := len(c.Roles) + len(c.Users); got != len(ex.want) || name == SyncConfig && len(c.IAMGroups) != 1 {
					t.Errorf("%s, %s: import by %s has %d entries, want %d:\n%s", name, how, tool, got, len(ex.want), result.Config)
				}
			}
		}
	}
}

// The objects that others' files hold, each in a file of its own: what upsert -f
// reads of one is what an import makes of it.
func TestObjectsAgree(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"authenticator-config", "capa", "iamidentitymapping", "others", "x_capa"} {
		archive, err := txtar.ParseFile(filepath.Join("testdata", "objects", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		in, err := Read(archive.Files[0].Name, archive.Files[0].Data, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		result, err := FromFile(archive.Files[0].Name, archive.Files[0].Data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		made, err := Read("config.yaml", result.Config, nil)
		if err != nil {
			t.Fatal(err)
		}
		sorted := func(list []awsauth.Entry) []awsauth.Entry {
			slices.SortFunc(list, func(a, b awsauth.Entry) int { return strings.Compare(a.ARN, b.ARN) })
			return list
		}
		if diff := cmp.Diff(sorted(in.Entries), sorted(made.Entries)); diff != "" || len(in.Entries) == 0 {
			t.Errorf("%s: %d entries (-read +imported)\n%s", name, len(in.Entries), diff)
		}
	}
}
